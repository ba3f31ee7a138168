"""Pagure's endpoints about who holds what on a project, who hears of it and who is kept out."""

from typing import Any

from aiohttp import web

from app.actor import Actor
from app.core.access import may_write, require_appointed_admin
from app.core.projects import BlockUsers
from app.core.sharing import GrantAccess, RevokeAccess, Watch
from app.dialects.pagure import auth, forms, render
from app.dialects.pagure.errors import ApiError, invalid_request
from app.dialects.pagure.urls import PagureRoutes, find_project
from app.http.commands import execute
from app.http.keys import DATABASE
from app.http.responses import json_reply
from app.queries import users, watches

routes = PagureRoutes()

# What may be granted here: who may write to some branches only is not for this endpoint to say.
LEVELS = ("admin", "commit", "ticket")

# Pagure's numbers for what somebody wants to hear of: (issues, commits), and what is said about it.
WATCHES: dict[str, tuple[bool | None, bool | None, str]] = {
    "-1": (None, None, "Watch status reset"),
    "0": (False, False, "You are no longer watching this project"),
    "1": (True, False, "You are now watching issues and PRs on this project"),
    "2": (False, True, "You are now watching commits on this project"),
    "3": (True, True, "You are now watching issues, PRs, and commits on this project"),
}


@routes.project("POST", "/git/modifyacls", "manage-access")
async def modify_acls(request: web.Request) -> web.Response:
    actor, project = await find_project(request, auth.require_acls("modify_project"))
    auth.require_bound(actor, project)
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


@routes.project("POST", "/blockuser", "manage-access")
async def block_users(request: web.Request) -> web.Response:
    """The names sent are the whole list; none empties it."""
    actor, project = await find_project(request, auth.require_acls("modify_project"))
    auth.require_project_token(actor, project)
    require_appointed_admin(actor, project)
    names = (await forms.read_form(request)).all("username")
    await execute(request, actor, BlockUsers(project_id=project["project_id"], usernames=names), seen=project)
    return json_reply({"message": "User(s) blocked"})


@routes.project("GET", "/watchers", "read-project")
async def watchers(request: web.Request) -> web.Response:
    """Whoever has access hears of issues, unless they have said what they want to hear of."""
    _, project = await find_project(request, auth.ignore_bad_token)
    access = project["access"]
    found = {
        name: ["issues"] for name in (project["owner"], *access["user"], *(f"@{name}" for name in access["group"]))
    }
    for row in await watches.list_watches(request.config_dict[DATABASE], project["project_id"]):
        found[row["username"]] = [level for level in ("issues", "commits") if row[level]]
    watching = {name: levels for name, levels in found.items() if levels}
    return json_reply({"total_watchers": len(watching), "watchers": watching})


@routes.project("POST", "/watchers/update", "watch-project")
async def update_watchers(request: web.Request) -> web.Response:
    actor, project = await find_project(request, auth.require_acls("modify_project", "update_watch_status"))
    auth.require_bound(actor, project)
    form = await forms.read_data(request)
    watcher, status = form.optional("watcher"), form.first("status")
    if watcher is None:
        raise invalid_request()
    if watcher != actor.username:
        if not actor.admin:
            raise ApiError(401, "EMODIFYPROJECTNOTALLOWED")
        if await users.find(request.config_dict[DATABASE], watcher) is None:
            raise invalid_request()
    if status is None or status.strip() not in WATCHES:
        raise ApiError(400, "ENOCODE", message=f'The watch value of "{status}" is invalid')
    issues, commits, message = WATCHES[status.strip()]
    command = Watch(project_id=project["project_id"], username=watcher, issues=issues, commits=commits)
    outcome = await execute(request, actor, command, seen=project)
    if issues is None and not outcome.recorded:
        message = "Watch status is already reset"
    return json_reply({"message": message, "status": "ok"})


@routes.project("GET", "/contributors", "read-project")
async def contributors(request: web.Request) -> web.Response:
    _, project = await find_project(request, auth.ignore_bad_token)
    found = {party: _group_contributors(project["access"][party]) for party in ("user", "group")}
    found["user"]["admin"] = sorted({project["owner"], *found["user"]["admin"]})
    return json_reply({"groups": found["group"], "users": found["user"]})


def _group_contributors(grants: dict[str, Any]) -> dict[str, list[Any]]:
    """Also of groups, whose names stand under `user` among the collaborators."""
    held: dict[str, list[Any]] = dict(render.group_by_level(grants))
    limited = held.pop("collaborator")
    return {**held, "collaborators": [{"branches": grants[name]["branches"], "user": name} for name in limited]}


@routes.project("GET", "/hascommit", "read-project")
async def has_commit(request: web.Request) -> web.Response:
    """What somebody may write to by virtue of the project, not what an administrator of the forge may."""
    actor, project = await find_project(request, auth.ignore_bad_token)
    query = forms.Query(request)
    name, branch = query.text("user"), query.text("branch")
    if name is None or branch is None:
        raise invalid_request()
    held = frozenset(await users.list_groups(request.config_dict[DATABASE], name))
    shown = render.project(render.base_url(request), project, actor)
    return json_reply(
        {
            "args": {"branch": branch, "project": shown, "user": name},
            "hascommit": may_write(Actor(name, groups=held), project, branch),
        }
    )
