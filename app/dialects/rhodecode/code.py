"""Methods about files and commits."""

from typing import Any

from app.database import Row
from app.dialects.jsonrpc.dialect import Call
from app.dialects.jsonrpc.errors import RpcError
from app.dialects.jsonrpc.nodes import NodeQuery, list_nodes
from app.dialects.rhodecode.methods import methods


@methods.add("get_repo_nodes", "read-code")
async def get_repo_nodes(
    call: Call,
    repoid: Row,
    revision: Any,
    root_path: str,
    ret_type: str = "all",
    details: str = "basic",
    max_file_bytes: int | None = None,
) -> list[dict[str, Any]]:
    if not isinstance(revision, str):
        raise RpcError("commit_id must be a string value")
    return await list_nodes(call, repoid, NodeQuery(revision, root_path, ret_type, details, max_file_bytes))
