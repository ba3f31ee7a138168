"""What a push has brought to a branch, and who is behind a ref."""

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pygit2

from app.git import commits, diff
from app.git.commits import Person
from app.git.errors import NoCommit, TooLarge
from app.git.objects import FULL, open_repository
from app.git.process import split_records, stream

MAX_COMMITS = 1000  # commits whose authors are told
BRANCHES = 500  # other branches that a new one is compared with


@dataclass(frozen=True)
class PushSummary:
    """`start` and `end` are the oldest and the newest commit; `old` where the branch was, or where the histories part
    after a push by force, None for a new branch; `changed` are paths with git's letters.
    """

    total: int
    start: str
    end: str
    old: str | None
    forced: bool
    authors: list[Person]
    changed: dict[str, str]


def summarize_push(repo_path: Path, new: str, old: str | None, others: Iterable[str] = ()) -> PushSummary | None:
    """None if it brought no commits. Of a new branch those count that no one of `others` leads to.

    More than `diff.CHANGES_LIMIT` files are not listed at all. Raises NoCommit. Source: project contract 11.5.
    """
    repository = open_repository(repo_path)
    base, forced = old, False
    if old is not None:
        commits.read(repository, old)
        base = commits.merge_base(repo_path, old, new)
        forced = base != old
    known = [old] if old else _existing(repository, others)
    total, start, end, first = 0, "", "", []
    commits.read(repository, new)
    for line in split_records(stream(repo_path, "rev-list", "--date-order", new, *(f"^{one}" for one in known), "--")):
        start, total = line.decode(), total + 1
        end = end or start
        if total <= MAX_COMMITS:
            first.append(start)
    if not total:
        return None
    authors = [commits.read(repository, commit).author for commit in first]
    since = (base or old) if old else diff.find_base(repo_path, start)
    changed = {}
    with suppress(TooLarge):
        changed = diff.changed_files(repo_path, since, new)
    return PushSummary(total, start, end, since if old else None, forced, authors, changed)


def find_author(repo_path: Path, commit_id: str) -> Person | None:
    """Who wrote a commit, or what a tag leads to, if it is there still."""
    repository = open_repository(repo_path)
    found = repository.get(commit_id) if FULL.match(commit_id) else None
    try:
        return commits.read(repository, str(found.peel(pygit2.Commit).id)).author if found is not None else None
    except (pygit2.GitError, NoCommit):
        return None


def _existing(repository: pygit2.Repository, ids: Iterable[str]) -> list[str]:
    """Those that can be named to git."""
    return [one for one in sorted(ids) if FULL.match(one) and one in repository][:BRANCHES]
