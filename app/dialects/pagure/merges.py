"""Pagure's pull requests, where git has to be asked: opening, merging, rebasing, what they change."""

import asyncio
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from aiohttp import web

from app.actor import Actor
from app.core import paths
from app.core.access import require
from app.core.commands import Command
from app.core.mentions import linked_issues
from app.core.merges import MergePullRequest, RebasePullRequest
from app.core.pull_requests import OpenPullRequest, find_commit_span, find_heads, require_pull_requests
from app.dialects.pagure import auth, forms, render
from app.dialects.pagure.errors import ApiError
from app.dialects.pagure.pull_requests import read_number, require_writable
from app.dialects.pagure.urls import PagureRoutes, find_project
from app.git import diff, store
from app.git.errors import GitError, NoRepository, NotSignedOff
from app.http.commands import execute
from app.http.keys import DATABASE, SETTINGS
from app.http.responses import json_reply
from app.http.waiting import wait_for_task
from app.queries import projects, pull_requests
from app.queries.tasks import FINAL

routes = PagureRoutes()
Row = Mapping[str, Any]


@routes.project("POST", "/pull-request/new", "open-pull-request")
async def new_pull_request(request: web.Request) -> web.Response:
    actor, target = await find_project(request, auth.require_acls("pull_request_create"))
    form = await forms.read_form(request)
    source = await _find_source(request, actor, target, form)
    require_pull_requests(target)
    auth.require_bound(actor, source)
    for name in ("title", "branch_to", "branch_from"):
        form.required(name)
        form.check()
    branch, branch_from = (form.first("branch_to") or "").strip(), (form.first("branch_from") or "").strip()
    ours, theirs = await find_heads(request.config_dict[DATABASE], actor, target, source, branch, branch_from)
    try:
        span = await find_commit_span(request.config_dict[SETTINGS].repositories, target, source, ours, theirs)
    except NotSignedOff:
        raise ApiError(400, "ENOSIGNEDOFF") from None
    except NoRepository:
        raise ApiError(404, "ENOPROJECT") from None
    except GitError:
        raise ApiError(400, "EGITERROR") from None
    command = OpenPullRequest(
        project_id=target["project_id"],
        title=form.first("title") or "",
        branch=branch,
        branch_from=branch_from,
        repo_from=source["project_id"],
        initial_comment=form.optional("initial_comment"),
        about=linked_issues(form.first("initial_comment"), render.project_url(request, target)),
        allow_rebase=form.boolean("allow_rebase"),
        commit_start=span.start if span else None,
        commit_stop=span.stop if span else None,
    )
    opened = await execute(request, actor, command, seen=target)
    found = await pull_requests.find(request.config_dict[DATABASE], target["project_id"], opened.row["number"])
    # As it was opened: a worker may know already how it could be merged.
    return json_reply(render.pull_request(render.base_url(request), target, {**found, **opened.row}, actor))


async def _find_source(request: web.Request, actor: Actor, target: Row, form: forms.Form) -> Row:
    """The project that it comes from: the target itself unless the form names another."""
    name = form.optional("repo_from")
    if name is None:
        return target
    address = paths.build_address(name, form.optional("repo_from_namespace"), form.optional("repo_from_username"))
    source = await projects.by_address(request.config_dict[DATABASE], address)
    require(actor, "read-project", source)
    found: Row = source
    return found


@routes.project("POST", "/pull-request/{request:[0-9]+}/merge", "merge-pull-request")
async def merge(request: web.Request) -> web.Response:
    actor, project, key = await require_writable(request, "pull_request_merge")
    wait = (await forms.read_form(request)).wait()
    task = await _start_task(request, actor, project, MergePullRequest(project_id=project["project_id"], number=key))
    return await _reply_with_task(
        request, task, wait, "Changes merged!", "Merging queued", ApiError(409, "EPRCONFLICTS")
    )


@routes.project("POST", "/pull-request/{request:[0-9]+}/rebase", "merge-pull-request")
async def rebase(request: web.Request) -> web.Response:
    actor, project, key = await require_writable(request, "pull_request_rebase")
    wait = (await forms.read_form(request)).wait()
    task = await _start_task(request, actor, project, RebasePullRequest(project_id=project["project_id"], number=key))
    return await _reply_with_task(
        request, task, wait, "Pull-request rebased", "Rebasing queued", ApiError(400, "ENOCODE")
    )


async def _start_task(request: web.Request, actor: Actor, project: Row, command: Command) -> UUID:
    return (await execute(request, actor, command, seen=project)).command_id


async def _reply_with_task(
    request: web.Request, task: UUID, wait: bool, done: str, queued: str, failed: ApiError
) -> web.Response:
    """What came of it, or which task will tell."""
    location = {"Location": f"{request.config_dict[SETTINGS].url}/v1/tasks/{task}"}
    ended = await wait_for_task(request, task) if wait else None
    if ended is None or ended["status"] not in FINAL:
        return json_reply({"message": queued, "taskid": str(task)}, headers=location)
    if ended["status"] == "succeeded":
        return json_reply({"message": done}, headers=location)
    if failed.code == "ENOCODE":
        raise ApiError(failed.status, failed.code, message=ended["error"] or "The task was cancelled")
    raise ApiError(failed.status, failed.code, errors=ended["error"])


@routes.project("GET", "/pull-request/{request:[0-9]+}/diffstats", "read-pull-requests")
async def diffstats(request: web.Request) -> web.Response:
    _, project = await find_project(request, auth.ignore_bad_token)
    require_pull_requests(project)
    db, root = request.config_dict[DATABASE], request.config_dict[SETTINGS].repositories
    found = await pull_requests.find(db, project["project_id"], read_number(request), thread=False)
    repo_path = store.repository_path(root, project["project_id"])
    alternate = store.repository_path(root, found["repo_from"]) if found["source"] else None

    def changes() -> dict[str, diff.FileChange]:
        old = diff.find_base(repo_path, found["commit_start"], alternate=alternate)
        return diff.statistics(repo_path, old, found["commit_stop"], alternate=alternate)

    if found["commit_stop"] is None:
        raise ApiError(400, "ENOPRSTATS")
    try:
        shown = await asyncio.to_thread(changes)
    except GitError:
        raise ApiError(400, "ENOPRSTATS") from None
    return json_reply({path: vars(change) for path, change in shown.items()})
