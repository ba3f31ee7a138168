"""Summaries of pushes: how many commits a push added to a branch, by whom, and which files they change."""

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pygit2

from app.git import commits, diff
from app.git.commits import Person
from app.git.errors import GitFailed, NoCommit, TimedOut, TooLarge
from app.git.objects import FULL, open_repository, peel_tag
from app.git.process import split_records, stream

MAX_COMMITS = 1000  # commits whose authors are listed
MAX_BRANCHES = 500  # other branches that a new branch is compared with


@dataclass(frozen=True)
class PushSummary:
    """The new commits of a branch.

    `start` and `end` are the oldest and the newest of them. `old` is the previous head, after a forced push the merge
    base with it, and None for a new branch. `changed` maps paths to the status letters of git.
    """

    total: int
    start: str
    end: str
    old: str | None
    forced: bool
    authors: list[Person]
    changed: dict[str, str]


def summarize_push(repo_path: Path, new: str, old: str | None, others: Iterable[str] = ()) -> PushSummary | None:
    """Summarize a push that moved a branch from `old` to `new`; None if it brought no commits.

    In a new branch those commits count that are not reachable from `others`. No files are listed if there are more
    than `diff.CHANGES_LIMIT`. Raises NoCommit. Source: project contract 11.5.
    """
    repository = open_repository(repo_path)
    base, forced = old, False
    if old is not None:
        commits.read(repository, old)
        base = commits.merge_base(repo_path, old, new)
        forced = base != old
    exclude = [old] if old else _list_existing(repository, others)
    total, start, end, listed = 0, "", "", []
    commits.read(repository, new)
    negated = [f"^{commit_id}" for commit_id in exclude]
    for line in split_records(stream(repo_path, "rev-list", "--date-order", new, *negated, "--")):
        start, total = line.decode(), total + 1
        end = end or start
        if total <= MAX_COMMITS:
            listed.append(start)
    if not total:
        return None
    authors = []
    for commit in listed:
        with suppress(TooLarge, GitFailed):
            authors.append(commits.read(repository, commit).author)
    since = (base or old) if old else diff.find_base(repo_path, start)
    changed = {}
    with suppress(TooLarge, TimedOut):
        changed = diff.changed_files(repo_path, since, new)
    return PushSummary(total, start, end, since if old else None, forced, authors, changed)


def find_author(repo_path: Path, commit_id: str) -> Person | None:
    """Find the author of a commit, or of the commit that a tag points to; None if it no longer exists."""
    repository = open_repository(repo_path)
    if not FULL.match(commit_id) or commit_id not in repository:
        return None
    with suppress(NoCommit, TooLarge, GitFailed):
        return commits.read(repository, str(peel_tag(repository, pygit2.Oid(hex=commit_id)))).author
    return None


def _list_existing(repository: pygit2.Repository, ids: Iterable[str]) -> list[str]:
    """List those ids that are safe to pass to git and exist, up to MAX_BRANCHES."""
    return [object_id for object_id in sorted(ids) if FULL.match(object_id) and object_id in repository][:MAX_BRANCHES]
