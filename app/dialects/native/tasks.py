"""Tasks: listing, long polling and cancelling."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from aiohttp import web

from app.actor import Actor
from app.core.access import require
from app.core.tasks import CancelTask, may_see_task
from app.database import Row
from app.dialects.native import listings, requests
from app.dialects.native.routes import NativeRoutes, identify
from app.errors import NotFound, Subject
from app.http.commands import execute
from app.http.keys import DATABASE
from app.http.pagination import format_dated_cursor
from app.http.responses import format_moment, json_reply
from app.http.tasks import MAX_WAIT, read_preferred_wait, task_location
from app.http.waiting import wait_for_change, while_connected
from app.http.wording import describe_failure
from app.queries import tasks
from app.queries.tasks import TaskFilter

routes = NativeRoutes()
STATUSES = ("queued", "running", *tasks.FINAL)


def render_task(row: Mapping[str, Any]) -> dict[str, Any]:
    message = describe_failure(row["error"], row["error_params"]) if row["error"] else None
    error = {"type": "/problems/task-failed", "title": message, "status": 500} if message else None
    done = row["status"] == "succeeded"
    return {
        "id": str(row["task_id"]),
        "kind": row["kind"],
        "status": row["status"],
        "stage": row["stage"],
        "percent": row["percent"],
        "message": message,
        "error": error,
        "result": {"project": row["result"]} if done else None,
        "attempts": row["attempts"],
        "actor": row["actor"],
        "project": row["result"],
        "created_at": format_moment(row["created_at"]),
        "started_at": format_moment(row["started_at"]),
        "ended_at": format_moment(row["ended_at"]),
        "seq": row["seq"],
    }


@routes.call("GET", "/tasks", "read-task", lookup=requests.lookup_project)
async def list_tasks(request: web.Request, actor: Actor, project: Row | None) -> web.Response:
    values = requests.read_query(request, "status", "project", "kind", "actor", "limit", "cursor")
    limit, status = listings.read_limit(values), requests.read_choice(values, "status", STATUSES)
    project_id = None
    if "project" in values:
        if project is None:
            raise NotFound(Subject.PROJECT)
        require(actor, "read-project", project)
        project_id = project["project_id"]
    task_filter = TaskFilter(status=status, kind=values.get("kind"), actor=values.get("actor"), project_id=project_id)
    before = listings.read_dated_cursor(values)
    rows = await tasks.search(request.config_dict[DATABASE], actor, task_filter, before, limit + 1)
    return listings.reply_with_page(
        request, "tasks", rows, limit, render_task, lambda row: format_dated_cursor(row["created_at"], row["task_id"])
    )


@routes.call("POST", "/tasks/{id}/cancel", "cancel-task")
async def cancel_task(request: web.Request, actor: Actor) -> web.Response:
    task_id = requests.parse_uuid(request.match_info["id"])
    await requests.require_no_input(request)
    await execute(request, actor, CancelTask(task_id=str(task_id)))
    return await reply_with_task(request, task_id)


async def reply_with_task(request: web.Request, task_id: UUID) -> web.Response:
    """Answer 202 with a task and its location."""
    task = await tasks.find(request.config_dict[DATABASE], task_id)
    if task is None:
        raise NotFound(Subject.TASK)
    return json_reply(render_task(task), 202, headers={**task_location(request, task_id), **_retry_after(task)})


@routes.call("GET", "/tasks/{id}", "read-task")
async def view_task(request: web.Request, actor: Actor) -> web.Response:
    task_id = requests.parse_uuid(request.match_info["id"])
    values, preferred = requests.read_query(request, "wait", "after"), read_preferred_wait(request)
    seconds = requests.read_integer(values, "wait", 0, 0, MAX_WAIT)
    after = requests.read_integer(values, "after", 0, 0, requests.MAX_SEQ) if "after" in values else None
    identified: Actor | None = actor

    async def find_visible_task() -> Row:
        """Find the task and check access each time: during the wait, the token may be revoked or the project hidden."""
        nonlocal identified
        current, identified = identified or await identify(request), None
        task = await tasks.find(request.config_dict[DATABASE], task_id)
        if task is None or not may_see_task(current, task):
            raise NotFound(Subject.TASK)
        return task

    with while_connected(request):
        seconds = seconds if preferred is None else preferred
        task = await wait_for_change(request, task_id, find_visible_task, seconds, after=after)
    applied = {} if preferred is None else {"Preference-Applied": f"wait={preferred}"}
    return json_reply(render_task(task), headers={**applied, **_retry_after(task)})


def _retry_after(task: Mapping[str, Any]) -> dict[str, str]:
    """Tell clients of a task that has not ended when to ask again."""
    return {} if task["status"] in tasks.FINAL else {"Retry-After": "1"}
