"""What Pagure keeps in its web pages: milestones, priorities and the other words of a project's tracker."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from aiohttp import web

from app.core import paths
from app.core.access import require, require_acl
from app.core.tracker import ConfigureTracker
from app.dialects.native import read
from app.dialects.native.problems import somebody, unprocessable
from app.errors import NotFound
from app.queries import projects, tags
from app.web import DATABASE, Routes, execute, reply

routes = Routes()

WEIGHT = re.compile(r"-?[0-9]{1,9}\Z", re.ASCII)
KEY_TYPES = ("boolean", "date", "integer", "link", "list", "text")
LARGEST = 2**31 - 1
COLOR = "DeepSkyBlue"


def _text(value: Any) -> bool:
    return isinstance(value, str) and "\x00" not in value


def _texts(value: Any) -> bool:
    return isinstance(value, list) and all(_text(each) for each in value)


def _named(value: Any, check: Callable[[str, Any], bool]) -> bool:
    return isinstance(value, dict) and all(_text(name) and check(name, each) for name, each in value.items())


def _milestone(_: str, value: Any) -> bool:
    return (
        _named(value, lambda name, _: name in ("date", "active"))
        and isinstance(value.get("active", True), bool)
        and (value.get("date") is None or _text(value["date"]))
    )


def _key(value: Any) -> bool:
    """`[name, type, options?, notify?]`"""
    if not (isinstance(value, list) and 2 <= len(value) <= 4 and _text(value[0]) and value[1] in KEY_TYPES):
        return False
    choices, notify = [*value[2:], None, None][:2]
    return (choices is None or _text(choices) or _texts(choices)) and (notify is None or isinstance(notify, bool))


def _pair(value: Any) -> bool:
    whole = isinstance(value, list) and len(value) == 2 and all(type(each) is int for each in value)
    return whole and all(0 < each <= LARGEST for each in value)


def _look(_: str, value: Any) -> bool:
    return _named(value, lambda name, each: name in ("description", "color") and _text(each))


# What each field has to be, and what it is when it is cleared.
FIELDS: dict[str, tuple[Callable[[Any], bool], str, Any]] = {
    "milestones": (lambda value: _named(value, _milestone), "names with `date` and `active`", {}),
    "milestones_keys": (_texts, "a list of texts", []),
    "priorities": (
        lambda value: _named(value, lambda name, each: bool(WEIGHT.match(name)) and _text(each)),
        "whole numbers as texts with names",
        {},
    ),
    "default_priority": (_text, "a text", None),
    "close_status": (_texts, "a list of texts", []),
    "custom_keys": (
        lambda value: isinstance(value, list) and all(_key(each) for each in value),
        "a list of [name, type, options?, notify?]",
        [],
    ),
    "dependencies": (
        lambda value: isinstance(value, list) and all(_pair(each) for each in value),
        "a list of pairs of issue numbers",
        [],
    ),
    "tags": (lambda value: _named(value, _look), "names with `description` and `color`", {}),
}


def _checked(found: Mapping[str, Any]) -> dict[str, Any]:
    errors = [(read.pointer(name), "There is no such field.") for name in found if name not in FIELDS]
    wish = {}
    for name, (fits, what, cleared) in FIELDS.items():
        if name not in found:
            continue
        wish[name] = cleared if found[name] is None else found[name]
        if found[name] is not None and not fits(found[name]):
            errors.append((f"/{name}", f"This has to be {what}."))
    if errors:
        raise unprocessable(*errors)
    return wish


@routes.add("PATCH", "/projects/{path:.+}/tracker", "configure-project")
async def configure_tracker(request: web.Request) -> web.Response:
    actor = await somebody(request)
    db, path = request.config_dict[DATABASE], request.match_info["path"]
    if not path.isprintable():
        raise NotFound("project")
    project = await projects.by_address(db, paths.address_of(path))
    require(actor, "configure-project", project)
    require_acl(actor, "modify_project", project["project_id"])
    wish = _checked(await read.whole(request))
    if "milestones" in wish:
        wish["milestones"] = {
            name: {"date": each.get("date"), "active": each.get("active", True)}
            for name, each in wish["milestones"].items()
        }
    command = ConfigureTracker(
        project_id=project["project_id"],
        tags={
            name: {"color": look.get("color", COLOR), "description": look.get("description", "")}
            for name, look in wish.pop("tags", {}).items()
        },
        dependencies=wish.pop("dependencies", []),
        changed=wish,
    )
    await execute(request, actor, command, seen=project)
    now = await projects.by_id(db, project["project_id"])
    words = ("milestones", "milestones_keys", "priorities", "default_priority", "close_status", "custom_keys")
    return reply({**{name: now[name] for name in words}, "tags": await tags.looks(db, now["project_id"])})
