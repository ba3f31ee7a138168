"""Methods about files and commits."""

from typing import Any

from app.database import Row
from app.dialects.jsonrpc.dialect import Call
from app.dialects.jsonrpc.nodes import NodeQuery, list_nodes
from app.dialects.kallithea.methods import methods


@methods.add("get_repo_nodes", "read-code")
async def get_repo_nodes(
    call: Call, repoid: Row, revision: str, root_path: str, ret_type: str = "all"
) -> list[dict[str, Any]]:
    return await list_nodes(call, repoid, NodeQuery(revision, root_path, ret_type))
