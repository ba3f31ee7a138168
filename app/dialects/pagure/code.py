"""Pagure's endpoints about a repository: clone addresses, branches, tags."""

from typing import Any

from aiohttp import web

from app.database import Row
from app.dialects.pagure import auth, forms, render
from app.dialects.pagure.errors import Said
from app.dialects.pagure.urls import PagureRoutes, named_project
from app.queries import refs
from app.web import DATABASE, SETTINGS, reply

routes = PagureRoutes()


async def with_repository(request: web.Request) -> Row:
    """The project, once its repository is there."""
    _, project = await named_project(request, auth.lenient)
    if project["head"] is None:
        raise Said(404, "ENOPROJECT")
    return project


@routes.project("GET", "/git/urls", "read-project")
async def git_urls(request: web.Request) -> web.Response:
    actor, project = await named_project(request, auth.optional)
    settings = request.config_dict[SETTINGS]
    name = render.fullname(project)
    urls = {"git": f"{settings.url}/{name}.git"}
    if settings.ssh_url:
        base = settings.ssh_url.rstrip("/").replace("{username}", actor.username or "git")
        urls["ssh"] = f"{base}/{name}.git"
    return reply({"total_urls": len(urls), "urls": urls})


@routes.project("GET", "/git/branches", "read-code")
async def branches(request: web.Request) -> web.Response:
    project = await with_repository(request)
    found = await refs.under(request.config_dict[DATABASE], project["project_id"], "refs/heads/")
    commits = {row["name"]: row["commit"] for row in found}
    head = project["head"]
    if forms.Query(request).flag("with_commits"):
        default: Any = {head: commits[head]} if head in commits else {}
        return reply({"branches": commits, "default": default, "total_branches": len(commits)})
    default = head if head in commits else None
    return reply({"branches": list(commits), "default": default, "total_branches": len(commits)})


@routes.project("GET", "/git/tags", "read-code")
async def tags(request: web.Request) -> web.Response:
    project = await with_repository(request)
    found = await refs.under(request.config_dict[DATABASE], project["project_id"], "refs/tags/")
    commits = {row["name"]: row["commit"] for row in found}
    wanted = forms.Query(request).flag("with_commits")
    return reply({"tags": commits if wanted else list(commits), "total_tags": len(commits)})
