"""Settings of a project's tracker that Pagure has only in its web pages: milestones, priorities, tags and others."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from aiohttp import web

from app.actor import Actor
from app.core.tracker import ConfigureTracker
from app.database import Row
from app.dialects.native import requests
from app.dialects.native.problems import invalid_request
from app.dialects.native.routes import NativeRoutes
from app.http.commands import execute
from app.http.keys import DATABASE
from app.http.responses import json_reply
from app.queries import projects, tags

routes = NativeRoutes()

WEIGHT = re.compile(r"-?[0-9]{1,9}\Z", re.ASCII)
KEY_TYPES = ("boolean", "date", "integer", "link", "list", "text")
MAX_NUMBER = 2**31 - 1
DEFAULT_COLOR = "DeepSkyBlue"


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and "\x00" not in value


def _is_text_list(value: Any) -> bool:
    return isinstance(value, list) and all(_is_text(each) for each in value)


def _is_mapping(value: Any, check: Callable[[str, Any], bool]) -> bool:
    return isinstance(value, dict) and all(_is_text(name) and check(name, each) for name, each in value.items())


def _is_milestone(_: str, value: Any) -> bool:
    return (
        _is_mapping(value, lambda name, _: name in ("date", "active"))
        and isinstance(value.get("active", True), bool)
        and (value.get("date") is None or _is_text(value["date"]))
    )


def _is_custom_key(value: Any) -> bool:
    """`[name, type, options?, notify?]`"""
    if not (isinstance(value, list) and 2 <= len(value) <= 4 and _is_text(value[0]) and value[1] in KEY_TYPES):
        return False
    choices, notify = [*value[2:], None, None][:2]
    return (choices is None or _is_text(choices) or _is_text_list(choices)) and (
        notify is None or isinstance(notify, bool)
    )


def _parse_custom_key(key: list[Any]) -> list[Any]:
    """Split the choices of a list at commas if they are one text, as Pagure does."""
    name, kind, *rest = key
    if kind != "list" or not rest or not isinstance(rest[0], str):
        return key
    choices = [choice.strip() for choice in rest[0].split(",")] if rest[0].strip() else None
    return [name, kind, choices, *rest[1:]]


def _is_pair(value: Any) -> bool:
    integers = isinstance(value, list) and len(value) == 2 and all(type(each) is int for each in value)
    return integers and all(0 < each <= MAX_NUMBER for each in value)


def _is_tag_style(_: str, value: Any) -> bool:
    return _is_mapping(value, lambda name, each: name in ("description", "color") and _is_text(each))


# For each field: the check, what it must be, and the value that null clears it to.
FIELDS: dict[str, tuple[Callable[[Any], bool], str, Any]] = {
    "milestones": (
        lambda value: _is_mapping(value, _is_milestone),
        "an object of milestones with `date` and `active`",
        {},
    ),
    "milestones_keys": (_is_text_list, "a list of strings", []),
    "priorities": (
        lambda value: _is_mapping(value, lambda name, each: bool(WEIGHT.match(name)) and _is_text(each)),
        "an object that maps numbers, as strings, to names",
        {},
    ),
    "default_priority": (_is_text, "a string", None),
    "close_status": (_is_text_list, "a list of strings", []),
    "custom_keys": (
        lambda value: isinstance(value, list) and all(_is_custom_key(each) for each in value),
        "a list of [name, type, options?, notify?]",
        [],
    ),
    "dependencies": (
        lambda value: isinstance(value, list) and all(_is_pair(each) for each in value),
        "a list of pairs of issue numbers",
        [],
    ),
    "tags": (lambda value: _is_mapping(value, _is_tag_style), "an object of tags with `description` and `color`", {}),
}


def _validate(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of the body, null replaced by the cleared value. Raises ProblemError."""
    errors = requests.find_unknown_fields(body, FIELDS)
    given = {}
    for name, (is_valid, description, cleared) in FIELDS.items():
        if name not in body:
            continue
        given[name] = cleared if body[name] is None else body[name]
        if body[name] is not None and not is_valid(body[name]):
            errors.append((f"/{name}", f"`{name}` must be {description}."))
    if errors:
        raise invalid_request(*errors)
    return given


@routes.project("PATCH", "/tracker", "configure-project")
async def configure_tracker(request: web.Request, actor: Actor, project: Row) -> web.Response:
    db = request.config_dict[DATABASE]
    given = _validate(await requests.read_object(request))
    if "milestones" in given:
        given["milestones"] = {
            name: {"date": each.get("date"), "active": each.get("active", True)}
            for name, each in given["milestones"].items()
        }
    if "custom_keys" in given:
        given["custom_keys"] = [_parse_custom_key(each) for each in given["custom_keys"]]
    command = ConfigureTracker(
        project_id=project["project_id"],
        tags={
            name: {"color": style.get("color", DEFAULT_COLOR), "description": style.get("description", "")}
            for name, style in given.pop("tags", {}).items()
        },
        dependencies=given.pop("dependencies", []),
        changed=given,
    )
    await execute(request, actor, command, seen=project)
    now = await projects.by_id(db, project["project_id"])
    shown = ("milestones", "milestones_keys", "priorities", "default_priority", "close_status", "custom_keys")
    return json_reply({**{name: now[name] for name in shown}, "tags": await tags.list_styles(db, now["project_id"])})
