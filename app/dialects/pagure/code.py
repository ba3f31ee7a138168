"""Pagure's endpoints about a repository: clone addresses, branches, tags."""

from collections.abc import Mapping
from typing import Any

from aiohttp import web

from app.database import Row
from app.dialects.pagure import auth, forms, render
from app.dialects.pagure.errors import ApiError
from app.dialects.pagure.urls import PagureRoutes, find_project
from app.http.keys import DATABASE, SETTINGS
from app.http.responses import json_reply
from app.queries import refs

routes = PagureRoutes()


async def require_repository(request: web.Request) -> Row:
    """The project, once its repository is there."""
    _, project = await find_project(request, auth.ignore_bad_token)
    if project["head"] is None:
        raise ApiError(404, "ENOPROJECT")
    return project


@routes.project("GET", "/git/urls", "read-project")
async def git_urls(request: web.Request) -> web.Response:
    actor, project = await find_project(request, auth.allow_anonymous)
    settings = request.config_dict[SETTINGS]
    name = render.fullname(project)
    urls = {"git": f"{settings.url}/{name}.git"}
    if settings.ssh_url:
        base = settings.ssh_url.rstrip("/").replace("{username}", actor.username or "git")
        urls["ssh"] = f"{base}/{name}.git"
    return json_reply({"total_urls": len(urls), "urls": urls})


@routes.project("GET", "/git/branches", "read-code")
async def branches(request: web.Request) -> web.Response:
    project = await require_repository(request)
    return json_reply(await render_branches(request, project, forms.Query(request).flag("with_commits") or False))


async def render_branches(request: web.Request, project: Mapping[str, Any], with_commits: bool) -> dict[str, Any]:
    commits, head = await refs.list_branches(request.config_dict[DATABASE], project["project_id"]), project["head"]
    default: Any
    if with_commits:
        default = {head: commits[head]} if head in commits else {}
        return {"branches": commits, "default": default, "total_branches": len(commits)}
    default = head if head in commits else None
    return {"branches": list(commits), "default": default, "total_branches": len(commits)}


@routes.project("GET", "/git/tags", "read-code")
async def tags(request: web.Request) -> web.Response:
    project = await require_repository(request)
    return json_reply(await render_tags(request, project, forms.Query(request).flag("with_commits") or False))


async def render_tags(request: web.Request, project: Mapping[str, Any], with_commits: bool) -> dict[str, Any]:
    found = await refs.list_under(request.config_dict[DATABASE], project["project_id"], "refs/tags/")
    commits = {row["name"]: row["commit"] for row in found}
    return {"tags": commits if with_commits else list(commits), "total_tags": len(commits)}
