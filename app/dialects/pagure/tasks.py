"""The status of tasks, and responses that wait for one."""

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
async def view_status(request: web.Request) -> web.Response:
    """Show the status of a task. An unknown one is reported as pending, as Celery does behind Pagure."""
    try:
        task = await tasks.find(request.config_dict[DATABASE], UUID(request.match_info["task"]))
    except ValueError:
        task = None
    status = task["status"] if task else "queued"
    if status not in tasks.FINAL:
        return json_reply({"ready": False, "status": STATES[status]})
    return json_reply({"ready": True, "status": STATES[status], "successful": status == "succeeded"})


def render_failure(ending: Ending) -> ApiError:
    """Render a failed task as an error whose message is the reason."""
    return ApiError(400, "ENOCODE", message=describe_ending(ending) or CANCELLED)


async def reply_with_task(
    request: web.Request,
    task: UUID,
    *,
    wait: bool,
    done: str,
    queued: str,
    failure: Callable[[Ending], ApiError] = render_failure,
) -> web.Response:
    """Answer `done` once the task has succeeded, or its id and `queued` without waiting. Raises `failure(ending)`."""
    location = task_location(request, task)
    ending = await find_ending(request, task, wait=wait)
    if ending is None:
        return json_reply({"message": queued, "taskid": str(task)}, headers=location)
    if not ending.succeeded:
        raise failure(ending)
    return json_reply({"message": done}, headers=location)
