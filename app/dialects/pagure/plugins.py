"""Endpoints for plugins, which Pagure also calls hooks."""

from collections.abc import Mapping
from typing import Any

from aiohttp import web

from app.actor import Actor
from app.core import plugins
from app.core.access import require
from app.core.plugins import FLAG, PLUGINS, SECRET, WRITTEN_BY_FORGE, InstallPlugin, RemovePlugin
from app.database import Row
from app.dialects.pagure import forms
from app.dialects.pagure.auth import BadTokenPolicy
from app.dialects.pagure.errors import ApiError
from app.dialects.pagure.urls import PagureRoutes
from app.http.commands import execute, was_carried_out
from app.http.keys import DATABASE, SETTINGS
from app.http.responses import json_reply
from app.queries import projects
from app.stores import project_secrets

routes = PagureRoutes()

# Pagure's names of the plugins, in the order in which it lists them, and our names.
NAMES = {
    "Block Un-Signed commits": plugins.BLOCK_UNSIGNED,
    "Block non fast-forward pushes": plugins.BLOCK_NON_FAST_FORWARD,
    "Fedmsg": "fedmsg",
    "IRC": "irc",
    "Mail": "mail",
    "Mirroring": "mirroring",
    "Pagure": "commit-references",
    "Pagure CI": plugins.CI,
    "Pagure requests": "pull-request-repository",
    "Pagure tickets": "ticket-repository",
    "Prevent creating new branches by git push": plugins.BLOCK_NEW_BRANCHES,
    "Read the Doc": "read-the-docs",
}
UNCHANGEABLE = "default"
MASK = "********"  # shown instead of a secret; a client that sends it back keeps the secret


def render_plugin(plugin: str, installed: Mapping[str, Any]) -> dict[str, Any]:
    """Render the fields of an installed plugin, with its secrets masked."""
    fields, secrets = installed["fields"], installed["secrets"]
    return {name: MASK if name in secrets else fields.get(name) for name in PLUGINS[plugin]}


@routes.call("GET", "/_plugins", "describe-instance")
async def list_plugins(request: web.Request) -> web.Response:
    disabled = request.config_dict[SETTINGS].pagure_disabled_plugins
    shown = [{name: list(PLUGINS[plugin])} for name, plugin in NAMES.items() if name not in disabled]
    return json_reply({"plugins": shown, "total_plugins": len(shown)})


@routes.project("GET", "/settings/plugins", "read-project", bad=BadTokenPolicy.REFUSED)
async def list_project_plugins(request: web.Request, _: Actor, project: Row) -> web.Response:
    installed = project["plugins"]
    shown = [{name: render_plugin(plugin, installed[plugin])} for name, plugin in NAMES.items() if plugin in installed]
    return json_reply({"plugins": shown, "total_plugins": len(shown)})


@routes.project("POST", "/settings/{plugin}/install", "configure-project")
async def install_plugin(request: web.Request, actor: Actor, project: Row) -> web.Response:
    name, plugin = _find_plugin(request)
    form = await forms.read_form(request)
    fields = {
        field: form.boolean(field) if kind is FLAG else form.optional(field)
        for field, kind in PLUGINS[plugin].items()
        if kind not in (SECRET, WRITTEN_BY_FORGE)
    }
    given = {field: value for field in plugins.secret_fields(plugin) if (value := form.optional(field))}
    # Secrets are not part of the command, so they are stored before it, once everything else has been checked.
    plugins.require_allowed(project, plugin, {**fields, **given})
    require(actor, "configure-project", project)
    stored = project["plugins"].get(plugin, {"secrets": []})["secrets"]
    changed = {field: value for field, value in given.items() if value != MASK}
    secrets = [field for field in given if field in changed or field in stored]
    command = InstallPlugin(project_id=project["project_id"], plugin=plugin, fields=fields, secrets=secrets)
    db, key = request.config_dict[DATABASE], project["project_id"]
    if not was_carried_out(request):
        await project_secrets.store(db, key, {plugins.secret_name(plugin, each): changed[each] for each in changed})
    await execute(request, actor, command, seen=project)
    await _delete_unused_secrets(request, key, plugin)
    shown = render_plugin(plugin, {"fields": fields, "secrets": secrets})
    return json_reply({"message": f"Hook '{name}' activated", "plugin": shown})


@routes.project("POST", "/settings/{plugin}/remove", "configure-project")
async def remove_plugin(request: web.Request, actor: Actor, project: Row) -> web.Response:
    name, plugin = _find_plugin(request)
    await execute(request, actor, RemovePlugin(project_id=project["project_id"], plugin=plugin), seen=project)
    await _delete_unused_secrets(request, project["project_id"], plugin)
    shown = render_plugin(plugin, project["plugins"].get(plugin, {"fields": {}, "secrets": []}))
    return json_reply({"message": f"Hook '{name}' deactivated", "plugin": shown})


async def _delete_unused_secrets(request: web.Request, project_id: int, plugin: str) -> None:
    """Delete the plugin's secrets that the project does not use now. A retried request may find it installed again."""
    db = request.config_dict[DATABASE]
    installed = await projects.find_plugin(db, project_id, plugin)
    used = installed["secrets"] if installed else []
    unused = [plugins.secret_name(plugin, field) for field in plugins.secret_fields(plugin) if field not in used]
    unused += [project_secrets.CI_TOKEN] if plugin == plugins.CI and installed is None else []
    await project_secrets.delete(db, project_id, unused)


def _find_plugin(request: web.Request) -> tuple[str, str]:
    """Return Pagure's name and our name of the plugin in the path. Raises ApiError if projects may not have it."""
    name = request.match_info["plugin"]
    if name == UNCHANGEABLE:
        raise ApiError(403, "EPLUGINCHANGENOTALLOWED")
    if name not in NAMES:
        raise ApiError(404, "ENOPLUGIN")
    if name in request.config_dict[SETTINGS].pagure_disabled_plugins:
        raise ApiError(404, "EPLUGINDISABLED")
    return name, NAMES[name]
