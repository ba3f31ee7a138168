"""Reading commits, listing those that a pull-request brings, and checking their sign-offs."""

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pygit2

from app.git.errors import GitFailed, NoCommit, NotSignedOff, TooLarge
from app.git.objects import FULL, is_reachable, list_candidates, object_kind, open_repository, read_object
from app.git.process import run, split_records, stream
from app.git.text import decode

COMMIT = pygit2.enums.ObjectType.COMMIT
# Written by old tools without the space that should follow the address; libgit2 loses the first digit of the time.
NO_SPACE = re.compile(rb"^(author|committer) [^\n]*>(\d{1,12}) ", re.MULTILINE)
# Exactly as the hook for pushes looks for it.
UNSIGNED = ("--invert-grep", "--regexp-ignore-case", "--fixed-strings", "--grep=signed-off-by", "--max-count=1")
MESSAGE_LIMIT = 1 << 20  # bytes of a commit's message that are shown


@dataclass(frozen=True)
class Person:
    """An author or committer; `time` is in seconds since 1970, `offset` in minutes east of UTC."""

    name: str
    email: str
    time: int
    offset: int


@dataclass(frozen=True)
class Commit:
    id: str
    author: Person
    committer: Person
    message: str
    parents: tuple[str, ...]
    tree: str
    cut: bool = False  # the message is longer than MESSAGE_LIMIT

    @property
    def subject(self) -> str:
        return self.message.lstrip("\n").partition("\n")[0]


@dataclass(frozen=True)
class CommitSpan:
    """The commits of a pull-request: `start` is the oldest and `stop` the newest, named as in the API."""

    start: str
    stop: str
    count: int


def resolve(repo_path: Path, spelling: str, *, hidden: bool = False) -> str:
    """Return the full id of the commit with this hexadecimal id, which may be abbreviated.

    Raises NoCommit for anything else, and for commits that no visible ref leads to unless `hidden` is set.
    Source: project contract 7.12, 7.14 and 12.10.
    """
    repository = open_repository(repo_path)
    commits = [
        candidate for candidate in list_candidates(repo_path, spelling) if object_kind(repository, candidate) == COMMIT
    ]
    if len(commits) != 1 or not (hidden or is_reachable(repo_path, commits[0])):
        raise NoCommit(spelling)
    return commits[0]


def find(repo_path: Path, spelling: str, *, hidden: bool = False) -> Commit:
    """Read the commit that `resolve` finds, which raises the same errors. Source: project contract 12.10."""
    return read(open_repository(repo_path), resolve(repo_path, spelling, hidden=hidden))


def read(repository: pygit2.Repository, commit_id: str) -> Commit:
    """Read the commit with this full id, and of its message no more than MESSAGE_LIMIT bytes. Raises as `load`."""
    commit = load(repository, commit_id)
    encoding = commit.message_encoding
    times = {name: int(time) for name, time in NO_SPACE.findall(commit.read_raw().partition(b"\n\n")[0])}
    return Commit(
        id=str(commit.id),
        author=_parse_person(commit.author, encoding, times.get(b"author")),
        committer=_parse_person(commit.committer, encoding, times.get(b"committer")),
        message=decode(commit.raw_message[:MESSAGE_LIMIT], encoding),
        parents=tuple(str(parent) for parent in commit.parent_ids),
        tree=str(commit.tree_id),
        cut=len(commit.raw_message) > MESSAGE_LIMIT,
    )


def load(repository: pygit2.Repository, commit_id: str) -> pygit2.Commit:
    """Load the commit with this full id.

    Raises NoCommit if the repository does not have it, TooLarge if it is too large to be read into this process, and
    GitFailed if it is malformed.
    """
    try:
        if FULL.match(commit_id):
            commit: pygit2.Commit = read_object(repository, pygit2.Oid(hex=commit_id), COMMIT)
            return commit
    except KeyError:
        pass
    raise NoCommit(commit_id)


