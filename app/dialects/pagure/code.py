"""Endpoints for a repository: clone URLs, branches and tags."""

from collections.abc import Mapping
from typing import Any

from aiohttp import web

from app.actor import Actor
from app.database import Row
from app.dialects.pagure import forms, render
from app.dialects.pagure.auth import BadTokenPolicy
from app.dialects.pagure.errors import ApiError
from app.dialects.pagure.urls import PagureRoutes
from app.http.keys import DATABASE, SETTINGS
from app.http.responses import json_reply
from app.queries import refs

routes = PagureRoutes()


def require_repository(project: Row) -> None:
    """Raise ApiError while the repository is being created."""
    if project["head"] is None:
        raise ApiError(404, "ENOPROJECT")


@routes.project("GET", "/git/urls", "read-project", bad=BadTokenPolicy.REFUSED)
async def list_clone_urls(request: web.Request, actor: Actor, project: Row) -> web.Response:
    settings = request.config_dict[SETTINGS]
    name = render.fullname(project)
    urls = {"git": f"{settings.url}/{name}.git"}
    if settings.ssh_url:
        base = settings.ssh_url.rstrip("/").replace("{username}", actor.username or "git")
        urls["ssh"] = f"{base}/{name}.git"
    return json_reply({"total_urls": len(urls), "urls": urls})


@routes.project("GET", "/git/branches", "read-code", requires=require_repository)
async def list_branches(request: web.Request, _: Actor, project: Row) -> web.Response:
    return json_reply(await render_branches(request, project, forms.Query(request).flag("with_commits") or False))


async def render_branches(request: web.Request, project: Mapping[str, Any], with_commits: bool) -> dict[str, Any]:
    commits, head = await refs.list_branches(request.config_dict[DATABASE], project["project_id"]), project["head"]
    default: Any
    if with_commits:
        default = {head: commits[head]} if head in commits else {}
        return {"branches": commits, "default": default, "total_branches": len(commits)}
    default = head if head in commits else None
    return {"branches": list(commits), "default": default, "total_branches": len(commits)}


@routes.project("GET", "/git/tags", "read-code", requires=require_repository)
async def list_tags(request: web.Request, _: Actor, project: Row) -> web.Response:
    return json_reply(await render_tags(request, project, forms.Query(request).flag("with_commits") or False))


async def render_tags(request: web.Request, project: Mapping[str, Any], with_commits: bool) -> dict[str, Any]:
    found = await refs.list_under(request.config_dict[DATABASE], project["project_id"], "refs/tags/")
    commits = {row["name"]: row["commit"] for row in found}
    return {"tags": commits if with_commits else list(commits), "total_tags": len(commits)}
