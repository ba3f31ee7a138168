"""Pagure's endpoints about plugins, which it also calls hooks."""

from collections.abc import Mapping
from typing import Any

from aiohttp import web

from app.core import plugins, project_secrets
from app.core.access import require
from app.core.plugins import FLAG, PLUGINS, SECRET, TOLD, InstallPlugin, RemovePlugin
from app.dialects.pagure import auth, forms
from app.dialects.pagure.errors import Said
from app.dialects.pagure.urls import PagureRoutes, named_project
from app.web import DATABASE, SETTINGS, execute, reply

routes = PagureRoutes()

# Pagure's names for the plugins, in the order in which it lists them, and ours.
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
MASK = "********"  # stands for a secret that is there; whoever sends it back keeps the secret


def shown(plugin: str, found: Mapping[str, Any]) -> dict[str, Any]:
    """Every field of an installed plugin, secrets masked."""
    fields, secrets = found["fields"], found["secrets"]
    return {name: MASK if name in secrets else fields.get(name) for name in PLUGINS[plugin]}


@routes.add("GET", "/_plugins", "describe-instance")
async def list_plugins(request: web.Request) -> web.Response:
    disabled = request.config_dict[SETTINGS].pagure_disabled_plugins
    listed = [{name: list(PLUGINS[ours])} for name, ours in NAMES.items() if name not in disabled]
    return reply({"plugins": listed, "total_plugins": len(listed)})


@routes.project("GET", "/settings/plugins", "read-project")
async def list_project_plugins(request: web.Request) -> web.Response:
    _, project = await named_project(request, auth.optional)
    has = project["plugins"]
    listed = [{name: shown(ours, has[ours])} for name, ours in NAMES.items() if ours in has]
    return reply({"plugins": listed, "total_plugins": len(listed)})


@routes.project("POST", "/settings/{plugin}/install", "configure-project")
async def install(request: web.Request) -> web.Response:
    actor, project = await named_project(request, auth.required("modify_project"))
    auth.bound(actor, project)
    name, plugin = _named(request)
    form = await forms.form(request)
    fields = {
        field: form.boolean(field) if kind is FLAG else form.optional(field)
        for field, kind in PLUGINS[plugin].items()
        if kind not in (SECRET, TOLD)
    }
    given = {field: value for field in plugins.secrets(plugin) if (value := form.optional(field))}
    # A secret stands in no command, so it is kept beforehand, if everything else is as it has to be.
    plugins.require_allowed(project, plugin, {**fields, **given})
    require(actor, "configure-project", project)
    had = project["plugins"].get(plugin, {"secrets": []})["secrets"]
    fresh = {field: value for field, value in given.items() if value != MASK}
    secrets = [field for field in given if field in fresh or field in had]
    wish = InstallPlugin(project_id=project["project_id"], plugin=plugin, fields=fields, secrets=secrets)
    db, key = request.config_dict[DATABASE], project["project_id"]
    await project_secrets.keep(db, key, {plugins.secret_name(plugin, each): fresh[each] for each in fresh})
    await execute(request, actor, wish, seen=project)
    gone = [plugins.secret_name(plugin, each) for each in plugins.secrets(plugin) if each not in secrets]
    await project_secrets.forget(db, key, gone)
    answer = shown(plugin, {"fields": fields, "secrets": secrets})
    return reply({"message": f"Hook '{name}' activated", "plugin": answer})


@routes.project("POST", "/settings/{plugin}/remove", "configure-project")
async def remove(request: web.Request) -> web.Response:
    actor, project = await named_project(request, auth.required("modify_project"))
    auth.bound(actor, project)
    name, plugin = _named(request)
    await execute(request, actor, RemovePlugin(project_id=project["project_id"], plugin=plugin), seen=project)
    had = [plugins.secret_name(plugin, field) for field in plugins.secrets(plugin)]
    await project_secrets.forget(request.config_dict[DATABASE], project["project_id"], had)
    answer = shown(plugin, project["plugins"].get(plugin, {"fields": {}, "secrets": []}))
    return reply({"message": f"Hook '{name}' deactivated", "plugin": answer})


def _named(request: web.Request) -> tuple[str, str]:
    """The plugin in the path, in Pagure's words and in ours, if the instance lets projects have it."""
    name = request.match_info["plugin"]
    if name == UNCHANGEABLE:
        raise Said(403, "EPLUGINCHANGENOTALLOWED")
    if name not in NAMES:
        raise Said(404, "ENOPLUGIN")
    if name in request.config_dict[SETTINGS].pagure_disabled_plugins:
        raise Said(404, "EPLUGINDISABLED")
    return name, NAMES[name]
