"""Methods about repositories."""

from typing import Any

from app.database import Row
from app.dialects.jsonrpc import repositories as shared
from app.dialects.jsonrpc.dialect import Call
from app.dialects.jsonrpc.members import build_rows
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
