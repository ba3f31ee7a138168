"""Commands on the boards of a tracker, and the effects of placing an issue on a board."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from app.core.access import require
from app.core.commands import Command, CommandContext, handles
from app.core.issue_metadata import require_closable, status_change
from app.core.issues import build_issue_update, is_commented, require_tracker
from app.errors import Invalid, Subject
from app.queries import boards, comments, issues, tags
from events.boards import BoardDefined, BoardDeleted, BoardStatusesSet
from events.record import NewEvent

MAX_BOARDS = 30  # per tracker; an issue shows all of its boards, with all of their statuses
MAX_STATUSES = 30  # per board
MAX_PLACEMENTS = 200  # per command
MAX_TEXT_LENGTH = 255  # characters of a name, a color or a reason
MAX_RANK = 2**31 - 1
STATUS = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9\-_ .:]+\Z")
COLOR = re.compile(r"#?[a-zA-Z0-9][a-zA-Z0-9(),.% \-]*\Z")


async def _require_board_manager(ctx: CommandContext, project_id: int) -> None:
    project = await ctx.project(project_id)
    require(ctx.actor, "manage-boards", project)
    require_tracker(project, writing=True)


@dataclass(frozen=True, kw_only=True)
class SetBoards(Command):
    """Replace the boards of the tracker: names with `active` and `tag`."""

    project_id: int
    boards: dict[str, dict[str, Any]]


@handles(SetBoards)
async def set_boards(ctx: CommandContext, command: SetBoards) -> list[NewEvent]:
    await _require_board_manager(ctx, command.project_id)
    if len(command.boards) > MAX_BOARDS:
        raise Invalid(Subject.TOO_MANY_BOARDS, "boards", limit=MAX_BOARDS)
    for name in command.boards:
        _check_name(name)
    wanted = sorted({look["tag"] for look in command.boards.values()})
    known = await tags.list_styles(ctx.db, command.project_id, wanted)
    for tag in wanted:
        if tag not in known:
            raise Invalid(Subject.BOARD_TAG, "tag", name=tag)
    now = {row["board"]: row for row in await boards.list_of_project(ctx.db, command.project_id)}
    gone = [BoardDeleted(project_id=command.project_id, board=name) for name in now if name not in command.boards]
    defined = [
        BoardDefined(project_id=command.project_id, board=name, **look)
        for name, look in command.boards.items()
        if name not in now or any(now[name][key] != value for key, value in look.items())
    ]
    return [NewEvent(event, None) for event in (*gone, *defined)]


def _check_name(name: str) -> None:
    """Refuse names that cannot be a segment of a URL."""
    if not name.strip():
        raise Invalid(Subject.NAME_REQUIRED, "name")
    if len(name) > MAX_TEXT_LENGTH:
        raise Invalid(Subject.TOO_LONG, "name", limit=MAX_TEXT_LENGTH)
    if not name.isprintable() or name != name.strip() or "/" in name or name in (".", ".."):
        raise Invalid(Subject.VALUE, "name")


@dataclass(frozen=True, kw_only=True)
class DeleteBoards(Command):
    """Delete boards; names of boards that do not exist are ignored."""

    project_id: int
    boards: list[str]


@handles(DeleteBoards)
async def delete_boards(ctx: CommandContext, command: DeleteBoards) -> list[NewEvent]:
    await _require_board_manager(ctx, command.project_id)
    now = await boards.list_of_project(ctx.db, command.project_id)
    gone = [row["board"] for row in now if row["board"] in command.boards]
    return [NewEvent(BoardDeleted(project_id=command.project_id, board=name), None) for name in gone]


@dataclass(frozen=True, kw_only=True)
class SetBoardStatuses(Command):
    """Replace the statuses of a board.

    Each has name, rank, default, bg_color, close and close_status. The last one is the board's own: it need not be
    among the close statuses of the project.
    """

    project_id: int
    board: str
    statuses: list[dict[str, Any]]


@handles(SetBoardStatuses)
async def set_board_statuses(ctx: CommandContext, command: SetBoardStatuses) -> list[NewEvent]:
    await _require_board_manager(ctx, command.project_id)
    board = await boards.find(ctx.db, command.project_id, command.board)
    if len(command.statuses) > MAX_STATUSES:
        raise Invalid(Subject.TOO_MANY_STATUSES, "statuses", limit=MAX_STATUSES)
    for status in command.statuses:
        _check_status(status)
    if sum(status["default"] for status in command.statuses) != 1:
        raise Invalid(Subject.DEFAULT_STATUS, "statuses")
    statuses = sorted(command.statuses, key=lambda status: (status["rank"], status["name"]))
    if statuses == board["statuses"]:
        return []
    return [NewEvent(BoardStatusesSet(project_id=command.project_id, board=command.board, statuses=statuses), None)]


def _check_status(status: Mapping[str, Any]) -> None:
    if not status["name"]:
        raise Invalid(Subject.NAME_REQUIRED, "name")
    if not STATUS.match(status["name"]):
        raise Invalid(Subject.STATUS_NAME, "name")
    for field in ("name", "bg_color", "close_status"):
        if len(status[field] or "") > MAX_TEXT_LENGTH:
            raise Invalid(Subject.TOO_LONG, field, limit=MAX_TEXT_LENGTH)
    _check_rank(status["rank"])
    if status["bg_color"] and not COLOR.match(status["bg_color"]):
        raise Invalid(Subject.VALUE, "bg_color")
    if not (status["close_status"] or "").isprintable():
        raise Invalid(Subject.VALUE, "close_status")


def _check_rank(rank: int) -> None:
    if not -MAX_RANK <= rank <= MAX_RANK:
        raise Invalid(Subject.VALUE, "rank")


@dataclass(frozen=True, kw_only=True)
class Placement:
    """The place of an issue, given by number or uid. A status that the board does not have means its default."""

    issue: int | str
    status: str | None
    rank: int


@dataclass(frozen=True, kw_only=True)
class PlaceIssues(Command):
    """Put issues on a board or move them on it: all of them or none."""

    project_id: int
    board: str
    places: list[Placement]


@handles(PlaceIssues)
async def place_issues(ctx: CommandContext, command: PlaceIssues) -> list[NewEvent]:
    """Place the issues. Private ones need no extra check: users who may manage boards may see them."""
    await _require_board_manager(ctx, command.project_id)
    board = await boards.find(ctx.db, command.project_id, command.board)
    if len(command.places) > MAX_PLACEMENTS:
        raise Invalid(Subject.TOO_MANY_PLACEMENTS, "places", limit=MAX_PLACEMENTS)
    found = await issues.find_many(ctx.db, command.project_id, [place.issue for place in command.places])
    changes = []
    for place in command.places:
        _check_rank(place.rank)
        issue = found.get(place.issue)
        if issue is None:
            raise Invalid(Subject.PLACED_ISSUE, "places")
        changed = _place_issue(board, issue, place)
        if changed:
            changes.append((issue, changed))
    await require_closable(ctx.db, changes)
    fresh = iter(await comments.next_ids(ctx.db, sum(is_commented(changed) for _, changed in changes)))
    return [
        each
        for issue, changed in changes
        for each in await build_issue_update(
            ctx, issue, changed, comment_id=next(fresh) if is_commented(changed) else None
        )
    ]


def _place_issue(board: Mapping[str, Any], issue: Mapping[str, Any], place: Placement) -> dict[str, Any]:
    """Return the changed fields. An issue that gets another status is closed or opened as the status says."""
    status = _find_status(board, place.status)
    before, after = issue["boards"].get(board["board"]), {"rank": place.rank, "status": status["name"]}
    if before == after:
        return {}
    changed: dict[str, Any] = {"boards": {board["board"]: after}}
    if before is None and board["tag"] not in issue["tags"]:
        changed["tags"] = sorted([*issue["tags"], board["tag"]])
    if before is None or before["status"] != status["name"]:
        reason = (status["close_status"] or None) if status["close"] else None
        changed |= status_change(issue, "Closed" if status["close"] else "Open", reason)
    return changed


def _find_status(board: Mapping[str, Any], name: str | None) -> Mapping[str, Any]:
    default = None
    for status in board["statuses"]:
        if status["name"] == name:
            return status  # type: ignore[no-any-return]
        if status["default"]:
            default = status
    if default is None:
        raise Invalid(Subject.BOARD_STATUS, "status")
    return default  # type: ignore[no-any-return]
