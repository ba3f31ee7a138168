"""What Pagure says of itself: version, error codes, who I am, where a task stands."""

from uuid import UUID

from aiohttp import web

from app.dialects.pagure import auth
from app.dialects.pagure.errors import MESSAGES, bad_token
from app.dialects.pagure.urls import PagureRoutes
from app.http.keys import DATABASE, SETTINGS
from app.http.responses import json_reply
from app.queries import tasks

routes = PagureRoutes()

STATES = {
    "queued": "PENDING",
    "running": "RUNNING",
    "succeeded": "SUCCESS",
    "failed": "FAILURE",
    "cancelled": "FAILURE",
}


@routes.add("GET", "/-/version", "describe-instance")
@routes.add("GET", "/version", "describe-instance")
@routes.add("GET", "/version/", "describe-instance")
async def version(request: web.Request) -> web.Response:
    return json_reply({"version": "1"})


@routes.add("GET", "/-/error_codes", "describe-instance")
@routes.add("GET", "/error_codes", "describe-instance")
@routes.add("GET", "/error_codes/", "describe-instance")
async def error_codes(request: web.Request) -> web.Response:
    url = request.config_dict[SETTINGS].url
    return json_reply({code: message.replace("{url}", url) for code, message in MESSAGES.items()})


@routes.add("POST", "/-/whoami", "identify")
async def whoami(request: web.Request) -> web.Response:
    actor = await auth.identify_caller(request, auth.allow_anonymous)
    if actor.anonymous:
        raise bad_token()
    return json_reply({"username": actor.username})


@routes.add("GET", "/task/{task}/status", "read-task")
@routes.add("GET", "/task/{task}/status/", "read-task")
async def task_status(request: web.Request) -> web.Response:
    """An unknown task is one that has not begun, as far as this call can tell."""
    try:
        task = await tasks.find(request.config_dict[DATABASE], UUID(request.match_info["task"]))
    except ValueError:
        task = None
    status = task["status"] if task else "queued"
    if status not in tasks.FINAL:
        return json_reply({"ready": False, "status": STATES[status]})
    return json_reply({"ready": True, "status": STATES[status], "successful": status == "succeeded"})
