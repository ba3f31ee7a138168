"""Endpoints for the instance: version, error codes and the caller's name."""

from aiohttp import web

from app.actor import Actor
from app.dialects.pagure.auth import BadTokenPolicy
from app.dialects.pagure.errors import MESSAGES, bad_token
from app.dialects.pagure.urls import PagureRoutes
from app.http.keys import SETTINGS
from app.http.responses import json_reply

routes = PagureRoutes()


@routes.call("GET", "/-/version", "describe-instance")
@routes.call("GET", "/version", "describe-instance")
@routes.call("GET", "/version/", "describe-instance")
async def show_version(request: web.Request) -> web.Response:
    return json_reply({"version": "1"})


@routes.call("GET", "/-/error_codes", "describe-instance")
@routes.call("GET", "/error_codes", "describe-instance")
@routes.call("GET", "/error_codes/", "describe-instance")
async def list_error_codes(request: web.Request) -> web.Response:
    url = request.config_dict[SETTINGS].url
    return json_reply({code: message.replace("{url}", url) for code, message in MESSAGES.items()})


@routes.call("POST", "/-/whoami", "identify", bad=BadTokenPolicy.REFUSED)
async def show_caller(request: web.Request, actor: Actor) -> web.Response:
    if actor.anonymous:
        raise bad_token()
    return json_reply({"username": actor.username})
