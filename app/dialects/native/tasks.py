"""Tasks: where long work stands, and a long poll to hear of its end."""

import re
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from app.core.access import Actor, may
from app.dialects.native import read
from app.dialects.native.problems import identified
from app.errors import NotFound
from app.queries import tasks
from app.web import DATABASE, Routes, finished, reply, while_connected

routes = Routes()
LONGEST_WAIT = 55


def shown_task(row: Mapping[str, Any]) -> dict[str, Any]:
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
        "created_at": read.moment(row["created_at"]),
        "started_at": read.moment(row["started_at"]),
        "ended_at": read.moment(row["ended_at"]),
        "seq": row["seq"],
    }


def may_see(actor: Actor, task: Mapping[str, Any]) -> bool:
    bound_elsewhere = actor.token_project not in (None, task["project_id"])
    if not bound_elsewhere and (actor.admin or (actor.username and actor.username == task["actor"])):
        return True
    return task["private"] is not None and may(actor, "read-project", task)


@routes.add("GET", "/tasks/{id}", "read-task")
async def read_task(request: web.Request) -> web.Response:
    actor = await identified(request)
    values = read.query(request, "wait", "after")
    seconds, preferred = read.integer(values, "wait", 0, 0, LONGEST_WAIT), _preferred(request)
    after = read.integer(values, "after", 0, 0, 2**62) if "after" in values else None
    task_id = read.uuid(request.match_info["id"])
    task = await tasks.find(request.config_dict[DATABASE], task_id)
    if task is None or not may_see(actor, task):
        raise NotFound("task")
    wait = preferred if preferred is not None else seconds
    headers = {}
    if preferred is not None:
        headers["Preference-Applied"] = f"wait={preferred}"
    if wait and task["status"] not in tasks.FINAL:
        with while_connected(request):
            task = await finished(request, task_id, wait, after=after)
        # The token may have been revoked, or the project closed to them, while they waited.
        if not may_see(await identified(request), task):
            raise NotFound("task")
    if task["status"] not in tasks.FINAL:
        headers["Retry-After"] = "1"
    return reply(shown_task(task), headers=headers)


def _preferred(request: web.Request) -> int | None:
    """`Prefer: wait=N` of RFC 7240."""
    found = re.search(r"(?:^|[,;\s])wait=([0-9]{1,5})(?:$|[,;\s])", request.headers.get("Prefer", ""))
    return min(int(found[1]), LONGEST_WAIT) if found else None
