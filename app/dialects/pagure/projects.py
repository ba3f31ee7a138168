"""Endpoints that create, fork, show and list projects."""

import re
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial
from typing import Any

from aiohttp import web

from app.actor import Actor
from app.core import paths, urls
from app.core.instance_policy import InstancePolicy
from app.core.projects import CreateProject, ForkProject
from app.database import Row
from app.dialects.pagure import forms, render
from app.dialects.pagure.errors import invalid_request
from app.dialects.pagure.tasks import reply_with_task
from app.dialects.pagure.urls import PagureRoutes
from app.errors import NotFound, Subject
from app.http.commands import execute, was_carried_out
from app.http.keys import DATABASE, SETTINGS
from app.http.render_cache import RenderCache
from app.http.responses import json_reply
from app.queries import groups, projects
from app.queries.projects import ProjectFilter
from app.stores import project_secrets

routes = PagureRoutes()

RENDER_CACHE = web.AppKey("render_cache", RenderCache)

EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+\Z")
MAX_EMAIL_LENGTH = 254


@routes.call("POST", "/new", "create-project")
@routes.call("POST", "/new/", "create-project")
async def new_project(request: web.Request, actor: Actor) -> web.Response:
    settings = request.config_dict[SETTINGS]
    policy = InstancePolicy.from_settings(settings)
    policy.require_new_projects()
    form = await forms.read_form(request)
    name = form.required("name")
    if name and not paths.is_valid_name(name):
        form.complain("name", forms.INVALID)
    description = form.required("description")
    url, namespace = form.url("url"), form.optional("namespace")
    private = form.boolean("private")
    avatar = form.optional("avatar_email")
    # The length is checked first: matching takes quadratic time.
    if avatar and (len(avatar) > MAX_EMAIL_LENGTH or not EMAIL.match(avatar)):
        form.complain("avatar_email", "avatar_email must be an email")
    if not policy.allows_namespace(actor, namespace, private=private):
        form.complain("namespace", forms.NOT_A_CHOICE)
    mirrored_from, login = _read_mirrored_from(form)
    form.check()
    policy.require_project(actor, namespace, private=private, mirrored=mirrored_from is not None)
    namespace = policy.choose_namespace(actor, namespace, private=private)
    branch = form.optional("default_branch") or settings.default_branch
    if not paths.is_valid_branch_name(branch):
        raise invalid_request({"default_branch": [forms.INVALID]})
    command = CreateProject(
        name=name,
        description=description,
        namespace=namespace,
        url=url,
        avatar_email=avatar,
        private=private,
        create_readme=form.boolean("create_readme") and not mirrored_from,
        default_branch=branch,
        mirrored_from=mirrored_from,
    )
    async with AsyncExitStack() as stack:
        if login and not was_carried_out(request):
            secret = project_secrets.reserve_with_secret(
                request.config_dict[DATABASE], project_secrets.MIRROR_LOGIN, login
            )
            command = replace(command, project_id=await stack.enter_async_context(secret))
        task = (await execute(request, actor, command)).command_id
    message = "Project creation queued"
    return await reply_with_task(request, task, wait=form.wait(), done=message, queued=message)


def _read_mirrored_from(form: forms.Form) -> tuple[str | None, str | None]:
    """Read the URL that a mirror pulls from, and the login for it."""
    value = form.optional("mirrored_from")
    if value is None:
        return None, None
    if (parsed := urls.parse_repository_url(value)) is None:
        form.complain("mirrored_from", forms.INVALID)
        return None, None
    return parsed


@routes.call("POST", "/fork", "fork-project")
@routes.call("POST", "/fork/", "fork-project")
async def fork_project(request: web.Request, actor: Actor) -> web.Response:
    form = await forms.read_form(request)
    repo = form.required("repo")
    form.check()
    namespace, forker = form.optional("namespace"), form.optional("username")
    if any("/" in part for part in (repo, namespace or "", forker or "")):
        raise NotFound(Subject.PROJECT)
    address = paths.build_address(repo.strip(), namespace, forker)
    parent = await projects.by_address(request.config_dict[DATABASE], address)
    task = (await execute(request, actor, ForkProject(parent_id=parent["project_id"]))).command_id
    name = render.fullname(parent)
    cloned = f'Repo "{name}" cloned to "{actor.username}/{name}"'
    return await reply_with_task(request, task, wait=form.wait(), done=cloned, queued="Project forking queued")


@routes.project("GET", "", "read-project")
async def view_project(request: web.Request, actor: Actor, project: Row) -> web.Response:
    shown = render.project(render.base_url(request), project, actor)
    if forms.Query(request).flag("expand_group"):
        names = sorted(project["access"]["group"])
        shown["group_details"] = await groups.list_members(request.config_dict[DATABASE], names)
    return json_reply(shown)


@routes.call("GET", "/projects", "list-projects")
async def list_projects(request: web.Request) -> web.Response:
    query = forms.Query(request)
    page = query.page()
    project_filter = ProjectFilter(
        topics=query.all("tags"),
        pattern=query.text("pattern"),
        username=query.text("username"),
        owner=query.text("owner"),
        namespace=query.text("namespace"),
        fork=query.flag("fork"),
    )
    if project_filter.username and project_filter.owner:
        raise invalid_request()
    short = bool(query.flag("short"))
    db = request.config_dict[DATABASE]
    if short:
        found = await projects.search(db, project_filter, page, projects.SHORT)
        shown: list[Any] = [render.short_project(row) for row in found.rows]
    else:
        found = await projects.search(db, project_filter, page)
        base = render.base_url(request)
        shown = await request.app[RENDER_CACHE].get_many(
            found.rows, partial(projects.list_by_ids, db), lambda row: render.project(base, row)
        )
    return json_reply(
        {
            "args": {
                "fork": project_filter.fork,
                "namespace": project_filter.namespace,
                "owner": project_filter.owner,
                "page": page.number,
                "pattern": project_filter.pattern,
                "per_page": page.size,
                "short": short,
                "tags": project_filter.topics,
                "username": project_filter.username,
            },
            "pagination": render.pagination(request, found),
            "projects": shown,
            "total_projects": found.total,
        }
    )
