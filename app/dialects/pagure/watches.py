"""Endpoints for the watchers of a project."""

from aiohttp import web

from app.actor import Actor
from app.core.sharing import Watch
from app.database import Row
from app.dialects.pagure import forms
from app.dialects.pagure.errors import ApiError, invalid_request
from app.dialects.pagure.urls import PagureRoutes
from app.http.commands import execute
from app.http.keys import DATABASE
from app.http.responses import json_reply
from app.queries import users, watches

routes = PagureRoutes()


# Pagure's watch levels: whether the user watches issues and commits, and the message of the response.
WATCHES: dict[str, tuple[bool | None, bool | None, str]] = {
    "-1": (None, None, "Watch status reset"),
    "0": (False, False, "You are no longer watching this project"),
    "1": (True, False, "You are now watching issues and PRs on this project"),
    "2": (False, True, "You are now watching commits on this project"),
    "3": (True, True, "You are now watching issues, PRs, and commits on this project"),
}


@routes.project("GET", "/watchers", "read-project")
async def list_watchers(request: web.Request, _: Actor, project: Row) -> web.Response:
    """List the watchers. Those who have access watch issues unless they have chosen otherwise."""
    access = project["access"]
    levels = {
        name: ["issues"] for name in (project["owner"], *access["user"], *(f"@{name}" for name in access["group"]))
    }
    for row in await watches.list_watches(request.config_dict[DATABASE], project["project_id"]):
        levels[row["username"]] = [level for level in ("issues", "commits") if row[level]]
    watchers = {name: watched for name, watched in levels.items() if watched}
    return json_reply({"total_watchers": len(watchers), "watchers": watchers})


@routes.project("POST", "/watchers/update", "watch-project")
async def update_watch(request: web.Request, actor: Actor, project: Row) -> web.Response:
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
