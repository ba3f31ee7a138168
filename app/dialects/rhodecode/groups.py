"""Methods about user groups."""

from typing import Any

from app.dialects.jsonrpc import groups as shared
from app.dialects.jsonrpc.dialect import Call
from app.dialects.jsonrpc.errors import RpcError
from app.dialects.jsonrpc.members import build_rows
from app.dialects.jsonrpc.methods import Reference
from app.dialects.jsonrpc.references import find_group
from app.dialects.rhodecode.methods import methods
from app.queries import users


@methods.add("get_user_group", "read-group")
async def get_user_group(call: Call, usergroupid: Reference) -> dict[str, Any]:
    """Show a group with its members as `users`, and the permissions on it as `members`."""
    group = await find_group(call.db, usergroupid)
    explicit = [("default", "read"), *((each["username"], "admin") for each in group["accounts"])]
    admins = await users.list_admins(call.db)
    rows = build_rows("usergroup", group["creator"], admins, explicit, [])
    return {**shared.show(call, group), "members": rows, "permissions": rows}


@methods.add("create_user_group", "create-group")
async def create_user_group(
    call: Call, group_name: str, description: str = "", owner: Reference = None, active: bool = True
) -> dict[str, Any]:
    failed = RpcError(f"failed to create group `{group_name}`")
    made = await shared.create_group(call, group_name, description, owner, active=active, unknown_owner=failed)
    return {"msg": f"created new user group `{group_name}`", "user_group": shared.show(call, made)}
