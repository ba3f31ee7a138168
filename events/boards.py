"""Events of a tracker's boards. An issue's status on a board belongs to the issue's events."""

from dataclasses import dataclass
from typing import Any

from events.event import Event


@dataclass(frozen=True, kw_only=True)
class BoardDefined(Event, event_type="board.defined", stream="board-{project_id}/{board}"):
    """A board was created, or its tag or its active flag changed."""

    project_id: int
    board: str
    active: bool
    tag: str


@dataclass(frozen=True, kw_only=True)
class BoardStatusesSet(Event, event_type="board.statuses-set", stream="board-{project_id}/{board}"):
    """The statuses of a board were replaced. `statuses` is the whole list in order of rank; each has name, rank,
    default, bg_color, close and close_status.

    An issue whose status no longer exists moves to the default status.
    """

    project_id: int
    board: str
    statuses: list[dict[str, Any]]


@dataclass(frozen=True, kw_only=True)
class BoardDeleted(Event, event_type="board.deleted", stream="board-{project_id}/{board}"):
    """A board was deleted. Its issues leave it and keep its tag."""

    project_id: int
    board: str
