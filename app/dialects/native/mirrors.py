"""Mirrors of repositories elsewhere: brought up to date when somebody asks."""

from aiohttp import web

from app.actor import Actor
from app.core.mirrors import PullMirror
from app.database import Row
from app.dialects.native import read
from app.dialects.native.routes import NativeRoutes
from app.dialects.native.tasks import render_task
from app.errors import NotFound, Subject
from app.http.commands import execute
from app.http.keys import DATABASE
from app.http.responses import json_reply
from app.http.tasks import task_location
from app.queries import tasks

routes = NativeRoutes()


@routes.project("POST", "/mirror", "configure-project")
async def pull_mirror(request: web.Request, actor: Actor, project: Row) -> web.Response:
    db = request.config_dict[DATABASE]
    await read.require_no_input(request)
    task_id = (await execute(request, actor, PullMirror(project_id=project["project_id"]), seen=project)).command_id
    task = await tasks.find(db, task_id)
    if task is None:
        raise NotFound(Subject.TASK)
    return json_reply(render_task(task), 202, headers=task_location(request, task_id))
