"""What can happen to a tracker's boards. Where an issue stands on them is the issue's own story."""

from dataclasses import dataclass
from typing import Any

from events.event import Event


@dataclass(frozen=True, kw_only=True)
class BoardDefined(Event, type="board.defined", stream="board-{project_id}/{board}"):
    """A board exists, or has another tag, or is active or not from now on."""

    project_id: int
    board: str
    active: bool
    tag: str


@dataclass(frozen=True, kw_only=True)
class BoardStatusesSet(Event, type="board.statuses-set", stream="board-{project_id}/{board}"):
    """The whole list in the order of ranks, each with name, rank, default, bg_color, close and close_status.

    An issue whose status is gone stands in the default one.
    """

    project_id: int
    board: str
    statuses: list[dict[str, Any]]


@dataclass(frozen=True, kw_only=True)
class BoardDeleted(Event, type="board.deleted", stream="board-{project_id}/{board}"):
    """Issues are on it no longer; they keep its tag."""

    project_id: int
    board: str