def list_ids(repo_path: Path, source: str, target: str | None, *, alternate: Path | None = None) -> Iterator[str]:
    """List the ids of the commits reachable from `source` and not from `target`, newest first, children before parents.

    Given the heads of its two branches, these are the commits of a pull-request. `target` is None when the target
    repository is empty: then all commits count. `alternate` is the source repository, needed as long as its objects
    have not been copied. Raises NoCommit. Source: pull-request contract 5.1.
    """
    exclude = [] if target is None else [f"^{_find_commit(repo_path, target, alternate)}"]
    head = _find_commit(repo_path, source, alternate)
    output = stream(repo_path, "rev-list", "--date-order", head, *exclude, alternate=alternate)
    return (line.decode() for line in split_records(output))


def list_between(
    repo_path: Path, source: str, target: str | None, *, alternate: Path | None = None
) -> Iterator[Commit]:
    """Read the commits that `list_ids` lists, one at a time, but for those that are too large or malformed."""
    repository = open_repository(repo_path, alternate)
    for commit_id in list_ids(repo_path, source, target, alternate=alternate):
        # A commit that cannot be read has no author and no message to return.
        with suppress(TooLarge, GitFailed):
            yield read(repository, commit_id)


def find_span(repo_path: Path, source: str, target: str | None, *, alternate: Path | None = None) -> CommitSpan | None:
    """Find the oldest and newest commit of a pull-request; None if it brings no commits."""
    start = stop = None
    count = 0
    for commit_id in list_ids(repo_path, source, target, alternate=alternate):
        start, stop, count = commit_id, stop or commit_id, count + 1
    return CommitSpan(start, stop, count) if start and stop else None


def require_sign_off(repo_path: Path, source: str, target: str | None, *, alternate: Path | None = None) -> None:
    """Raise NotSignedOff with the newest commit that is not signed off.

    A commit is signed off if its message contains `signed-off-by`, in any case.

    Source: pull-request contract 5.2, step 1.
    """
    exclude = [] if target is None else [f"^{_find_commit(repo_path, target, alternate)}"]
    head = _find_commit(repo_path, source, alternate)
    if unsigned := run(repo_path, "rev-list", "--date-order", *UNSIGNED, head, *exclude, "--", alternate=alternate):
        raise NotSignedOff(unsigned.decode().strip())


def require_new_sign_off(repo_path: Path, start: str) -> None:
    """Raise NotSignedOff with a commit that is reachable from `start`, from no branch or tag, and not signed off."""
    head = _find_commit(repo_path, start, None)
    if unsigned := run(repo_path, "rev-list", *UNSIGNED, head, "--not", "--branches", "--tags", "--"):
        raise NotSignedOff(unsigned.decode().strip())


def contains(repo_path: Path, head: str, commit: str) -> bool:
    """Return whether `commit` is `head` or one of its ancestors. Raises NoCommit."""
    for commit_id in (head, commit):
        _find_commit(repo_path, commit_id, None)
    return not run(repo_path, "rev-list", "--max-count=1", commit, f"^{head}")


def merge_base(repo_path: Path, one: str, other: str, *, alternate: Path | None = None) -> str | None:
    """Find the best common ancestor of two commits. Raises NoCommit. Source: project contract 11.5."""
    repository = open_repository(repo_path, alternate)
    base = repository.merge_base(*(_find_commit(repo_path, commit_id, alternate) for commit_id in (one, other)))
    return str(base) if base else None


def _find_commit(repo_path: Path, commit_id: str, alternate: Path | None) -> str:
    """Return the id, which is safe to pass to git: a full id of a commit in this repository. Raises NoCommit."""
    repository = open_repository(repo_path, alternate)
    if not FULL.match(commit_id) or commit_id not in repository:
        raise NoCommit(commit_id)
    if object_kind(repository, commit_id) != COMMIT:
        raise NoCommit(commit_id)
    return commit_id


def _parse_person(signature: pygit2.Signature, encoding: str | None, time: int | None) -> Person:
    return Person(
        decode(signature.raw_name, encoding),
        decode(signature.raw_email, encoding),
        signature.time if time is None else time,
        signature.offset,
    )
