"""`on`: this event asks for this work. Postgres says what is due; arq is only how a worker hears of it."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from app.config import Settings
from app.database import Database
from app.outgoing.proxy import Proxy
from events.event import Event, StoredEvent
from events.record import NewEvent
from events.tasks import FailureReason

GIT = "git"  # what somebody waits for, however long it takes
FOLLOW = "follow"  # what follows by itself and is soon done: it never stands behind a fork
MIRROR = "mirror"  # what takes as long as somebody elsewhere likes: nothing else stands behind it
QUEUES = (GIT, MIRROR, FOLLOW)


@dataclass(frozen=True)
class TaskFailure:
    """Why work was given up, as data: `params` are what a sentence about the reason has to name."""

    reason: FailureReason
    params: dict[str, Any] = field(default_factory=dict)


class PermanentError(Exception):
    """Trying again cannot help, for this reason."""

    def __init__(self, reason: FailureReason, **params: Any) -> None:
        super().__init__(str(reason), params)
        self.failure = TaskFailure(reason, params)


class RetryLater(Exception):
    """Somebody else is at what decides what this comes to: it is looked at again in a moment."""


class LeaseLost(Exception):
    """The work was cancelled, or is somebody else's: whatever it comes to, nobody will take it."""


class Progress:
    """How far a piece of work is. Whoever does it says so as often as they like, from any thread."""

    def __init__(self) -> None:
        self.latest: tuple[str, int] | None = None
        self.cancelled = False

    def say(self, stage: str, percent: int) -> None:
        """Raises Unwanted, which is how long work ends early."""
        if self.cancelled:
            raise LeaseLost
        self.latest = stage, min(max(percent, 0), 100)


async def ignore_point_of_no_return() -> None:
    """For hands that are at no work in particular."""


@dataclass(frozen=True)
class WorkerContext:
    """What a piece of work is done with."""

    db: Database
    settings: Settings
    ring: Callable[[], Awaitable[None]]  # tells the relay that there is something to number
    proxy: Proxy | None = None  # the way out for git, while a worker works
    progress: Progress = field(default_factory=Progress)  # of this very piece of work
    # To be called before what cannot be undone: from there on nobody can cancel the work. Raises Unwanted.
    point_of_no_return: Callable[[], Awaitable[None]] = ignore_point_of_no_return


Work = Callable[[WorkerContext, StoredEvent], Awaitable[list[NewEvent]]]
OnFailure = Callable[[StoredEvent, TaskFailure], list[NewEvent]]


@dataclass(frozen=True)
class Reaction:
    """A name, the queue it is rung on, what to do, and what to say when it cannot be done.

    `tracked` work is what a task waits for, so the log hears when it begins.
    """

    name: str
    queue: str
    work: Work
    on_failure: OnFailure
    tracked: bool = True


REACTIONS: dict[str, Reaction] = {}
REACTIONS_BY_TYPE: dict[str, list[Reaction]] = {}


def on(*events: type[Event], queue: str, on_failure: OnFailure, tracked: bool = True) -> Callable[[Work], Work]:
    """Register work that these events ask for; its name is the function's."""

    def register(work: Work) -> Work:
        reaction = Reaction(work.__name__.replace("_", "-"), queue, work, on_failure, tracked)
        REACTIONS[reaction.name] = reaction
        for event in events:
            REACTIONS_BY_TYPE.setdefault(event.type, []).append(reaction)
        return work

    return register


def ignore_failure(cause: StoredEvent, failure: TaskFailure) -> list[NewEvent]:
    """Nobody waits for the work, so nobody is told that it could not be done."""
    return []
