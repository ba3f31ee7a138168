"""Pagure's words for the tasks that commands start."""

from collections.abc import Callable
from uuid import UUID

from aiohttp import web

from app.dialects.pagure.errors import ApiError
from app.dialects.pagure.urls import PagureRoutes
from app.dialects.pagure.words import describe_ending
from app.http.keys import DATABASE
from app.http.responses import json_reply
from app.http.tasks import Ending, find_ending, task_location
from app.queries import tasks

routes = PagureRoutes()

CANCELLED = "The task was cancelled"
STATES = {
    "queued": "PENDING",
    "running": "RUNNING",
    "succeeded": "SUCCESS",
    "failed": "FAILURE",
    "cancelled": "FAILURE",
}


@routes.call("GET", "/task/{task}/status", "read-task-status")
@routes.call("GET", "/task/{task}/status/", "read-task-status")
async def task_status(request: web.Request) -> web.Response:
    """An unknown task is reported as one that has not begun, as Celery does behind Pagure."""
    try:
        task = await tasks.find(request.config_dict[DATABASE], UUID(request.match_info["task"]))
    except ValueError:
        task = None
    status = task["status"] if task else "queued"
    if status not in tasks.FINAL:
        return json_reply({"ready": False, "status": STATES[status]})
    return json_reply({"ready": True, "status": STATES[status], "successful": status == "succeeded"})


def message_failure(ending: Ending) -> ApiError:
    """The reason of a failure as the message."""
    return ApiError(400, "ENOCODE", message=describe_ending(ending) or CANCELLED)


async def reply_with_task(
    request: web.Request,
    task: UUID,
    *,
    wait: bool,
    done: str,
    queued: str,
    failure: Callable[[Ending], ApiError] = message_failure,
) -> web.Response:
    """`done` once the task has succeeded, or its id with `queued`. Raises what `failure` makes of a failed one."""
    location = task_location(request, task)
    ending = await find_ending(request, task, wait=wait)
    if ending is None:
        return json_reply({"message": queued, "taskid": str(task)}, headers=location)
    if not ending.succeeded:
        raise failure(ending)
    return json_reply({"message": done}, headers=location)
