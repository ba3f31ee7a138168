"""Previewing and merging pull-requests, without a work tree."""

from dataclasses import dataclass
from enum import StrEnum
from itertools import islice
from pathlib import Path

import pygit2

from app.git import commits, refs
from app.git.errors import MergeConflict, NeedsRebase, NoBranch, NothingToMerge
from app.git.objects import open_repository
from app.git.text import decode, encode_name, single_line, strip_control

PATHS_LIMIT = 100  # conflicting paths in one result


class Status(StrEnum):
    """The values of `cached_merge_status` in the API."""

    NO_CHANGE = "NO_CHANGE"
    FFORWARD = "FFORWARD"
    CONFLICTS = "CONFLICTS"
    MERGE = "MERGE"


@dataclass(frozen=True)
class MergePreview:
    """The outcome of merging `theirs` into a branch at `ours`; `ours` is None while the repository is empty.

    A merge can be retried after a crash if preview and time of the merge were stored: both together always make the
    same commit, and `commits.contains` tells whether the branch has it.
    """

    status: Status
    branch: str
    ours: str | None
    theirs: str
    conflicts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Signer:
    """The user who merges, and the time in seconds since 1970."""

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
    """Find out what merging the commit `theirs` into `branch` would do.

    `alternate` is the repository of `theirs` until its objects have been copied; `signed_off` requires sign-offs.
    Raises NoBranch unless the repository is empty, NotSignedOff and NoCommit. NoBranch comes first: without the branch
    it is unknown which commits are new. Source: pull-request contract 5.2, 5.4.
    """
    try:
        ours = refs.find_branch_head(repo_path, branch)
    except NoBranch:
        if not refs.is_empty(repo_path):
            raise
        ours = None
    if signed_off:
        commits.require_sign_off(repo_path, theirs, ours, alternate=alternate)
    status, conflicts = _compare(open_repository(repo_path, alternate), ours, theirs)
    return MergePreview(status, branch, ours, theirs, conflicts)


def _compare(repository: pygit2.Repository, ours: str | None, theirs: str) -> tuple[Status, tuple[str, ...]]:
    commits.read(repository, theirs)
    if ours is None:
        return Status.FFORWARD, ()
    base = repository.merge_base(pygit2.Oid(hex=ours), pygit2.Oid(hex=theirs))
    if str(base) == theirs:
        return Status.NO_CHANGE, ()
    if str(base) == ours:
        return Status.FFORWARD, ()
    conflicts = list_conflicts(repository.merge_commits(pygit2.Oid(hex=ours), pygit2.Oid(hex=theirs)))
    return (Status.CONFLICTS if conflicts else Status.MERGE), conflicts


def merge(
    repo_path: Path,
    preview: MergePreview,
    message: str,
    signer: Signer,
    *,
    always: bool = False,
    only_forward: bool = False,
) -> str:
    """Merge as previewed, atomically, and return the new head of the branch. The commits have to be in this repository.

    `always` makes a merge commit even where a fast-forward is possible; `only_forward` allows merge commits only then.
    Raises NothingToMerge, MergeConflict, NeedsRebase, and RefMoved when the branch has moved since the preview, which
    then has to be made anew. Source: pull-request contract 5.2.
    """
    if preview.status is Status.NO_CHANGE:
        raise NothingToMerge(preview.branch)
    if preview.status is Status.CONFLICTS:
        raise MergeConflict(preview.branch, preview.conflicts)
    if preview.status is Status.MERGE and only_forward:
        raise NeedsRebase(preview.branch)
    new = preview.theirs
    if preview.ours is not None and (always or preview.status is Status.MERGE):
        new = _merge_commit(repo_path, preview.ours, preview.theirs, message, signer)
    refs.move(repo_path, refs.branch_ref(preview.branch), new, preview.ours)
    return new


def merge_message(number: int, title: str, signer: Signer | None = None) -> str:
    """Compose the message of a merge commit; `signer` adds a sign-off, for projects that enforce it."""
    trailer = f"\n\nSigned-off-by: {signer.signature.name} <{signer.signature.email}>" if signer else ""
    return f"Merge #{int(number)} `{single_line(title)}`{trailer}"


def _merge_commit(repo_path: Path, ours: str, theirs: str, message: str, signer: Signer) -> str:
    repository = open_repository(repo_path)
    left, right = pygit2.Oid(hex=ours), pygit2.Oid(hex=theirs)
    index = repository.merge_commits(left, right)
    if conflicts := list_conflicts(index):
        raise MergeConflict(ours, conflicts)
    tree = index.write_tree(repository)
    signature = signer.signature
    parents = [left, right]
    return str(repository.create_commit(None, signature, signature, message.encode("utf-8", "replace"), tree, parents))


def list_conflicts(index: pygit2.Index) -> tuple[str, ...]:
    """List the conflicting paths, up to PATHS_LIMIT conflicts."""
    conflicts = islice(index.conflicts or (), PATHS_LIMIT)
    paths = {entry.path: None for entries in conflicts for entry in entries if entry is not None}
    return tuple(decode(encode_name(path)) for path in paths)
