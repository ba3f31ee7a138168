"""Methods about user groups."""

from typing import Any

from app.dialects.jsonrpc import groups as shared
from app.dialects.jsonrpc.both import both
from app.dialects.jsonrpc.dialect import Call
from app.dialects.jsonrpc.methods import Reference
from app.dialects.jsonrpc.references import find_group
from app.dialects.kallithea.methods import methods


@methods.add("get_user_group", "read-group")
async def get_user_group(call: Call, usergroupid: Reference) -> dict[str, Any]:
    return shared.show_with_members(call, await find_group(call.db, usergroupid))


@methods.add("create_user_group", "create-group")
async def create_user_group(
    call: Call, group_name: str, description: str = "", owner: Reference = None, active: bool = True
) -> dict[str, Any]:
    """Create a group, and return it under the key that servers send and under that of the manual."""
    made = await shared.create_group(call, group_name, description, owner, active=active, unknown_owner=None)
    shown = shared.show_with_members(call, made)
    return {"msg": f"created new user group `{group_name}`", "user_group": shown, "users_group": shown}


# The manual misprints `add_user_to_user_group`.
methods.add("add_user_user_group", "manage-members")(both["add_user_to_user_group"].function)
