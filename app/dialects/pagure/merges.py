"""Endpoints that merge and rebase pull requests, and show the statistics of their diffs."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from aiohttp import web

from app.actor import Actor
from app.core.merges import MergePullRequest, RebasePullRequest
from app.core.pull_requests import require_pull_requests
from app.dialects.pagure import forms
from app.dialects.pagure.errors import ApiError
from app.dialects.pagure.pull_requests import read_number
from app.dialects.pagure.tasks import reply_with_task
from app.dialects.pagure.urls import PagureRoutes
from app.dialects.pagure.words import describe_ending
from app.git import diff, store
from app.git.errors import GitError
from app.http.commands import execute
from app.http.keys import DATABASE, SETTINGS
from app.http.long_reads import read_long
from app.http.responses import json_reply
from app.http.tasks import Ending
from app.queries import pull_requests

routes = PagureRoutes()
Row = Mapping[str, Any]


@routes.project("POST", "/pull-request/{request:[0-9]+}/merge", "merge-pull-request", requires=require_pull_requests)
async def merge_pull_request(request: web.Request, actor: Actor, project: Row) -> web.Response:
    task, wait = await _start(request, actor, project, MergePullRequest)
    return await reply_with_task(
        request, task, wait=wait, done="Changes merged!", queued="Merging queued", failure=_render_conflict
    )


async def _start(
    request: web.Request, actor: Actor, project: Row, command: type[MergePullRequest | RebasePullRequest]
) -> tuple[UUID, bool]:
    """Execute the command; return its task and whether the client waits for it."""
    number = read_number(request)
    wait = (await forms.read_form(request)).wait()
    outcome = await execute(request, actor, command(project_id=project["project_id"], number=number), seen=project)
    return outcome.command_id, wait


def _render_conflict(ending: Ending) -> ApiError:
    return ApiError(409, "EPRCONFLICTS", errors=describe_ending(ending))


@routes.project("POST", "/pull-request/{request:[0-9]+}/rebase", "rebase-pull-request", requires=require_pull_requests)
async def rebase_pull_request(request: web.Request, actor: Actor, project: Row) -> web.Response:
    task, wait = await _start(request, actor, project, RebasePullRequest)
    return await reply_with_task(request, task, wait=wait, done="Pull-request rebased", queued="Rebasing queued")


@routes.project("GET", "/pull-request/{request:[0-9]+}/diffstats", "read-pull-requests", requires=require_pull_requests)
async def show_diff_statistics(request: web.Request, _: Actor, project: Row) -> web.Response:
    db, root = request.config_dict[DATABASE], request.config_dict[SETTINGS].repositories
    pull_request = await pull_requests.find(db, project["project_id"], read_number(request), thread=False)
    repo_path = store.repository_path(root, project["project_id"])
    alternate = store.repository_path(root, pull_request["repo_from"]) if pull_request["source"] else None

    def compute_changes() -> dict[str, diff.FileChange]:
        old = diff.find_base(repo_path, pull_request["commit_start"], alternate=alternate)
        return diff.statistics(repo_path, old, pull_request["commit_stop"], alternate=alternate)

    if pull_request["commit_stop"] is None:
        raise ApiError(400, "ENOPRSTATS")
    try:
        changes = await read_long(request, project, compute_changes)
    except GitError:
        raise ApiError(400, "ENOPRSTATS") from None
    return json_reply({path: vars(change) for path, change in changes.items()})
