"""What a push has brought to a branch, and who is behind a ref."""

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pygit2

from app.git import commits, diff
from app.git.commits import Person
from app.git.errors import NoCommit, TooLarge
from app.git.objects import FULL, opened
from app.git.process import records, stream

MOST = 1000  # commits whose authors are told
HEADS = 500  # other branches that a new one is compared with


@dataclass(frozen=True)
class Received:
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


def received(place: Path, new: str, old: str | None, others: Iterable[str] = ()) -> Received | None:
    """None if it brought no commits. Of a new branch those count that no one of `others` leads to.

    More than `diff.CHANGES_LIMIT` files are not listed at all. Raises NoCommit. Source: project contract 11.5.
    """
    repository = opened(place)
    base, forced = old, False
    if old is not None:
        commits.read(repository, old)
        base = commits.merge_base(place, old, new)
        forced = base != old
    known = [old] if old else _there(repository, others)
    total, start, end, first = 0, "", "", []
    commits.read(repository, new)
    for line in records(stream(place, "rev-list", "--date-order", new, *(f"^{one}" for one in known), "--")):
        start, total = line.decode(), total + 1
        end = end or start
        if total <= MOST:
            first.append(start)
    if not total:
        return None
    authors = [commits.read(repository, commit).author for commit in first]
    since = (base or old) if old else diff.base(place, start)
    changed = {}
    with suppress(TooLarge):
        changed = diff.changed_files(place, since, new)
    return Received(total, start, end, since if old else None, forced, authors, changed)


def author(place: Path, commit_id: str) -> Person | None:
    """Who wrote a commit, or what a tag leads to, if it is there still."""
    repository = opened(place)
    found = repository.get(commit_id) if FULL.match(commit_id) else None
    try:
        return commits.read(repository, str(found.peel(pygit2.Commit).id)).author if found is not None else None
    except (pygit2.GitError, NoCommit):
        return None


def _there(repository: pygit2.Repository, ids: Iterable[str]) -> list[str]:
    """Those that can be named to git."""
    return [one for one in sorted(ids) if FULL.match(one) and one in repository][:HEADS]
