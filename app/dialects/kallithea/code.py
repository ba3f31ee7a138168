"""Methods about files and commits."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from app.database import Row
from app.dialects.jsonrpc.answers import Allowance
from app.dialects.jsonrpc.changes import list_files
from app.dialects.jsonrpc.commits import TOO_LARGE, measure, render_commit, repository_path
from app.dialects.jsonrpc.dialect import Call
from app.dialects.jsonrpc.errors import RpcError
from app.dialects.jsonrpc.nodes import NodeQuery, list_nodes
from app.dialects.kallithea.methods import methods
from app.dialects.kallithea.selection import Selection, choose_commits
from app.git import commits, history
from app.git.errors import Missing, TooLarge
from app.git.objects import open_repository
from app.http.long_reads import read_long

MAX_COMMITS, MAX_WITH_FILES = 10_000, 1_000  # in one answer


@methods.add("get_repo_nodes", "read-code")
async def get_repo_nodes(
    call: Call, repoid: Row, revision: str, root_path: str, ret_type: str = "all"
) -> list[dict[str, Any]]:
    return await list_nodes(call, repoid, NodeQuery(revision, root_path, ret_type))


@methods.add("get_changeset", "read-code")
async def get_changeset(call: Call, repoid: Row, raw_id: str, with_reviews: bool = False) -> dict[str, Any]:
    """Show a commit with its files. Commits cannot be reviewed yet, so the list of reviews is empty."""
    unknown = RpcError(f"Changeset {raw_id} does not exist")
    if not repoid["refs_version"]:
        raise unknown
    try:
        shown = await read_long(call.request, repoid, _read_one, repository_path(call, repoid), raw_id)
    except Missing:
        raise unknown from None
    except TooLarge:
        raise RpcError(TOO_LARGE) from None
    return {**shown, "reviews": []} if with_reviews else shown


def _read_one(repo_path: Path, revision: str) -> dict[str, Any]:
    listed = history.list_commits(repo_path)
    index = history.find_index(repo_path, listed, revision)
    commit = commits.read(open_repository(repo_path), listed[index])
    author = {"name": commit.author.name, "email": commit.author.email}
    files = list_files(repo_path, commit)
    return {**render_commit(commit, index, {}), "id": commit.id, "author": author, **files}


@methods.add("get_changesets", "read-code")
async def get_changesets(
    call: Call,
    repoid: Row,
    start: Any = None,
    end: Any = None,
    start_date: str | None = None,
    end_date: str | None = None,
    branch_name: str | None = None,
    reverse: bool = False,
    with_file_list: bool = False,
    max_revisions: int | None = None,
) -> list[dict[str, Any]]:
    if not repoid["refs_version"]:
        raise RpcError("Repository is empty")
    selection = Selection(
        start=_read_bound(start),
        end=_read_bound(end),
        since=_read_date(start_date),
        until=_read_date(end_date),
        branch=branch_name,
        newest=max_revisions,
    )
    path = repository_path(call, repoid)
    try:
        shown: list[dict[str, Any]] = await read_long(call.request, repoid, _read_many, path, selection, with_file_list)
    except Missing as missing:
        raise RpcError(f"Changeset {missing.subject} does not exist") from None
    except TooLarge:
        raise RpcError(TOO_LARGE) from None
    return shown[::-1] if reverse else shown


def _read_bound(value: Any) -> str:
    """Read a bound of a list: a revision, which may be a number. Zero and empty values are no bound."""
    return str(value) if value else ""


def _read_date(text: str | None) -> int | None:
    """Read a time in UTC as seconds since 1970. Raises RpcError."""
    if not text:
        return None
    try:
        return int(datetime.strptime(text, "%Y-%m-%dT%H:%M:%S").replace(tzinfo=UTC).timestamp())
    except ValueError:
        raise RpcError(f"{text} is no time like 2011-02-24T00:00:00") from None


def _read_many(repo_path: Path, selection: Selection, with_files: bool) -> list[dict[str, Any]]:
    dated = history.list_dated(repo_path)
    chosen = choose_commits(repo_path, dated, selection)
    if len(chosen) > (MAX_WITH_FILES if with_files else MAX_COMMITS):
        raise TooLarge("commits")
    repository = open_repository(repo_path)
    shown, allowance = [], Allowance()
    for index in chosen:
        commit = commits.read(repository, dated[index][1])
        shown.append({**render_commit(commit, index, {}), **(list_files(repo_path, commit) if with_files else {})})
        allowance.spend(measure(shown[-1]))
    return shown
