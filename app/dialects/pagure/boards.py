"""Pagure's endpoints about the boards of a tracker, which take JSON."""

from collections.abc import Callable, Mapping
from typing import Any

from aiohttp import web

from app.core.access import Actor, require
from app.core.boards import DeleteBoards, Place, PlaceIssues, SetBoards, SetBoardStatuses
from app.database import Row
from app.dialects.pagure import forms, render
from app.dialects.pagure.errors import Said, invalid
from app.dialects.pagure.trackers import UID, to_read, to_write
from app.dialects.pagure.urls import PagureRoutes, number
from app.errors import Invalid, NotFound
from app.queries import boards
from app.web import DATABASE, UNREADABLE, execute, json_object, reply

routes = PagureRoutes()

MANDATORY = "The '{}' and '{}' fields are mandatory."


@routes.project("GET", "/boards", "read-issues")
async def list_boards(request: web.Request) -> web.Response:
    _, project = await to_read(request)
    shown = await _shown(request, project)
    return reply({"boards": shown, "total_boards": len(shown), "total_requests": len(shown)})


async def _shown(request: web.Request, project: Row) -> list[dict[str, Any]]:
    found = await boards.of(request.config_dict[DATABASE], project["project_id"])
    return [render.board(render.base(request), project, row) for row in found]


@routes.project("POST", "/boards", "manage-boards")
async def set_boards(request: web.Request) -> web.Response:
    actor, project = await _to_manage(request)
    wanted = {name: _board(given) for name, given in (await _given(request)).items()}
    await execute(request, actor, SetBoards(project_id=project["project_id"], boards=wanted), seen=project)
    return reply({"boards": await _shown(request, project)})


@routes.project("POST", "/boards/delete", "manage-boards")
async def delete_boards(request: web.Request) -> web.Response:
    actor, project = await _to_manage(request)
    form = await forms.form(request)
    names = form.all("name")
    if not names:
        raise invalid({"name": ["This field is required"]})
    await execute(request, actor, DeleteBoards(project_id=project["project_id"], boards=names), seen=project)
    return reply({"boards": await _shown(request, project)})


@routes.project("POST", "/boards/{board}/status", "manage-boards")
async def set_statuses(request: web.Request) -> web.Response:
    actor, project = await _to_manage(request)
    board = await _named(request, project)
    statuses = [_status(name, given) for name, given in (await _given(request)).items()]
    command = SetBoardStatuses(project_id=project["project_id"], board=board["board"], statuses=statuses)
    await execute(request, actor, command, seen=project)
    return await _one(request, project, board)


@routes.project("POST", "/boards/{board}/update_issue", "manage-boards")
async def update_issue(request: web.Request) -> web.Response:
    return await _place(request, lambda key: key if UID.match(key) else None)


@routes.project("POST", "/boards/{board}/add_issue", "manage-boards")
async def add_issue(request: web.Request) -> web.Response:
    return await _place(request, number)


async def _place(request: web.Request, issue: Callable[[str], int | str | None]) -> web.Response:
    actor, project = await _to_manage(request)
    board = await _named(request, project)
    places: dict[int | str, Place] = {}
    for key, given in (await _given(request)).items():
        place = _placed(issue(key), given)
        places[place.issue] = place
    command = PlaceIssues(project_id=project["project_id"], board=board["board"], places=list(places.values()))
    await execute(request, actor, command, seen=project)
    return await _one(request, project, board)


async def _to_manage(request: web.Request) -> tuple[Actor, Row]:
    actor, project = await to_write(request, "modify_project")
    require(actor, "manage-boards", project)
    return actor, project


async def _named(request: web.Request, project: Row) -> Row:
    """The board in the path. What cannot be stored names none."""
    name = request.match_info["board"]
    if not forms.storable(name):
        raise NotFound("board", "Board not found")
    return await boards.find(request.config_dict[DATABASE], project["project_id"], name)


async def _one(request: web.Request, project: Row, board: Row) -> web.Response:
    now = await boards.find(request.config_dict[DATABASE], project["project_id"], board["board"])
    return reply({"board": render.board(render.base(request), project, now)})


# ---------------------------------------------------------------- JSON, which may hold anything


async def _given(request: web.Request) -> dict[str, Any]:
    try:
        found = await json_object(request)
    except UNREADABLE:
        found = {}
    if not found:
        raise _wrong("No (JSON) data provided")
    return found


def _wrong(what: str) -> Said:
    return Said(400, "EINVALIDREQ", errors=what)


def _board(given: Any) -> dict[str, Any]:
    tag = given.get("tag") if isinstance(given, dict) else None
    if not isinstance(tag, str):
        raise _wrong("No tag associated with at least one of the boards")
    if not forms.storable(tag):
        raise Invalid("tag of a board", f"No tag found with the name {tag}")
    return {"active": _flag(given, "active"), "tag": tag}


def _status(name: str, given: Any) -> dict[str, Any]:
    _check_fields(given, "rank", "default")
    return {
        "name": name,
        "rank": _rank(given),
        "default": _flag(given, "default"),
        "bg_color": _text(given, "bg_color"),
        "close": _flag(given, "close"),
        "close_status": _text(given, "close_status"),
    }


def _placed(issue: int | str | None, given: Any) -> Place:
    if issue is None:
        raise Invalid("ticket", "No ticket found with this identifier")
    _check_fields(given, "rank", "status")
    return Place(issue=issue, status=_text(given, "status"), rank=_rank(given))


def _check_fields(given: Any, first: str, second: str) -> None:
    if not isinstance(given, dict) or not given.keys() >= {first, second}:
        raise _wrong(MANDATORY.format(first, second))


def _rank(given: Mapping[str, Any]) -> int:
    if type(given["rank"]) is not int:
        raise invalid({"rank": [forms.INVALID]})
    return given["rank"]


def _flag(given: Mapping[str, Any], name: str) -> bool:
    """As in a form: what is not plainly false is true."""
    value = given.get(name)
    if isinstance(value, dict | list):
        raise invalid({name: [forms.INVALID]})
    return value is not None and str(value) not in forms.FALSE_FIELDS


def _text(given: Mapping[str, Any], name: str) -> str | None:
    value = given.get(name)
    if value is not None and not (isinstance(value, str) and forms.storable(value)):
        raise invalid({name: [forms.INVALID]})
    return value or None
