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
class TaskFailed(Event, type="task.failed"):
    """Given up for good. `reason` is a sentence for its user, never the text of an exception."""

    task_id: str
    project_id: int
    reason: str

    @property
    def stream(self) -> str:
        return f"task-{self.task_id}"
