"""Mirrors of repositories on other servers."""

from aiohttp import web

from app.actor import Actor
from app.core.mirrors import PullMirror
from app.database import Row
from app.dialects.native import requests
from app.dialects.native.routes import NativeRoutes
from app.dialects.native.tasks import reply_with_task
from app.http.commands import execute

routes = NativeRoutes()


@routes.project("POST", "/mirror", "configure-project")
async def pull_mirror(request: web.Request, actor: Actor, project: Row) -> web.Response:
    await requests.require_no_input(request)
    outcome = await execute(request, actor, PullMirror(project_id=project["project_id"]), seen=project)
    return await reply_with_task(request, outcome.command_id)
