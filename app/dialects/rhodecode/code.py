"""Methods about files and commits."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from app.database import Row
from app.dialects.jsonrpc.answers import Allowance
from app.dialects.jsonrpc.changes import list_changes
from app.dialects.jsonrpc.commits import NO_COMMIT, TOO_LARGE, measure, render_commit, repository_path
from app.dialects.jsonrpc.dialect import Call
from app.dialects.jsonrpc.errors import INTERNAL, RpcError
from app.dialects.jsonrpc.methods import read_integer
from app.dialects.jsonrpc.nodes import NodeQuery, list_nodes
from app.dialects.rhodecode.methods import methods
from app.git import commits, history
from app.git.errors import Missing, TooLarge
from app.git.objects import open_repository
from app.git.refs import TAGS
from app.http.long_reads import read_long
from app.queries import refs

DETAILS = ("basic", "extended", "full")
MAX_COMMITS = {"basic": 10_000, "extended": 1_000, "full": 200}  # in one answer


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


@methods.add("get_repo_changeset", "read-code")
async def get_repo_changeset(call: Call, repoid: Row, revision: Any, details: str = "basic") -> dict[str, Any]:
    """Show a commit; for an unknown one, the object with zeros."""
    _check(revision, details)
    [shown] = await _list(call, repoid, revision, 1, details) or [{**NO_COMMIT, "diff": []}]
    return dict(shown)


@methods.add("get_repo_changesets", "read-code")
async def get_repo_changesets(
    call: Call, repoid: Row, start_rev: Any, limit: Any, details: str = "basic"
) -> list[dict[str, Any]]:
    try:
        count = read_integer(limit)
    except ValueError:
        raise RpcError(INTERNAL) from None
    _check(start_rev, details)
    found = await _list(call, repoid, start_rev, count, details)
    if found is None:
        raise RpcError("Error occurred during commit fetching")
    return found


def _check(revision: Any, details: str) -> None:
    if details not in DETAILS:
        raise RpcError(f"ret_type must be one of {','.join(DETAILS)}")
    if not isinstance(revision, str):
        raise RpcError("commit_id must be a string value")


async def _list(call: Call, project: Any, start: str, count: int, details: str) -> list[dict[str, Any]] | None:
    """List commits forward from one, a negative count for all; None if there is no such commit. Raises RpcError."""
    if not project["refs_version"]:
        return None
    path = repository_path(call, project)
    branches = {
        head: name for name, head in reversed((await refs.list_branches(call.db, project["project_id"])).items())
    }
    tags = await refs.list_under(call.db, project["project_id"], TAGS)
    try:
        return await read_long(call.request, project, _read, path, start, count, details, branches, tags)
    except Missing:
        return None
    except TooLarge:
        raise RpcError(TOO_LARGE) from None


def _read(
    repo_path: Path, start: str, count: int, details: str, branches: Mapping[str, str], tags: Sequence[Row]
) -> list[dict[str, Any]]:
    listed = history.list_commits(repo_path)
    first = history.find_index(repo_path, listed, start)
    last = len(listed) if count < 0 else min(first + count, len(listed))
    if last - first > MAX_COMMITS[details]:
        raise TooLarge(start)
    repository = open_repository(repo_path)
    shown, allowance = [], Allowance()
    for index in range(first, last):
        commit = commits.read(repository, listed[index])
        changes = list_changes(repo_path, commit, full=details == "full") if details != "basic" else []
        shown.append({**render_commit(commit, index, branches), "diff": changes})
        allowance.spend(measure(shown[-1]))
        if details == "full":
            named = [tag["name"] for tag in tags if tag["commit"] == commit.id]
            shown[-1]["refs"] = {"branches": [branches.get(commit.id)], "bookmarks": [], "tags": named}
    return shown
