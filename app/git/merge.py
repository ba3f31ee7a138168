"""Merging a pull-request: what would come of it, and doing it, without a work tree."""

from dataclasses import dataclass
from enum import StrEnum
from itertools import islice
from pathlib import Path

import pygit2

from app.git import commits, refs
from app.git.errors import MergeConflict, NeedsRebase, NoBranch, NothingToMerge
from app.git.objects import open_repository
from app.git.text import decode, encode_name, single_line, strip_control

PATHS_LIMIT = 100  # of the clashing paths that are told


class Status(StrEnum):
    """As clients read it in `cached_merge_status`."""

    NO_CHANGE = "NO_CHANGE"
    FFORWARD = "FFORWARD"
    CONFLICTS = "CONFLICTS"
    MERGE = "MERGE"


@dataclass(frozen=True)
class MergePreview:
    """What merging `theirs` into a branch at `ours` comes to; `ours` is None while the repository is empty.

    Whoever stores it, with the time of the merge, can try again after a crash: the same outlook and time make the same
    commit, and `commits.contains` tells whether the branch has it.
    """

    status: Status
    branch: str
    ours: str | None
    theirs: str
    clashes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Signer:
    """The merging user, and the time in seconds since 1970."""

    name: str
    email: str
    at: int

    @property
    def signature(self) -> pygit2.Signature:
        return pygit2.Signature(
            strip_control(self.name) or "nobody", strip_control(self.email) or "nobody@localhost", self.at, 0
        )


def preview_merge(
    repo_path: Path, branch: str, theirs: str, *, signed_off: bool = False, alternate: Path | None = None
) -> MergePreview:
    """What merging the commit `theirs` into `branch` would do; `borrow` is its repository until it is fetched.

    Raises NoBranch when there are branches and not this one, NotSignedOff when that is asked for, NoCommit. The missing
    branch comes first: without it nobody knows which commits are new. Source: pull-request contract 5.2, 5.4.
    """
    try:
        ours = refs.find_branch_head(repo_path, branch)
    except NoBranch:
        if not refs.is_empty(repo_path):
            raise
        ours = None
    if signed_off:
        commits.require_sign_off(repo_path, theirs, ours, alternate=alternate)
    status, clashes = _compare(open_repository(repo_path, alternate), ours, theirs)
    return MergePreview(status, branch, ours, theirs, clashes)


def _compare(repository: pygit2.Repository, ours: str | None, theirs: str) -> tuple[Status, tuple[str, ...]]:
    commits.read(repository, theirs)
    if ours is None:
        return Status.FFORWARD, ()
    base = repository.merge_base(pygit2.Oid(hex=ours), pygit2.Oid(hex=theirs))
    if str(base) == theirs:
        return Status.NO_CHANGE, ()
    if str(base) == ours:
        return Status.FFORWARD, ()
    clashes = list_conflicts(repository.merge_commits(pygit2.Oid(hex=ours), pygit2.Oid(hex=theirs)))
    return (Status.CONFLICTS if clashes else Status.MERGE), clashes


def merge(
    repo_path: Path,
    preview: MergePreview,
    message: str,
    signer: Signer,
    *,
    always: bool = False,
    only_forward: bool = False,
) -> str:
    """Do what the outlook says, all or nothing; where the branch leads now. The commits have to be in this repository.

    `always` makes a merge commit where the branch could just move on; `only_forward` wants no merge commit that is not
    asked for in this way. Raises NothingToMerge, Conflict, NeedsRebase, and LostRace when the branch has moved since
    the outlook: then look again. Source: pull-request contract 5.2.
    """
    if preview.status is Status.NO_CHANGE:
        raise NothingToMerge(preview.branch)
    if preview.status is Status.CONFLICTS:
        raise MergeConflict(preview.branch, preview.clashes)
    if preview.status is Status.MERGE and only_forward:
        raise NeedsRebase(preview.branch)
    new = preview.theirs
    if preview.ours is not None and (always or preview.status is Status.MERGE):
        new = _merge_commit(repo_path, preview.ours, preview.theirs, message, signer)
    refs.move(repo_path, refs.branch_ref(preview.branch), new, preview.ours)
    return new


def merge_message(number: int, title: str, signer: Signer | None = None) -> str:
    """The message of a merge commit; with the trailer of `signer` where sign-off is enforced."""
    trailer = f"\n\nSigned-off-by: {signer.signature.name} <{signer.signature.email}>" if signer else ""
    return f"Merge #{int(number)} `{single_line(title)}`{trailer}"


def _merge_commit(repo_path: Path, ours: str, theirs: str, message: str, signer: Signer) -> str:
    repository = open_repository(repo_path)
    left, right = pygit2.Oid(hex=ours), pygit2.Oid(hex=theirs)
    index = repository.merge_commits(left, right)
    if clashes := list_conflicts(index):
        raise MergeConflict(ours, clashes)
    tree = index.write_tree(repository)
    who = signer.signature
    return str(repository.create_commit(None, who, who, message.encode("utf-8", "replace"), tree, [left, right]))


def list_conflicts(index: pygit2.Index) -> tuple[str, ...]:
    """The paths that both sides have changed, each in its own way."""
    sides = islice(index.conflicts or (), PATHS_LIMIT)
    paths = {entry.path: None for three in sides for entry in three if entry is not None}
    return tuple(decode(encode_name(path)) for path in paths)
