"""Methods about repositories."""

from typing import Any

from app.database import Row
from app.dialects.jsonrpc import making, sharing
from app.dialects.jsonrpc import repositories as shared
from app.dialects.jsonrpc.dialect import Call
from app.dialects.jsonrpc.errors import RpcError
from app.dialects.jsonrpc.making import NewRepository, ParentRefused
from app.dialects.jsonrpc.methods import Reference
from app.dialects.jsonrpc.references import find_group, find_repository, find_user
from app.dialects.kallithea.methods import methods
from app.git.refs import TAGS
from app.http.errors import Unavailable
from app.http.tasks import find_ending
from app.queries import refs


@methods.add("get_repo", "read-project")
async def get_repo(
    call: Call, repoid: Row, with_revision_names: bool = False, with_pullrequests: bool = False
) -> dict[str, Any]:
    """Show a repository. Typed clients send `with_pullrequests` always; if it is true, the call fails, since pull
    requests are not served yet.
    """
    if with_pullrequests:
        raise RpcError("pull requests cannot be shown yet; call without `with_pullrequests`")
    grants = [shared.default_grant(repoid), *shared.list_grants(repoid, "user")]
    members = [
        {"name": name, "type": kind, "permission": f"repository.{permission}"}
        for kind, given in (("user", grants), ("user_group", shared.list_grants(repoid, "group")))
        for name, permission in given
    ]
    shown = {**await shared.show_one(call, repoid), "members": members}
    return {**shown, **await _list_names(call, repoid)} if with_revision_names else shown


async def _list_names(call: Call, project: Row) -> dict[str, Any]:
    """List branches and tags with their commits. Git has no bookmarks."""
    branches = await refs.list_branches(call.db, project["project_id"])
    tags = await refs.list_under(call.db, project["project_id"], TAGS)
    return {"branches": branches, "tags": {each["name"]: each["commit"] for each in tags}, "bookmarks": {}}


@methods.add("create_repo", "create-project")
async def create_repo(call: Call, new: NewRepository) -> dict[str, Any]:
    """Create a repository, and wait until it is there: the answer names no task. Raises Unavailable if this process
    shuts down meanwhile.
    """
    try:
        outcome = await making.create_repository(call, new)
    except ParentRefused as refused:
        raise RpcError(_describe_parent(new.parent, exists=refused.exists)) from None
    ending = await find_ending(call.request, outcome.command_id, wait=True)
    if ending is None:
        raise Unavailable
    path = outcome.row["path"]
    made = await find_repository(call.db, path) if ending.succeeded else None
    if made is None:
        raise RpcError(f"failed to create repository `{new.repo_name}`")
    return {"msg": f"Created new repository `{path}`", "success": True, "repo": await shared.show_plain(call, made)}


def _describe_parent(parent: str | None, *, exists: bool) -> str:
    """Say why a repository cannot be created there."""
    if parent is None:
        return "no permission to create top level repo"
    return f"no permission to create repo in {parent}" if exists else f"repo group `{parent}` not found"


@methods.add("delete_repo", "delete-project")
async def delete_repo(call: Call, repoid: Row, forks: str = "") -> dict[str, Any]:
    refused = RpcError(f"Cannot delete `{repoid['path']}` it still contains attached forks")
    return await making.delete_repository(call, repoid, forks, refused)


@methods.add("grant_user_permission", "administer-access")
async def grant_user_permission(call: Call, repoid: Row, userid: Reference, perm: str) -> dict[str, Any]:
    user = await find_user(call.db, userid)
    return await sharing.grant(call, repoid, "user", user["username"], perm)


@methods.add("revoke_user_permission", "administer-access")
async def revoke_user_permission(call: Call, repoid: Row, userid: Reference) -> dict[str, Any]:
    user = await find_user(call.db, userid)
    return await sharing.revoke(call, repoid, "user", user["username"])


@methods.add("grant_user_group_permission", "manage-access")
async def grant_user_group_permission(call: Call, repoid: Row, usergroupid: Reference, perm: str) -> dict[str, Any]:
    sharing.read_permission(perm)
    group = await find_group(call.db, usergroupid)
    return await sharing.grant(call, repoid, "group", group["group_name"], perm)


@methods.add("revoke_user_group_permission", "manage-access")
async def revoke_user_group_permission(call: Call, repoid: Row, usergroupid: Reference) -> dict[str, Any]:
    group = await find_group(call.db, usergroupid)
    return await sharing.revoke(call, repoid, "group", group["group_name"])
