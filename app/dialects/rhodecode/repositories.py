"""Methods about repositories."""

from dataclasses import replace
from typing import Any

from app.database import Row
from app.dialects.jsonrpc import making, sharing
from app.dialects.jsonrpc import repositories as shared
from app.dialects.jsonrpc.dialect import Call
from app.dialects.jsonrpc.errors import FORBIDDEN, RpcError
from app.dialects.jsonrpc.making import NewRepository, ParentRefused
from app.dialects.jsonrpc.members import build_rows
from app.dialects.jsonrpc.methods import Reference
from app.dialects.jsonrpc.references import find_group, find_user
from app.dialects.rhodecode.methods import methods
from app.queries import users


@methods.add("get_repo", "read-project")
async def get_repo(call: Call, repoid: Row, cache: bool = True) -> dict[str, Any]:
    """Show a repository. Its newest commit is always up to date, whatever `cache` says."""
    admins = await users.list_admins(call.db)
    grants = [shared.default_grant(repoid), *shared.list_grants(repoid, "user")]
    rows = build_rows("repository", repoid["owner"], admins, grants, shared.list_grants(repoid, "group"))
    return {**await shared.show_one(call, repoid), "members": rows, "permissions": rows}


@methods.add("create_repo", "create-project")
async def create_repo(call: Call, new: NewRepository, enable_locking: bool = False) -> dict[str, Any]:
    path = "/".join(part for part in new.repo_name.split("/") if part)
    if not path:
        raise RpcError("Validation failed: {'repo_name': u'Required'}")
    new = replace(new, repo_name=path)
    try:
        made = await making.create_repository(call, new, supported=not enable_locking)
    except ParentRefused:
        missing = f"repository group `{new.parent}` does not exist"
        raise RpcError(FORBIDDEN if new.parent is None else missing) from None
    return {"msg": f"Created new repository `{made.row['path']}`", "success": True, "task": str(made.command_id)}


@methods.add("delete_repo", "delete-project")
async def delete_repo(call: Call, repoid: Row, forks: str = "") -> dict[str, Any]:
    refused = RpcError(f"failed to delete repository `{repoid['path']}`")
    return await making.delete_repository(call, repoid, forks, refused)


@methods.add("grant_user_permission", "manage-access")
async def grant_user_permission(call: Call, repoid: Row, userid: Reference, perm: str) -> dict[str, Any]:
    user = await find_user(call.db, userid)
    return await sharing.grant(call, repoid, "user", user["username"], perm)


@methods.add("revoke_user_permission", "manage-access")
async def revoke_user_permission(call: Call, repoid: Row, userid: Reference) -> dict[str, Any]:
    user = await find_user(call.db, userid)
    return await sharing.revoke(call, repoid, "user", user["username"])


@methods.add("grant_user_group_permission", "manage-access")
async def grant_user_group_permission(call: Call, repoid: Row, usergroupid: Reference, perm: str) -> dict[str, Any]:
    sharing.read_permission(perm)
    sharing.require_manager(call, repoid)
    group = await find_group(call.db, usergroupid)
    return await sharing.grant(call, repoid, "group", group["group_name"], perm)


@methods.add("revoke_user_group_permission", "manage-access")
async def revoke_user_group_permission(call: Call, repoid: Row, usergroupid: Reference) -> dict[str, Any]:
    sharing.require_manager(call, repoid)
    group = await find_group(call.db, usergroupid)
    return await sharing.revoke(call, repoid, "group", group["group_name"])
