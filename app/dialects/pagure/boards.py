"""Endpoints for the boards of a tracker, which take JSON."""

from collections.abc import Callable, Mapping
from typing import Any

from aiohttp import web

from app.actor import Actor
from app.core.access import require
from app.core.boards import DeleteBoards, PlaceIssues, Placement, SetBoards, SetBoardStatuses
from app.database import Row
from app.dialects.pagure import forms, render
from app.dialects.pagure.auth import BadTokenPolicy
from app.dialects.pagure.errors import ApiError, invalid_request
from app.dialects.pagure.trackers import UID, require_readable_tracker, require_writable_tracker
from app.dialects.pagure.urls import PagureRoutes
from app.errors import Invalid, NotFound, Subject
from app.http import requests
from app.http.commands import execute
from app.http.keys import DATABASE
from app.http.projects import parse_number
from app.http.requests import BODY_ERRORS, read_json_object
from app.http.responses import json_reply
from app.queries import boards

routes = PagureRoutes()

MANDATORY = "The '{}' and '{}' fields are mandatory."


@routes.project(
    "GET", "/boards", "read-issues", bad=BadTokenPolicy.REFUSED, bound=True, requires=require_readable_tracker
)
async def list_boards(request: web.Request, _: Actor, project: Row) -> web.Response:
    shown = await _render_boards(request, project)
    return json_reply({"boards": shown, "total_boards": len(shown), "total_requests": len(shown)})


async def _render_boards(request: web.Request, project: Row) -> list[dict[str, Any]]:
    found = await boards.list_of_project(request.config_dict[DATABASE], project["project_id"])
    return [render.board(render.base_url(request), project, row) for row in found]


@routes.project("POST", "/boards", "manage-boards", requires=require_writable_tracker)
async def set_boards(request: web.Request, actor: Actor, project: Row) -> web.Response:
    require(actor, "manage-boards", project)
    new_boards = {name: _read_board(given) for name, given in (await _read_json(request)).items()}
    await execute(request, actor, SetBoards(project_id=project["project_id"], boards=new_boards), seen=project)
    return json_reply({"boards": await _render_boards(request, project)})


@routes.project("POST", "/boards/delete", "manage-boards", requires=require_writable_tracker)
async def delete_boards(request: web.Request, actor: Actor, project: Row) -> web.Response:
    require(actor, "manage-boards", project)
    form = await forms.read_form(request)
    names = form.all("name")
    if not names:
        raise invalid_request({"name": ["This field is required"]})
    await execute(request, actor, DeleteBoards(project_id=project["project_id"], boards=names), seen=project)
    return json_reply({"boards": await _render_boards(request, project)})


@routes.project("POST", "/boards/{board}/status", "manage-boards", requires=require_writable_tracker)
async def set_statuses(request: web.Request, actor: Actor, project: Row) -> web.Response:
    require(actor, "manage-boards", project)
    board = await _find_board(request, project)
    statuses = [_read_status(name, given) for name, given in (await _read_json(request)).items()]
    command = SetBoardStatuses(project_id=project["project_id"], board=board["board"], statuses=statuses)
    await execute(request, actor, command, seen=project)
    return await _reply_with_board(request, project, board)


@routes.project("POST", "/boards/{board}/update_issue", "manage-boards", requires=require_writable_tracker)
async def update_issue(request: web.Request, actor: Actor, project: Row) -> web.Response:
    return await _place_issue(request, actor, project, lambda key: key if UID.match(key) else None)


@routes.project("POST", "/boards/{board}/add_issue", "manage-boards", requires=require_writable_tracker)
async def add_issue(request: web.Request, actor: Actor, project: Row) -> web.Response:
    return await _place_issue(request, actor, project, parse_number)


async def _place_issue(
    request: web.Request, actor: Actor, project: Row, parse_issue: Callable[[str], int | str | None]
) -> web.Response:
    require(actor, "manage-boards", project)
    board = await _find_board(request, project)
    places: dict[int | str, Placement] = {}
    for key, given in (await _read_json(request)).items():
        place = _read_placement(parse_issue(key), given)
        places[place.issue] = place
    command = PlaceIssues(project_id=project["project_id"], board=board["board"], places=list(places.values()))
    await execute(request, actor, command, seen=project)
    return await _reply_with_board(request, project, board)


async def _find_board(request: web.Request, project: Row) -> Row:
    """Find the board that the path names. Raises NotFound."""
    name = request.match_info["board"]
    if not requests.is_storable(name):
        raise NotFound(Subject.BOARD)
    return await boards.find(request.config_dict[DATABASE], project["project_id"], name)


async def _reply_with_board(request: web.Request, project: Row, board: Row) -> web.Response:
    now = await boards.find(request.config_dict[DATABASE], project["project_id"], board["board"])
    return json_reply({"board": render.board(render.base_url(request), project, now)})


# ---------------------------------------------------------------- reading JSON


async def _read_json(request: web.Request) -> dict[str, Any]:
    try:
        body = await read_json_object(request)
    except BODY_ERRORS:
        body = {}
    if not body:
        raise _field_error("No (JSON) data provided")
    return body


def _field_error(message: str) -> ApiError:
    return ApiError(400, "EINVALIDREQ", errors=message)


def _read_board(given: Any) -> dict[str, Any]:
    tag = given.get("tag") if isinstance(given, dict) else None
    if not isinstance(tag, str):
        raise _field_error("No tag associated with at least one of the boards")
    if not requests.is_storable(tag):
        raise Invalid(Subject.BOARD_TAG, "tag", name=tag)
    return {"active": _read_flag(given, "active"), "tag": tag}


def _read_status(name: str, given: Any) -> dict[str, Any]:
    _check_fields(given, "rank", "default")
    return {
        "name": name,
        "rank": _read_rank(given),
        "default": _read_flag(given, "default"),
        "bg_color": _read_text(given, "bg_color"),
        "close": _read_flag(given, "close"),
        "close_status": _read_text(given, "close_status"),
    }


def _read_placement(issue: int | str | None, given: Any) -> Placement:
    if issue is None:
        raise Invalid(Subject.PLACED_ISSUE, "places")
    _check_fields(given, "rank", "status")
    return Placement(issue=issue, status=_read_text(given, "status"), rank=_read_rank(given))


def _check_fields(given: Any, first: str, second: str) -> None:
    if not isinstance(given, dict) or not given.keys() >= {first, second}:
        raise _field_error(MANDATORY.format(first, second))


def _read_rank(given: Mapping[str, Any]) -> int:
    if type(given["rank"]) is not int:
        raise invalid_request({"rank": [forms.INVALID]})
    return given["rank"]


def _read_flag(given: Mapping[str, Any], name: str) -> bool:
    """Read a boolean like one of a form: any value that is not in FALSE_FIELDS is true."""
    value = given.get(name)
    if isinstance(value, dict | list):
        raise invalid_request({name: [forms.INVALID]})
    return value is not None and str(value) not in forms.FALSE_FIELDS


def _read_text(given: Mapping[str, Any], name: str) -> str | None:
    value = given.get(name)
    if value is not None and not (isinstance(value, str) and requests.is_storable(value)):
        raise invalid_request({name: [forms.INVALID]})
    return value or None
