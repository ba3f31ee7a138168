"""Groups and their members."""

from collections.abc import Mapping
from typing import Any

from aiohttp import web

from app.core.access import require_acl
from app.core.groups import AddMember, CreateGroup, RemoveMember
from app.dialects.native import read
from app.dialects.native.problems import somebody
from app.errors import Forbidden, NotFound
from app.queries import groups
from app.web import DATABASE, SETTINGS, Routes, execute, reply

routes = Routes()


def shown_group(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "name": row["group_name"],
        "display_name": row["display_name"],
        "description": row["description"],
        "type": row["group_type"],
        "creator": row["creator"],
        "members": row["members"],
        "created_at": read.moment(row["created_at"]),
    }


@routes.add("POST", "/groups", "create-group")
async def create_group(request: web.Request) -> web.Response:
    actor = await somebody(request)
    require_acl(actor, "group_modify")
    if not (request.config_dict[SETTINGS].new_groups or actor.admin):
        raise Forbidden("create-group")
    fields = {"name": str, "display_name": str, "description": str, "type": str}
    wish = await read.body(request, fields, ("name",))
    name = wish["name"]
    command = CreateGroup(
        group_name=name,
        display_name=wish.get("display_name") or name,
        description=wish.get("description"),
        group_type=wish.get("type", "user"),
    )
    await execute(request, actor, command)
    made = await groups.find(request.config_dict[DATABASE], name)
    if made is None:
        raise NotFound("group")
    return reply(shown_group(made), 201)


@routes.add("PUT", "/groups/{name}/members/{username}", "manage-members")
async def add_member(request: web.Request) -> web.Response:
    return await _changed(request, AddMember)


@routes.add("DELETE", "/groups/{name}/members/{username}", "manage-members")
async def remove_member(request: web.Request) -> web.Response:
    return await _changed(request, RemoveMember)


async def _changed(request: web.Request, command: type[AddMember | RemoveMember]) -> web.Response:
    actor = await somebody(request)
    require_acl(actor, "group_modify")
    read.query(request)
    name, username = request.match_info["name"], request.match_info["username"]
    if not (name.isprintable() and username.isprintable()):
        raise NotFound("group")
    await execute(request, actor, command(group_name=name, username=username))
    return web.Response(status=204)
