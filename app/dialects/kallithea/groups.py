"""Methods about user groups."""

from typing import Any

from app.dialects.jsonrpc import groups as shared
from app.dialects.jsonrpc.dialect import Call
from app.dialects.jsonrpc.methods import Reference
from app.dialects.jsonrpc.references import find_group
from app.dialects.kallithea.methods import methods
from app.queries import groups


def show(call: Call, row: Any) -> dict[str, Any]:
    shown = shared.show(call, row)
    return {**shown, "members": shown["users"]}


@methods.add("get_user_group", "read-group")
async def get_user_group(call: Call, usergroupid: Reference) -> dict[str, Any]:
    return show(call, await find_group(call.db, usergroupid))


@methods.add("get_user_groups", "read-group")
async def get_user_groups(call: Call) -> list[dict[str, Any]]:
    return [show(call, row) for row in await groups.list_with_accounts(call.db)]


@methods.add("create_user_group", "create-group")
async def create_user_group(
    call: Call, group_name: str, description: str = "", owner: Reference = None, active: bool = True
) -> dict[str, Any]:
    """The group stands under the key of the server and under that of its manual."""
    made = await shared.create_group(call, group_name, description, owner, active=active, unknown_owner=None)
    shown = show(call, made)
    return {"msg": f"created new user group `{group_name}`", "user_group": shown, "users_group": shown}


@methods.add("add_user_user_group", "manage-members")  # so it is misprinted in the manual
@methods.add("add_user_to_user_group", "manage-members")
async def add_user_to_user_group(call: Call, usergroupid: Reference, userid: Reference) -> dict[str, Any]:
    return await shared.add_member(call, usergroupid, userid)


@methods.add("remove_user_from_user_group", "manage-members")
async def remove_user_from_user_group(call: Call, usergroupid: Reference, userid: Reference) -> dict[str, Any]:
    return await shared.remove_member(call, usergroupid, userid)
