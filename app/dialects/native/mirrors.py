"""Mirrors of repositories elsewhere: brought up to date when somebody asks."""

from aiohttp import web

from app.core import paths
from app.core.access import require, require_acl
from app.core.mirrors import PullMirror
from app.dialects.native import read
from app.dialects.native.problems import require_user
from app.dialects.native.tasks import render_task
from app.errors import Disabled, NotFound
from app.http.commands import execute
from app.http.keys import DATABASE, SETTINGS
from app.http.responses import json_reply
from app.http.routes import Routes
from app.queries import projects, tasks

routes = Routes()


@routes.add("POST", "/projects/{path:.+}/mirror", "configure-project")
async def pull_mirror(request: web.Request) -> web.Response:
    actor = await require_user(request)
    db, path, settings = request.config_dict[DATABASE], request.match_info["path"], request.config_dict[SETTINGS]
    if not path.isprintable():
        raise NotFound("project")
    project = await projects.by_address(db, paths.address_from_path(path))
    require(actor, "configure-project", project)
    require_acl(actor, "modify_project", project["project_id"])
    await read.require_no_input(request)
    if not settings.mirroring:
        raise Disabled("mirroring")
    task_id = (await execute(request, actor, PullMirror(project_id=project["project_id"]), seen=project)).command_id
    task = await tasks.find(db, task_id)
    if task is None:
        raise NotFound("task")
    return json_reply(render_task(task), 202, headers={"Location": f"{settings.url}/v1/tasks/{task_id}"})
