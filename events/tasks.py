"""What can happen to work that outlives its request."""

from dataclasses import dataclass

from events.event import Event


@dataclass(frozen=True, kw_only=True)
class TaskStarted(Event, type="task.started", stream="task-{task_id}/attempt-{attempt}"):
    task_id: str
    project_id: int
    attempt: int


@dataclass(frozen=True, kw_only=True)
class TaskProgressed(Event, type="task.progressed", stream="task-{task_id}/attempt-{attempt}/{stage}-{percent}"):
    """Long work is so far: `percent` of the whole, in a `stage` with a short name."""

    task_id: str
    project_id: int
    attempt: int
    stage: str
    percent: int


@dataclass(frozen=True, kw_only=True)
class TaskCancelRequested(
    Event, type="task.cancel-requested", stream="task-{task_id}/cancellation", outlives_project=True
):
    """Somebody who may wants it no more; a worker takes it from whoever has it."""

    task_id: str
    project_id: int


@dataclass(frozen=True, kw_only=True)
class TaskCancelled(Event, type="task.cancelled", stream="task-{task_id}", outlives_project=True):
    """Nothing comes of it: whatever its worker still does is not taken."""

    task_id: str
    project_id: int


@dataclass(frozen=True, kw_only=True)
class TaskFailed(Event, type="task.failed", stream="task-{task_id}", outlives_project=True):
    """Given up for good. `reason` is a sentence for its user, never the text of an exception."""

    task_id: str
    project_id: int
    reason: str
