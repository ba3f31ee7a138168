"""The registry of reactions: which work an event asks for. PostgreSQL knows what is due; arq only wakes the workers."""

from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass, field
from typing import Any
from uuid import UUID, uuid4

from app.config import Settings
from app.database import Database
from app.outgoing.proxy import Proxy
from events.event import Event, StoredEvent
from events.record import NewEvent
from events.tasks import FailureReason, TaskFailed

GIT = "git"  # work that a user waits for, short or long
FOLLOW = "follow"  # short follow-up work, which must not queue behind forks
MIRROR = "mirror"  # work whose duration depends on a remote server; nothing else queues behind it
QUEUES = (GIT, MIRROR, FOLLOW)


@dataclass(frozen=True)
class TaskFailure:
    """Why work was given up. `params` are the parameters that a sentence about the reason needs."""

    reason: FailureReason
    params: dict[str, Any] = field(default_factory=dict)


class PermanentError(Exception):
    """The work cannot succeed, so it is not retried."""

    def __init__(self, reason: FailureReason, **params: Any) -> None:
        super().__init__(str(reason), params)
        self.failure = TaskFailure(reason, params)


class RetryLater(Exception):
    """The work depends on other work that is still running, so it begins again in a moment."""


class LeaseLost(Exception):
    """The work was cancelled or is held by another worker; its result would be rejected."""


class Progress:
    """The progress of a piece of work. It may be reported as often as needed and from any thread."""

    def __init__(self) -> None:
        self.latest: tuple[str, int] | None = None
        self.cancelled = False

    def report(self, stage: str, percent: int) -> None:
        """Set the progress. Raises LeaseLost, which ends long work early."""
        if self.cancelled:
            raise LeaseLost
        self.latest = stage, min(max(percent, 0), 100)


async def ignore_point_of_no_return() -> None:
    """The default for contexts that belong to no piece of work."""


@dataclass(frozen=True)
class WorkerContext:
    """What a reaction works with."""

    db: Database
    settings: Settings
    ring: Callable[[], Awaitable[None]]  # hints to the relay that there is something to number
    proxy: Proxy | None = None  # the outgoing proxy of git, while a worker runs
    progress: Progress = field(default_factory=Progress)  # of the present piece of work
    holder: UUID = field(default_factory=uuid4)  # this process, as the holder of leases
    # Call before a step that cannot be undone; from then on the work cannot be cancelled. Raises LeaseLost.
    point_of_no_return: Callable[[], Awaitable[None]] = ignore_point_of_no_return


Work = Callable[[WorkerContext, StoredEvent], Awaitable[list[NewEvent]]]
OnFailure = Callable[[StoredEvent, TaskFailure], list[NewEvent]]


@dataclass(frozen=True)
class Reaction:
    """A kind of work: its name, its queue, the function that does it, and the events of its failure.

    `tracked` work belongs to a task, so its start and its progress are recorded. If there is a `ref_prefix`, only
    events about refs below it ask for the work. Reactions with the same `lane` are done one at a time in each project,
    the oldest first; the others need no order.
    """

    name: str
    queue: str
    work: Work
    on_failure: OnFailure
    tracked: bool = True
    ref_prefix: str = ""
    lane: str | None = None


REACTIONS: dict[str, Reaction] = {}
REACTIONS_BY_TYPE: dict[str, list[Reaction]] = {}


def on(
    *events: type[Event],
    queue: str,
    on_failure: OnFailure,
    tracked: bool = True,
    ref_prefix: str = "",
    lane: str | None = None,
) -> Callable[[Work], Work]:
    """Register a function as the reaction to these events. The reaction's name is derived from the function's name and
    is stored in the table `work`, so renaming the function orphans unfinished work.
    """

    def register(work: Work) -> Work:
        reaction = Reaction(work.__name__.replace("_", "-"), queue, work, on_failure, tracked, ref_prefix, lane)
        REACTIONS[reaction.name] = reaction
        for event in events:
            REACTIONS_BY_TYPE.setdefault(event.type, []).append(reaction)
        return work

    return register


def list_lane(lane: str) -> list[str]:
    """List the names of the reactions in a lane."""
    return [reaction.name for reaction in REACTIONS.values() if reaction.lane == lane]


def fail_task(cause: StoredEvent, failure: TaskFailure) -> list[NewEvent]:
    """Record that the task of the work failed."""
    task = str(cause.command_id)
    return [NewEvent(TaskFailed(task_id=task, project_id=cause.data["project_id"], **asdict(failure)))]


def ignore_failure(cause: StoredEvent, failure: TaskFailure) -> list[NewEvent]:
    """Record nothing, since no task waits for the work."""
    return []
