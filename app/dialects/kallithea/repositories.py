"""Methods about repositories."""

from typing import Any

from app.database import Row
from app.dialects.jsonrpc import repositories as shared
from app.dialects.jsonrpc.dialect import Call
from app.dialects.kallithea.methods import methods
from app.git.refs import TAGS
from app.queries import refs


@methods.add("get_repos", "list-repositories")
async def get_repos(call: Call) -> list[dict[str, Any]]:
    return await shared.show_all(call)


@methods.add("get_repo", "read-project")
async def get_repo(call: Call, repoid: Row, with_revision_names: bool = False) -> dict[str, Any]:
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
