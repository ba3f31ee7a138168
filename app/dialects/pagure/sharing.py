"""Endpoints for the access of users and groups to a project, and for blocked users."""

from typing import Any

from aiohttp import web

from app.actor import Actor
from app.core.access import may_write, require_appointed_admin
from app.core.projects import BlockUsers
from app.core.sharing import GrantAccess, RevokeAccess
from app.database import Row
from app.dialects.pagure import forms, render
from app.dialects.pagure.errors import invalid_request
from app.dialects.pagure.urls import PagureRoutes
from app.http.commands import execute
from app.http.keys import DATABASE
from app.http.responses import json_reply
from app.queries import users

routes = PagureRoutes()

# The levels that can be granted here; this endpoint cannot make collaborators, who write to some branches only.
LEVELS = ("admin", "commit", "ticket")


@routes.project("POST", "/git/modifyacls", "manage-access")
async def modify_acls(request: web.Request, actor: Actor, project: Row) -> web.Response:
    form = await forms.read_form(request)
    form.required("user_type")
    party, name = form.choice("user_type", ("user", "group")) or "", form.required("name").strip()
    acl = form.choice("acl", LEVELS)
    form.check()
    key = project["project_id"]
    command = (
        GrantAccess(project_id=key, party=party, name=name, level=acl)
        if acl
        else RevokeAccess(project_id=key, party=party, name=name)
    )
    outcome = await execute(request, actor, command, seen=project)
    return json_reply(render.project(render.base_url(request), outcome.project(project), actor))


@routes.project("POST", "/blockuser", "block-users", own_token=True)
async def block_users(request: web.Request, actor: Actor, project: Row) -> web.Response:
    """Replace the list of blocked users; no names empty it."""
    require_appointed_admin(actor, project)
    names = (await forms.read_form(request)).all("username")
    await execute(request, actor, BlockUsers(project_id=project["project_id"], usernames=names), seen=project)
    return json_reply({"message": "User(s) blocked"})


@routes.project("GET", "/contributors", "read-project")
async def list_contributors(request: web.Request, _: Actor, project: Row) -> web.Response:
    found = {party: _group_contributors(project["access"][party]) for party in ("user", "group")}
    found["user"]["admin"] = sorted({project["owner"], *found["user"]["admin"]})
    return json_reply({"groups": found["group"], "users": found["user"]})


def _group_contributors(grants: dict[str, Any]) -> dict[str, list[Any]]:
    """Group users or groups by level. Among the collaborators, a group too is named under `user`."""
    names: dict[str, list[Any]] = dict(render.group_by_level(grants))
    limited = names.pop("collaborator")
    return {**names, "collaborators": [{"branches": grants[name]["branches"], "user": name} for name in limited]}


@routes.project("GET", "/hascommit", "read-project")
async def has_commit(request: web.Request, actor: Actor, project: Row) -> web.Response:
    """Tell whether a user may write to a branch. Administration of the forge does not count."""
    query = forms.Query(request)
    name, branch = query.text("user"), query.text("branch")
    if name is None or branch is None:
        raise invalid_request()
    groups = frozenset(await users.list_groups(request.config_dict[DATABASE], name))
    shown = render.project(render.base_url(request), project, actor)
    return json_reply(
        {
            "args": {"branch": branch, "project": shown, "user": name},
            "hascommit": may_write(Actor(name, groups=groups), project, branch),
        }
    )
