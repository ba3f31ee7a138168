"""The files and folders of a repository at a revision."""

import hashlib
import mimetypes
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.dialects.jsonrpc.answers import Allowance
from app.dialects.jsonrpc.commits import repository_path
from app.dialects.jsonrpc.dialect import Call
from app.dialects.jsonrpc.errors import RpcError
from app.git import history, tree
from app.git.errors import GitError
from app.git.tree import Entry
from app.http.long_reads import read_long

KINDS = ("all", "dirs", "files")
DETAILS = ("basic", "full")
NO_DETAILS = {"md5": None, "binary": None, "size": None, "extension": None}


@dataclass(frozen=True)
class NodeQuery:
    """A listing of everything below a path at a revision, or of its folders or files only. Without `details` a node has
    a name and a type. Contents of more than `max_file_bytes` are left out.
    """

    revision: str
    root_path: str
    ret_type: str
    details: str | None = None
    max_file_bytes: int | None = None


async def list_nodes(call: Call, project: Any, query: NodeQuery) -> list[dict[str, Any]]:
    """List nodes, folders first. Raises RpcError."""
    if query.ret_type not in KINDS:
        raise RpcError(f"ret_type must be one of {','.join(KINDS)}")
    if query.details not in (None, *DETAILS):
        raise RpcError(f"ret_type must be one of {','.join(DETAILS)}")
    failed = RpcError(f"failed to get repo: `{project['path']}` nodes")
    if not project["refs_version"]:
        if call.dialect.lists_empty_repositories:
            return []
        raise failed
    try:
        return await read_long(call.request, project, _read_nodes, repository_path(call, project), query)
    except GitError:
        raise failed from None


def _read_nodes(repo_path: Path, query: NodeQuery) -> list[dict[str, Any]]:
    listed = history.list_commits(repo_path)
    commit_id = listed[history.find_index(repo_path, listed, query.revision)]
    folders, files = tree.list_below(repo_path, commit_id, query.root_path)
    shown: list[dict[str, Any]] = []
    allowance = Allowance()
    for entry in (*folders, *files):
        allowance.spend(len(entry.path))
    if query.ret_type != "files":
        shown += [_render_folder(folder, query.details) for folder in folders]
    if query.ret_type != "dirs":
        shown += _render_files(repo_path, files, query)
    return shown


def _render_folder(folder: Entry, details: str | None) -> dict[str, Any]:
    named = {"name": folder.path, "type": "dir"}
    if details is None:
        return named
    return {**named, **NO_DETAILS, **({"content": None} if details == "full" else {})}


def _render_files(repo_path: Path, files: Sequence[Entry], query: NodeQuery) -> list[dict[str, Any]]:
    named = [{"name": file.path, "type": "file"} for file in files]
    if query.details is None:
        return named
    full, limit = query.details == "full", query.max_file_bytes
    contents = tree.read_files(repo_path, [file.id for file in files])
    return [
        {**name, **_describe_file(file.name, content, full=full, limit=limit)}
        for name, file, content in zip(named, files, contents, strict=True)
    ]


def _describe_file(name: str, content: bytes, *, full: bool, limit: int | None) -> dict[str, Any]:
    binary = b"\0" in content
    described: dict[str, Any] = {
        "md5": hashlib.md5(content, usedforsecurity=False).hexdigest(),
        "binary": binary,
        "size": len(content),
        "extension": name.rpartition(".")[2],
        "mimetype": mimetypes.guess_type(name)[0] or ("application/octet-stream" if binary else "text/plain"),
        "lines": 0 if binary else len(content.splitlines()),
    }
    if full:
        hidden = binary or (limit is not None and len(content) > limit)
        described["content"] = None if hidden else content.decode("utf-8", "replace")
    return described
