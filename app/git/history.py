"""All commits of a repository in the order of their dates, in which clients number them."""

from collections.abc import Iterable
from pathlib import Path

import pygit2

from app.git import refs
from app.git.errors import NoCommit
from app.git.objects import is_full_id, open_repository, peel_tag
from app.git.process import split_records, stream

NEWEST = ("", "tip", "HEAD", "head")
MAX_INDEX_DIGITS = 11
MIN_PREFIX = 7  # digits of an abbreviated id


def list_commits(repo_path: Path, tips: Iterable[str] | None = None) -> list[str]:
    """List the ids of all commits of branches and tags by date, parents before children. The place of a commit is its
    index. With `tips` the list has what these objects lead to, instead of the branches and tags of the moment.
    """
    if tips is None:
        output = stream(repo_path, "rev-list", "--date-order", "--reverse", "--branches", "--tags")
    else:
        output = stream(repo_path, "rev-list", "--date-order", "--reverse", "--stdin", stdin="\n".join(tips).encode())
    return [line.decode() for line in split_records(output)]


def list_dated(repo_path: Path, start: str | None = None) -> list[tuple[int, str]]:
    """List the same commits, each after the time of its committer in seconds since 1970; with `start` only those that
    it leads to.
    """
    where = (start,) if start else ("--branches", "--tags")
    output = stream(repo_path, "rev-list", "--timestamp", "--date-order", "--reverse", *where)
    dated = (line.decode().split(" ", 1) for line in split_records(output))
    return [(int(time), commit_id) for time, commit_id in dated]


def find_index(repo_path: Path, commits: list[str], revision: str) -> int:
    """Find the index of a commit by what clients call it.

    In this order: nothing, `tip` or HEAD for the newest, an index, a branch, a tag, an id, and the beginning of an id.
    Raises NoCommit.
    """
    if revision in NEWEST:
        index = len(commits) - 1
    else:
        is_index = revision.isascii() and revision.isdigit() and len(revision) <= MAX_INDEX_DIGITS
        index = int(revision) if is_index else -1
        if not 0 <= index < len(commits):
            # Digits beyond the last index may be the name of a tag, or the beginning of an id without letters.
            index = _find_named(repo_path, commits, revision)
    if index < 0:
        raise NoCommit(revision)
    return index


def _find_named(repo_path: Path, commits: list[str], revision: str) -> int:
    """Find the index of the commit of a branch, a tag or an id; -1 if there is none."""
    spelling = revision.lower()
    for prefix in () if is_full_id(spelling) else (refs.HEADS, refs.TAGS):
        target = refs.find_target(repo_path, prefix + revision)
        if target is not None:
            spelling = str(peel_tag(open_repository(repo_path), pygit2.Oid(hex=target)))
            break
    if len(spelling) < MIN_PREFIX:
        return -1
    found = [index for index, commit_id in enumerate(commits) if commit_id.startswith(spelling)]
    return found[0] if len(found) == 1 else -1
