"""Tasks: where long work stands, and a long poll to hear of its end."""

import re
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from app.core.access import require
from app.core.tasks import CancelTask, may_see_task
from app.database import Row
from app.dialects.native import read
from app.dialects.native.problems import identify, identify_with_row, invalid_request, require_user
from app.errors import NotFound
from app.http.commands import execute
from app.http.keys import DATABASE, SETTINGS
from app.http.responses import json_reply
from app.http.routes import Routes
from app.http.waiting import wait_until_moved, while_connected
from app.queries import projects, tasks
from app.queries.tasks import TaskFilter

routes = Routes()
MAX_WAIT = 55
STATUSES = ("queued", "running", *tasks.FINAL)


def render_task(row: Mapping[str, Any]) -> dict[str, Any]:
    error = {"type": "/problems/task-failed", "title": row["error"], "status": 500} if row["error"] else None
    done = row["status"] == "succeeded"
    return {
        "id": str(row["task_id"]),
        "kind": row["kind"],
        "status": row["status"],
        "stage": row["stage"],
        "percent": row["percent"],
        "message": row["error"],
        "error": error,
        "result": {"project": row["result"]} if done else None,
        "attempts": row["attempts"],
        "actor": row["actor"],
        "project": row["result"],
        "created_at": read.format_moment(row["created_at"]),
        "started_at": read.format_moment(row["started_at"]),
        "ended_at": read.format_moment(row["ended_at"]),
        "seq": row["seq"],
    }


@routes.add("GET", "/tasks", "read-task")
async def list_tasks(request: web.Request) -> web.Response:
    if "project" in request.query:
        actor, project = await identify_with_row(request, projects.BY_ADDRESS, read.project_address(request))
    else:
        actor, project = await identify(request), None
    values = read.read_query(request, "status", "project", "kind", "actor", "limit", "cursor")
    limit = read.read_integer(values, "limit", 50, 1, 100)
    if values.get("status") not in (None, *STATUSES):
        raise invalid_request(("?status", "This has to be one of " + ", ".join(STATUSES) + "."))
    project_id = None
    if "project" in values:
        if project is None:
            raise NotFound("project")
        require(actor, "read-project", project)
        project_id = project["project_id"]
    wanted = TaskFilter(
        status=values.get("status"), kind=values.get("kind"), actor=values.get("actor"), project_id=project_id
    )
    rows = await tasks.search(request.config_dict[DATABASE], actor, wanted, read.parse_dated_cursor(values), limit + 1)
    more = (
        read.format_dated_cursor(rows[limit - 1]["created_at"], rows[limit - 1]["task_id"])
        if len(rows) > limit
        else None
    )
    return json_reply(
        {"tasks": [render_task(row) for row in rows[:limit]], "next": more}, headers=read.link_header(request, more)
    )


@routes.add("POST", "/tasks/{id}/cancel", "read-task")
async def cancel(request: web.Request) -> web.Response:
    actor, task_id = await require_user(request), read.parse_uuid(request.match_info["id"])
    await read.require_no_input(request)
    await execute(request, actor, CancelTask(task_id=str(task_id)))
    task = await tasks.find(request.config_dict[DATABASE], task_id)
    if task is None:
        raise NotFound("task")
    here = f"{request.config_dict[SETTINGS].url}/v1/tasks/{task_id}"
    return json_reply(render_task(task), 202, headers={"Location": here, **_retry_after(task)})


@routes.add("GET", "/tasks/{id}", "read-task")
async def read_task(request: web.Request) -> web.Response:
    task_id = read.parse_uuid(request.match_info["id"])
    values, preferred = read.read_query(request, "wait", "after"), _read_preferred_wait(request)
    seconds = read.read_integer(values, "wait", 0, 0, MAX_WAIT)
    after = read.read_integer(values, "after", 0, 0, 2**62) if "after" in values else None

    async def look() -> Row:
        """The task, as long as they may see it: while they wait the token may be revoked, or the project closed."""
        actor, task = await identify(request), await tasks.find(request.config_dict[DATABASE], task_id)
        if task is None or not may_see_task(actor, task):
            raise NotFound("task")
        return task

    with while_connected(request):
        task = await wait_until_moved(request, task_id, look, seconds if preferred is None else preferred, after=after)
    applied = {} if preferred is None else {"Preference-Applied": f"wait={preferred}"}
    return json_reply(render_task(task), headers={**applied, **_retry_after(task)})


def _retry_after(task: Mapping[str, Any]) -> dict[str, str]:
    """Whoever is shown work that goes on may ask again, and when."""
    return {} if task["status"] in tasks.FINAL else {"Retry-After": "1"}


def _read_preferred_wait(request: web.Request) -> int | None:
    """`Prefer: wait=N` of RFC 7240."""
    found = re.search(r"(?:^|[,;\s])wait=([0-9]{1,5})(?:$|[,;\s])", request.headers.get("Prefer", ""))
    return min(int(found[1]), MAX_WAIT) if found else None
