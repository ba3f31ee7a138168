"""Pagure's pull requests, where git has to be asked: opening, merging, rebasing, what they change."""

import asyncio
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from aiohttp import web

from app.core import paths
from app.core.access import Actor, require
from app.core.commands import Command
from app.core.mentions import linked
from app.core.merges import MergePullRequest, OpenPullRequest, RebasePullRequest, brought, heads
from app.core.pull_requests import require_pull_requests
from app.dialects.pagure import auth, forms, render
from app.dialects.pagure.errors import Said
from app.dialects.pagure.pull_requests import numbered, writable
from app.dialects.pagure.urls import PagureRoutes, named_project
from app.git import diff, store
from app.git.errors import GitError, NoRepository, NotSignedOff
from app.queries import projects, pull_requests
from app.queries.tasks import FINAL
from app.web import DATABASE, SETTINGS, execute, finished, reply

routes = PagureRoutes()
Row = Mapping[str, Any]


@routes.project("POST", "/pull-request/new", "open-pull-request")
async def new_pull_request(request: web.Request) -> web.Response:
    actor, target = await named_project(request, auth.required("pull_request_create"))
    form = await forms.form(request)
    source = await _source(request, actor, target, form)
    require_pull_requests(target)
    auth.bound(actor, source)
    for name in ("title", "branch_to", "branch_from"):
        form.required(name)
        form.check()
    branch, branch_from = (form.first("branch_to") or "").strip(), (form.first("branch_from") or "").strip()
    ours, theirs = await heads(request.config_dict[DATABASE], actor, target, source, branch, branch_from)
    try:
        span = await brought(request.config_dict[SETTINGS].repositories, target, source, ours, theirs)
    except NotSignedOff:
        raise Said(400, "ENOSIGNEDOFF") from None
    except NoRepository:
        raise Said(404, "ENOPROJECT") from None
    except GitError:
        raise Said(400, "EGITERROR") from None
    wish = OpenPullRequest(
        project_id=target["project_id"],
        title=form.first("title") or "",
        branch=branch,
        branch_from=branch_from,
        repo_from=source["project_id"],
        initial_comment=form.optional("initial_comment"),
        about=linked(form.first("initial_comment"), render.home(request, target)),
        allow_rebase=form.boolean("allow_rebase"),
        commit_start=span.start if span else None,
        commit_stop=span.stop if span else None,
    )
    opened = await execute(request, actor, wish, seen=target)
    found = await pull_requests.find(request.config_dict[DATABASE], target["project_id"], opened.row["number"])
    # As it was opened: a worker may know already how it could be merged.
    return reply(render.pull_request(render.base(request), target, {**found, **opened.row}, actor))


async def _source(request: web.Request, actor: Actor, target: Row, form: forms.Form) -> Row:
    """The project that it comes from: the target itself unless the form names another."""
    name = form.optional("repo_from")
    if name is None:
        return target
    address = paths.address(name, form.optional("repo_from_namespace"), form.optional("repo_from_username"))
    source = await projects.by_address(request.config_dict[DATABASE], address)
    require(actor, "read-project", source)
    found: Row = source
    return found


@routes.project("POST", "/pull-request/{request:[0-9]+}/merge", "merge-pull-request")
async def merge(request: web.Request) -> web.Response:
    actor, project, key = await writable(request, "pull_request_merge")
    wait = (await forms.form(request)).wait()
    task = await _asked(request, actor, project, MergePullRequest(project_id=project["project_id"], number=key))
    return await _told(request, task, wait, "Changes merged!", "Merging queued", Said(409, "EPRCONFLICTS"))


@routes.project("POST", "/pull-request/{request:[0-9]+}/rebase", "merge-pull-request")
async def rebase(request: web.Request) -> web.Response:
    actor, project, key = await writable(request, "pull_request_rebase")
    wait = (await forms.form(request)).wait()
    task = await _asked(request, actor, project, RebasePullRequest(project_id=project["project_id"], number=key))
    return await _told(request, task, wait, "Pull-request rebased", "Rebasing queued", Said(400, "ENOCODE"))


async def _asked(request: web.Request, actor: Actor, project: Row, wish: Command) -> UUID:
    return (await execute(request, actor, wish, seen=project)).command_id


async def _told(request: web.Request, task: UUID, wait: bool, done: str, queued: str, failed: Said) -> web.Response:
    """What came of it, or which task will tell."""
    location = {"Location": f"{request.config_dict[SETTINGS].url}/v1/tasks/{task}"}
    ended = await finished(request, task) if wait else None
    if ended is None or ended["status"] not in FINAL:
        return reply({"message": queued, "taskid": str(task)}, headers=location)
    if ended["status"] == "succeeded":
        return reply({"message": done}, headers=location)
    if failed.code == "ENOCODE":
        raise Said(failed.status, failed.code, message=ended["error"] or "The task was cancelled")
    raise Said(failed.status, failed.code, errors=ended["error"])


@routes.project("GET", "/pull-request/{request:[0-9]+}/diffstats", "read-pull-requests")
async def diffstats(request: web.Request) -> web.Response:
    _, project = await named_project(request, auth.lenient)
    require_pull_requests(project)
    db, root = request.config_dict[DATABASE], request.config_dict[SETTINGS].repositories
    found = await pull_requests.find(db, project["project_id"], numbered(request), thread=False)
    place = store.directory(root, project["project_id"])
    borrow = store.directory(root, found["repo_from"]) if found["source"] else None

    def changes() -> dict[str, diff.Change]:
        old = diff.base(place, found["commit_start"], borrow=borrow)
        return diff.statistics(place, old, found["commit_stop"], borrow=borrow)

    if found["commit_stop"] is None:
        raise Said(400, "ENOPRSTATS")
    try:
        shown = await asyncio.to_thread(changes)
    except GitError:
        raise Said(400, "ENOPRSTATS") from None
    return reply({path: vars(change) for path, change in shown.items()})
