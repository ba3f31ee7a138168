"""Groups and their members."""

from collections.abc import Mapping
from typing import Any

from aiohttp import web

from app.actor import Actor
from app.core.groups import AddMember, CreateGroup, RemoveMember
from app.dialects.native import requests
from app.dialects.native.routes import NativeRoutes
from app.errors import NotFound, Subject
from app.http.commands import execute
from app.http.keys import DATABASE
from app.http.responses import format_moment, json_reply
from app.queries import groups

routes = NativeRoutes()


def render_group(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "name": row["group_name"],
        "display_name": row["display_name"],
        "description": row["description"],
        "type": row["group_type"],
        "creator": row["creator"],
        "members": row["members"],
        "created_at": format_moment(row["created_at"]),
    }


@routes.call("POST", "/groups", "create-group")
async def create_group(request: web.Request, actor: Actor) -> web.Response:
    fields = {"name": str, "display_name": str, "description": str, "type": str}
    given = await requests.read_body(request, fields, ("name",))
    name = given["name"]
    command = CreateGroup(
        group_name=name,
        display_name=given.get("display_name") or name,
        description=given.get("description"),
        group_type=given.get("type", "user"),
    )
    await execute(request, actor, command)
    group = await groups.find(request.config_dict[DATABASE], name)
    if group is None:
        raise NotFound(Subject.GROUP)
    return json_reply(render_group(group), 201)


@routes.call("PUT", "/groups/{name}/members/{username}", "manage-members")
async def add_member(request: web.Request, actor: Actor) -> web.Response:
    return await _change_membership(request, actor, AddMember)


@routes.call("DELETE", "/groups/{name}/members/{username}", "manage-members")
async def remove_member(request: web.Request, actor: Actor) -> web.Response:
    return await _change_membership(request, actor, RemoveMember)


async def _change_membership(
    request: web.Request, actor: Actor, command: type[AddMember | RemoveMember]
) -> web.Response:
    requests.read_query(request)
    name, username = request.match_info["name"], request.match_info["username"]
    if not (name.isprintable() and username.isprintable()):
        raise NotFound(Subject.GROUP)
    await execute(request, actor, command(group_name=name, username=username))
    return web.Response(status=204)
