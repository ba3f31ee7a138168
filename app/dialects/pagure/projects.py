"""Pagure's project endpoints."""

import re
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial
from typing import Any
from uuid import UUID

from aiohttp import web

from app.core import addresses, paths, project_secrets
from app.core.projects import CreateProject, ForkProject
from app.dialects.pagure import auth, forms, render
from app.dialects.pagure.errors import Said, invalid
from app.dialects.pagure.urls import PagureRoutes, named_project
from app.errors import NotFound
from app.fragments import Fragments
from app.queries import groups, projects
from app.queries.projects import ProjectFilter
from app.queries.tasks import FINAL
from app.web import DATABASE, SETTINGS, execute, finished, reply

routes = PagureRoutes()

FRAGMENTS = web.AppKey("fragments", Fragments)

EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+\Z")
LONGEST_EMAIL = 254
NAMESPACE_REFUSED = (
    "The namespace of your project must be in the list of allowed namespaces set by the admins of this pagure "
    "instance, or the name of a group of which you are a member."
)


@routes.add("POST", "/new", "create-project")
@routes.add("POST", "/new/", "create-project")
async def new_project(request: web.Request) -> web.Response:
    actor = await auth.caller(request, auth.required("create_project"))
    settings = request.config_dict[SETTINGS]
    if not settings.new_projects:
        raise Said(404, "ENEWPROJECTDISABLED")
    form = await forms.form(request)
    name = form.required("name")
    if name and not paths.well_formed(name):
        form.complain("name", forms.INVALID)
    description = form.required("description")
    url, namespace = form.url("url"), form.optional("namespace")
    private = form.boolean("private")
    avatar = form.optional("avatar_email")
    # The length comes first: the expression takes time that grows with its square.
    if avatar and (len(avatar) > LONGEST_EMAIL or not EMAIL.match(avatar)):
        form.complain("avatar_email", "avatar_email must be an email")
    own = (actor.username,) if private or settings.user_namespaces else ()
    allowed = {*settings.pagure_namespaces, *actor.groups, *own}
    if namespace and namespace not in allowed:
        form.complain("namespace", forms.NOT_A_CHOICE)
    mirrored, login = _repository_elsewhere(form)
    form.check()
    if mirrored and not settings.mirroring:
        raise Said(400, "EMIRRORINGDISABLED")
    if private and not settings.private_projects:
        raise Said(400, "ENOCODE", message=NAMESPACE_REFUSED)
    if private or (settings.user_namespaces and not namespace):
        namespace = actor.username
    branch = form.optional("default_branch") or settings.default_branch
    if not paths.branch_name(branch):
        raise invalid({"default_branch": [forms.INVALID]})
    command = CreateProject(
        name=name,
        description=description,
        namespace=namespace,
        url=url,
        avatar_email=avatar,
        private=private,
        create_readme=form.boolean("create_readme") and not mirrored,
        default_branch=branch,
        mirrored_from=mirrored,
    )
    async with AsyncExitStack() as kept:
        if login:
            secret = project_secrets.reserved(request.config_dict[DATABASE], project_secrets.MIRROR_LOGIN, login)
            command = replace(command, project_id=await kept.enter_async_context(secret))
        task = (await execute(request, actor, command)).command_id
    return await _answered(request, task, "Project creation queued", wait=form.wait())


def _repository_elsewhere(form: forms.Form) -> tuple[str | None, str | None]:
    """Where a mirror gets its repository, and what it logs in with there."""
    value = form.optional("mirrored_from")
    if value is None:
        return None, None
    if (found := addresses.repository(value)) is None:
        form.complain("mirrored_from", forms.INVALID)
        return None, None
    return found


async def _answered(request: web.Request, task: UUID, message: str, *, wait: bool, queued: str = "") -> web.Response:
    """The task's id at once, or the message once the work is done."""

    location = {"Location": f"{request.config_dict[SETTINGS].url}/v1/tasks/{task}"}
    if not wait:
        return reply({"message": queued or message, "taskid": str(task)}, headers=location)
    ended = await finished(request, task)
    if ended["status"] not in FINAL:  # this process is about to end; the task goes on
        return reply({"message": queued or message, "taskid": str(task)}, headers=location)
    if ended["status"] != "succeeded":
        raise Said(400, "ENOCODE", message=ended["error"] or "The task was cancelled")
    return reply({"message": message}, headers=location)


@routes.add("POST", "/fork", "fork-project")
@routes.add("POST", "/fork/", "fork-project")
async def fork(request: web.Request) -> web.Response:
    actor = await auth.caller(request, auth.required("fork_project"))
    form = await forms.form(request)
    repo = form.required("repo")
    form.check()
    namespace, forker = form.optional("namespace"), form.optional("username")
    if any("/" in part for part in (repo, namespace or "", forker or "")):
        raise NotFound("project")
    address = paths.address(repo.strip(), namespace, forker)
    parent = await projects.by_address(request.config_dict[DATABASE], address)
    task = (await execute(request, actor, ForkProject(parent_id=parent["project_id"]))).command_id
    name = render.fullname(parent)
    cloned = f'Repo "{name}" cloned to "{actor.username}/{name}"'
    return await _answered(request, task, cloned, wait=form.wait(), queued="Project forking queued")


@routes.project("GET", "", "read-project")
async def view_project(request: web.Request) -> web.Response:
    actor, project = await named_project(request, auth.lenient)
    shown = render.project(render.base(request), project, actor)
    if forms.Query(request).flag("expand_group"):
        names = sorted(project["access"]["group"])
        shown["group_details"] = await groups.members(request.config_dict[DATABASE], names)
    return reply(shown)


@routes.add("GET", "/projects", "list-projects")
async def list_projects(request: web.Request) -> web.Response:
    query = forms.Query(request)
    page = query.page()
    wanted = ProjectFilter(
        topics=query.all("tags"),
        pattern=query.text("pattern"),
        username=query.text("username"),
        owner=query.text("owner"),
        namespace=query.text("namespace"),
        fork=query.flag("fork"),
    )
    if wanted.username and wanted.owner:
        raise invalid()
    short = bool(query.flag("short"))
    db = request.config_dict[DATABASE]
    if short:
        found = await projects.search(db, wanted, page, projects.SHORT)
        shown: list[Any] = [render.short_project(row) for row in found.rows]
    else:
        found = await projects.search(db, wanted, page)
        base = render.base(request)
        shown = await request.app[FRAGMENTS].of(
            found.rows, partial(projects.by_ids, db), lambda row: render.project(base, row)
        )
    return reply(
        {
            "args": {
                "fork": wanted.fork,
                "namespace": wanted.namespace,
                "owner": wanted.owner,
                "page": page.number,
                "pattern": wanted.pattern,
                "per_page": page.size,
                "short": short,
                "tags": wanted.topics,
                "username": wanted.username,
            },
            "pagination": render.pagination(request, found),
            "projects": shown,
            "total_projects": found.total,
        }
    )
