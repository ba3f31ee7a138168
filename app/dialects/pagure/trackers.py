"""Helpers of the issue endpoints: checks of the tracker, and readers of the issue that the path names."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from aiohttp import web

from app.actor import Actor
from app.core.issues import require_tracker
from app.database import Row
from app.dialects.pagure import render
from app.dialects.pagure.forms import Form
from app.errors import NotFound, Subject
from app.http.keys import DATABASE
from app.http.projects import parse_number
from app.queries import issues, users

UID = re.compile(r"[0-9a-f]{32}\Z")

Rule = Callable[[Actor, Mapping[str, Any], Mapping[str, Any]], None]


def require_readable_tracker(project: Row) -> None:
    """Raise Disabled if the project has no tracker."""
    require_tracker(project, writing=False)


def require_writable_tracker(project: Row) -> None:
    """Raise Disabled if the project has no tracker, or a read-only one."""
    require_tracker(project, writing=True)


def read_number(request: web.Request) -> int:
    number = parse_number(request.match_info["issue"])
    if number is None:
        raise NotFound(Subject.ISSUE)
    return number


def read_number_or_uid(request: web.Request) -> int | str:
    text = request.match_info["issue"]
    if text.isascii() and text.isdigit():
        return read_number(request)
    if not UID.match(text):
        raise NotFound(Subject.ISSUE)
    return text


async def check_form(request: web.Request, form: Form, actor: Actor, project: Row, key: int | str, rule: Rule) -> None:
    """Refuse a form with errors. A missing issue, and the rule's refusal of the actor, take precedence."""
    if form.errors:
        rule(actor, project, await issues.find(request.config_dict[DATABASE], project["project_id"], key))
        form.check()


async def render_caller(request: web.Request, actor: Actor) -> dict[str, str | None]:
    """Render the keys that name the caller in the response to a change."""
    caller = await users.find(request.config_dict[DATABASE], actor.username)
    return {"avatar_url": render.avatar_url(caller["email"] if caller else None, 30), "user": actor.username}
