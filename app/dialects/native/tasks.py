"""Tasks: where long work stands, and a long poll to hear of its end."""

from collections.abc import Mapping
from typing import Any

from aiohttp import web

from app.actor import Actor
from app.core.access import require
from app.core.tasks import CancelTask, may_see_task
from app.database import Row
from app.dialects.native import read
from app.dialects.native.problems import invalid_request
from app.dialects.native.routes import NativeRoutes, identify
from app.errors import NotFound, Subject
from app.http.commands import execute
from app.http.keys import DATABASE
from app.http.pagination import format_dated_cursor, next_link
from app.http.responses import format_moment, json_reply
from app.http.tasks import MAX_WAIT, read_preferred_wait, task_location
from app.http.waiting import wait_until_moved, while_connected
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


@routes.call("GET", "/tasks", "read-task", lookup=read.lookup_project)
async def list_tasks(request: web.Request, actor: Actor, project: Row | None) -> web.Response:
    values = read.read_query(request, "status", "project", "kind", "actor", "limit", "cursor")
    limit = read.read_integer(values, "limit", 50, 1, 100)
    if values.get("status") not in (None, *STATUSES):
        raise invalid_request(("?status", "This has to be one of " + ", ".join(STATUSES) + "."))
    project_id = None
    if "project" in values:
        if project is None:
            raise NotFound(Subject.PROJECT)
        require(actor, "read-project", project)
        project_id = project["project_id"]
    wanted = TaskFilter(
        status=values.get("status"), kind=values.get("kind"), actor=values.get("actor"), project_id=project_id
    )
    rows = await tasks.search(request.config_dict[DATABASE], actor, wanted, read.read_dated_cursor(values), limit + 1)
    more = format_dated_cursor(rows[limit - 1]["created_at"], rows[limit - 1]["task_id"]) if len(rows) > limit else None
    return json_reply(
        {"tasks": [render_task(row) for row in rows[:limit]], "next": more}, headers=next_link(request, more)
    )


@routes.call("POST", "/tasks/{id}/cancel", "cancel-task")
async def cancel(request: web.Request, actor: Actor) -> web.Response:
    task_id = read.parse_uuid(request.match_info["id"])
    await read.require_no_input(request)
    await execute(request, actor, CancelTask(task_id=str(task_id)))
    task = await tasks.find(request.config_dict[DATABASE], task_id)
    if task is None:
        raise NotFound(Subject.TASK)
    return json_reply(render_task(task), 202, headers={**task_location(request, task_id), **_retry_after(task)})


@routes.call("GET", "/tasks/{id}", "read-task")
async def read_task(request: web.Request, actor: Actor) -> web.Response:
    task_id = read.parse_uuid(request.match_info["id"])
    values, preferred = read.read_query(request, "wait", "after"), read_preferred_wait(request)
    seconds = read.read_integer(values, "wait", 0, 0, MAX_WAIT)
    after = read.read_integer(values, "after", 0, 0, 2**62) if "after" in values else None
    known: Actor | None = actor

    async def look() -> Row:
        """The task, as long as they may see it: while they wait, the token may be revoked or the project hidden."""
        nonlocal known
        current, known = known or await identify(request), None
        task = await tasks.find(request.config_dict[DATABASE], task_id)
        if task is None or not may_see_task(current, task):
            raise NotFound(Subject.TASK)
        return task

    with while_connected(request):
        task = await wait_until_moved(request, task_id, look, seconds if preferred is None else preferred, after=after)
    applied = {} if preferred is None else {"Preference-Applied": f"wait={preferred}"}
    return json_reply(render_task(task), headers={**applied, **_retry_after(task)})


def _retry_after(task: Mapping[str, Any]) -> dict[str, str]:
    """Whoever is shown work that goes on may ask again, and when."""
    return {} if task["status"] in tasks.FINAL else {"Retry-After": "1"}
