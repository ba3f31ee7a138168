"""What can happen to work that outlives its request."""

from dataclasses import dataclass

from events.event import Event


@dataclass(frozen=True, kw_only=True)
class TaskStarted(Event, type="task.started"):
    task_id: str
    project_id: int
    attempt: int

    @property
    def stream(self) -> str:
        return f"task-{self.task_id}/attempt-{self.attempt}"


@dataclass(frozen=True, kw_only=True)
class TaskProgressed(Event, type="task.progressed"):
    """Long work is so far: `percent` of the whole, in a `stage` with a short name."""

    task_id: str
    project_id: int
    attempt: int
    stage: str
    percent: int

    @property
    def stream(self) -> str:
        return f"task-{self.task_id}/attempt-{self.attempt}/{self.stage}-{self.percent}"


@dataclass(frozen=True, kw_only=True)
class TaskCancelRequested(Event, type="task.cancel-requested", outlives_project=True):
    """Somebody who may wants it no more; a worker takes it from whoever has it."""

    task_id: str
    project_id: int

    @property
    def stream(self) -> str:
        return f"task-{self.task_id}/cancellation"


@dataclass(frozen=True, kw_only=True)
class TaskCancelled(Event, type="task.cancelled", outlives_project=True):
    """Nothing comes of it: whatever its worker still does is not taken."""

    task_id: str
    project_id: int

    @property
    def stream(self) -> str:
        return f"task-{self.task_id}"


@dataclass(frozen=True, kw_only=True)
class TaskFailed(Event, type="task.failed", outlives_project=True):
    """Given up for good. `reason` is a sentence for its user, never the text of an exception."""

    task_id: str
    project_id: int
    reason: str

    @property
    def stream(self) -> str:
        return f"task-{self.task_id}"
