"""What the issue endpoints have in common: the tracker and the issue that the path names, and who may use them."""

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


def readable_tracker(project: Row) -> None:
    """Raise Disabled without a tracker."""
    require_tracker(project, writing=False)


def writable_tracker(project: Row) -> None:
    """Raise Disabled without a tracker that takes changes."""
    require_tracker(project, writing=True)


def read_number(request: web.Request) -> int:
    found = parse_number(request.match_info["issue"])
    if found is None:
        raise NotFound(Subject.ISSUE)
    return found


def read_number_or_uid(request: web.Request) -> int | str:
    given = request.match_info["issue"]
    if given.isascii() and given.isdigit():
        return read_number(request)
    if not UID.match(given):
        raise NotFound(Subject.ISSUE)
    return given


async def check_form(request: web.Request, form: Form, actor: Actor, project: Row, key: int | str, rule: Rule) -> None:
    """Refuse a form with mistakes, unless the issue is missing or the rule has something against the actor first."""
    if form.errors:
        rule(actor, project, await issues.find(request.config_dict[DATABASE], project["project_id"], key))
        form.check()


async def caller_keys(request: web.Request, actor: Actor) -> dict[str, str | None]:
    """The keys that tell a client whose doing it was."""
    caller = await users.find(request.config_dict[DATABASE], actor.username)
    return {"avatar_url": render.avatar_url(caller["email"] if caller else None, 30), "user": actor.username}
