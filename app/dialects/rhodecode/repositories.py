"""Methods about repositories."""

from typing import Any

from app.database import Row
from app.dialects.jsonrpc import making, sharing
from app.dialects.jsonrpc import repositories as shared
from app.dialects.jsonrpc.dialect import Call
from app.dialects.jsonrpc.errors import FORBIDDEN, RpcError
from app.dialects.jsonrpc.making import ParentRefused, Wanted
from app.dialects.jsonrpc.members import build_rows
from app.dialects.jsonrpc.methods import Reference
from app.dialects.jsonrpc.references import find_group, find_user
from app.dialects.rhodecode.methods import methods
from app.queries import users


@methods.add("get_repos", "list-repositories")
async def get_repos(call: Call) -> list[dict[str, Any]]:
    return await shared.show_all(call)


@methods.add("get_repo", "read-project")
async def get_repo(call: Call, repoid: Row, cache: bool = True) -> dict[str, Any]:
    """The newest commit is always that of now, whatever `cache` says."""
    admins = await users.list_admins(call.db)
    grants = [shared.default_grant(repoid), *shared.list_grants(repoid, "user")]
    rows = build_rows("repository", repoid["owner"], admins, grants, shared.list_grants(repoid, "group"))
    return {**await shared.show_one(call, repoid), "members": rows, "permissions": rows}


@methods.add("create_repo", "create-project")
async def create_repo(
    call: Call,
    repo_name: str,
    repo_type: str = "git",
    owner: Reference = None,
    description: str = "",
    private: bool = False,
    clone_uri: str = "",
    landing_rev: str = "rev:tip",
    enable_statistics: bool = False,
    enable_locking: bool = False,
    enable_downloads: bool = False,
    copy_permissions: bool = False,
) -> dict[str, Any]:
    path = "/".join(part for part in repo_name.split("/") if part)
    if not path:
        raise RpcError("Validation failed: {'repo_name': u'Required'}")
    parent, name = making.split_path(path)
    unknown = clone_uri or enable_statistics or enable_locking or enable_downloads or copy_permissions
    wanted = Wanted(
        path=path,
        parent=parent,
        name=name,
        owner=owner,
        description=description,
        private=private,
        supported=repo_type == "git" and landing_rev in making.LANDING and not unknown,
    )
    try:
        task = await making.create_repository(call, wanted)
    except ParentRefused:
        raise RpcError(FORBIDDEN if parent is None else f"repository group `{parent}` does not exist") from None
    return {"msg": f"Created new repository `{path}`", "success": True, "task": str(task)}


@methods.add("delete_repo", "delete-project")
async def delete_repo(call: Call, repoid: Row, forks: str = "") -> dict[str, Any]:
    refused = RpcError(f"failed to delete repository `{repoid['path']}`")
    return await making.delete_repository(call, repoid, forks, refused)


@methods.add("invalidate_cache", "refresh-project")
async def invalidate_cache(call: Call, repoid: Row, delete_keys: bool = False) -> dict[str, Any]:
    """Nothing is cached that does not follow the refs by itself."""
    path = repoid["path"]
    return {"msg": f"Cache for repository `{call.args['repoid']}` was invalidated", "repository": path}


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
