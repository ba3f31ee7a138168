"""Groups and their members."""

from collections.abc import Mapping
from typing import Any

from aiohttp import web

from app.core.access import require_acl
from app.core.groups import AddMember, CreateGroup, RemoveMember
from app.dialects.native import read
from app.dialects.native.problems import require_user
from app.errors import Forbidden, NotFound
from app.http.commands import execute
from app.http.keys import DATABASE, SETTINGS
from app.http.responses import json_reply
from app.http.routes import Routes
from app.queries import groups

routes = Routes()


def render_group(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "name": row["group_name"],
        "display_name": row["display_name"],
        "description": row["description"],
        "type": row["group_type"],
        "creator": row["creator"],
        "members": row["members"],
        "created_at": read.format_moment(row["created_at"]),
    }


@routes.add("POST", "/groups", "create-group")
async def create_group(request: web.Request) -> web.Response:
    actor = await require_user(request)
    require_acl(actor, "group_modify")
    if not (request.config_dict[SETTINGS].new_groups or actor.admin):
        raise Forbidden("create-group")
    fields = {"name": str, "display_name": str, "description": str, "type": str}
    given = await read.read_body(request, fields, ("name",))
    name = given["name"]
    command = CreateGroup(
        group_name=name,
        display_name=given.get("display_name") or name,
        description=given.get("description"),
        group_type=given.get("type", "user"),
    )
    await execute(request, actor, command)
    made = await groups.find(request.config_dict[DATABASE], name)
    if made is None:
        raise NotFound("group")
    return json_reply(render_group(made), 201)


@routes.add("PUT", "/groups/{name}/members/{username}", "manage-members")
async def add_member(request: web.Request) -> web.Response:
    return await _change_membership(request, AddMember)


@routes.add("DELETE", "/groups/{name}/members/{username}", "manage-members")
async def remove_member(request: web.Request) -> web.Response:
    return await _change_membership(request, RemoveMember)


async def _change_membership(request: web.Request, command: type[AddMember | RemoveMember]) -> web.Response:
    actor = await require_user(request)
    require_acl(actor, "group_modify")
    read.read_query(request)
    name, username = request.match_info["name"], request.match_info["username"]
    if not (name.isprintable() and username.isprintable()):
        raise NotFound("group")
    await execute(request, actor, command(group_name=name, username=username))
    return web.Response(status=204)
