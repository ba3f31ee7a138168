"""Choose the commits of a list."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from app.dialects.jsonrpc.errors import RpcError
from app.git import history, refs

Dated = Sequence[tuple[int, str]]


@dataclass(frozen=True, kw_only=True)
class Selection:
    """The commits of a branch, or of all branches, in a period. Of these the newest, and of those the ones between two
    bounds, which are included. Times are in seconds since 1970.
    """

    start: str
    end: str
    since: int | None
    until: int | None
    branch: str | None
    newest: int | None


def choose_commits(repo_path: Path, dated: Dated, selection: Selection) -> list[int]:
    """Return the indexes of the commits of a selection. A bound that is no part of it does not count.

    Raises NoCommit for a bound, NoBranch, and RpcError for bounds in the wrong order.
    """
    chosen = [
        index
        for index, (time, _) in enumerate(dated)
        if (selection.since is None or time >= selection.since) and (selection.until is None or time <= selection.until)
    ]
    if selection.branch:
        head = refs.find_branch_head(repo_path, selection.branch)
        of_branch = {commit_id for _, commit_id in history.list_dated(repo_path, head)}
        chosen = [index for index in chosen if dated[index][1] in of_branch]
    if selection.newest is not None:
        chosen = chosen[max(len(chosen) - max(selection.newest, 0), 0) :]
    ids = [commit_id for _, commit_id in dated]
    places = {index: place for place, index in enumerate(chosen)}
    start = history.find_index(repo_path, ids, selection.start) if selection.start else -1
    end = history.find_index(repo_path, ids, selection.end) if selection.end else len(ids)
    if start > end:
        raise RpcError(f"Changeset {selection.start} is newer than {selection.end}")
    return chosen[places.get(start, 0) : places.get(end, len(chosen)) + 1]
