"""Events of tasks: work that outlives its request."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from events.event import Event


class FailureReason(StrEnum):
    """Why a task failed. The comments name the parameters that a sentence about this reason needs."""

    BRANCH_MISSING = "branch-missing"  # branch, project: a path
    CANCELLED = "cancelled"
    MERGE_CONFLICTS = "merge-conflicts"
    MIRROR_REFUSED = "mirror-refused"
    MIRROR_RESET = "mirror-reset"
    MIRROR_TIMEOUT = "mirror-timeout"
    MIRROR_TLS = "mirror-tls"
    MIRROR_TOO_LARGE = "mirror-too-large"
    MIRROR_UNREACHABLE = "mirror-unreachable"
    MIRROR_UNREADABLE = "mirror-unreadable"
    MIRROR_UNRESOLVED = "mirror-unresolved"
    NOTHING_TO_MERGE = "nothing-to-merge"
    NO_COMMITS = "no-commits"
    PROJECT_DELETED = "project-deleted"
    PROJECT_MISSING = "project-missing"
    PULL_REQUEST_CLOSED = "pull-request-closed"  # username: the user who merged or closed it
    PULL_REQUEST_MISSING = "pull-request-missing"
    PUSH_REFUSED = "push-refused"  # refusal: a `PushReason`; commit: the refused commit, or ""
    REBASE_FAILED = "rebase-failed"
    REBASE_NEEDED = "rebase-needed"
    REPOSITORY_MISSING = "repository-missing"  # project: a path
    STATED = "stated"  # text: the sentence of an old event (events/upcasts.py)
    TOO_LARGE = "too-large"
    UNEXPECTED = "unexpected"
    UNSIGNED = "unsigned"


@dataclass(frozen=True, kw_only=True)
class TaskStarted(Event, event_type="task.started", stream="task-{task_id}/attempt-{attempt}"):
    task_id: str
    project_id: int
    attempt: int


@dataclass(frozen=True, kw_only=True)
class TaskProgressed(Event, event_type="task.progressed", stream="task-{task_id}/attempt-{attempt}/{stage}-{percent}"):
    """Progress of a long task: `percent` of the whole, in a `stage` with a short name."""

    task_id: str
    project_id: int
    attempt: int
    stage: str
    percent: int


@dataclass(frozen=True, kw_only=True)
class TaskCancelRequested(
    Event, event_type="task.cancel-requested", stream="task-{task_id}/cancellation", outlives_project=True
):
    """A user with the right to do so asked to cancel the task; a worker takes it from the worker that holds it."""

    task_id: str
    project_id: int


@dataclass(frozen=True, kw_only=True)
class TaskCancelled(Event, event_type="task.cancelled", stream="task-{task_id}", outlives_project=True):
    """The task was cancelled; a result that its worker still delivers is rejected."""

    task_id: str
    project_id: int


@dataclass(frozen=True, kw_only=True)
class TaskFailed(Event, event_type="task.failed", stream="task-{task_id}", outlives_project=True):
    """The task failed for good. `reason` is a `FailureReason`, `params` are its parameters."""

    task_id: str
    project_id: int
    reason: str
    params: dict[str, Any] = field(default_factory=dict)
