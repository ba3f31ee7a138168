"""Previewing and merging pull-requests, without a work tree."""

import tempfile
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import pygit2

from app.git import commits, extent, refs
from app.git.errors import MergeConflict, NeedsRebase, NoBranch, NothingToMerge
from app.git.extent import Allowance
from app.git.limits import Work
from app.git.objects import open_repository
from app.git.process import run
from app.git.text import decode, single_line, strip_control

PATHS_LIMIT = 100  # conflicting paths in one result
FILES_LIMIT = 200_000  # files that the two sides of a merge may have changed
# As libgit2 merges, which Pagure uses: a file in a folder that the other side has renamed is no conflict.
CONFIG = {"merge.directoryRenames": "false", "merge.renameLimit": "1000", "core.bigFileThreshold": "16m"}
CLEAN, CONFLICTING = 0, 1  # exit codes of git merge-tree


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
    status, conflicts = _compare(repo_path, ours, theirs, alternate)
    return MergePreview(status, branch, ours, theirs, conflicts)


def _compare(repo_path: Path, ours: str | None, theirs: str, alternate: Path | None) -> tuple[Status, tuple[str, ...]]:
    repository = open_repository(repo_path, alternate)
    commits.load(repository, theirs)
    if ours is None:
        return Status.FFORWARD, ()
    base = repository.merge_base(pygit2.Oid(hex=ours), pygit2.Oid(hex=theirs))
    if str(base) == theirs:
        return Status.NO_CHANGE, ()
    if str(base) == ours:
        return Status.FFORWARD, ()
    with tempfile.TemporaryDirectory(prefix="polyforge-merge-") as scratch:
        _, conflicts = combine(repo_path, ours, theirs, alternate=alternate, scratch=Path(scratch))
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
    tree, conflicts = combine(repo_path, ours, theirs)
    if conflicts:
        raise MergeConflict(ours, conflicts)
    signature = signer.signature
    parents = [left, right]
    return str(
        repository.create_commit(
            None, signature, signature, message.encode("utf-8", "replace"), pygit2.Oid(hex=tree), parents
        )
    )


def combine(
    repo_path: Path, ours: str, theirs: str, *, alternate: Path | None = None, scratch: Path | None = None
) -> tuple[str, tuple[str, ...]]:
    """Merge two commits; return the resulting tree and the conflicting paths, PATHS_LIMIT at most.

    The tree is written to the repository, or to the folder `scratch`. Raises TooLarge if the two sides have changed
    more than FILES_LIMIT files or git would need more than it may use.
    """
    _require_mergeable(open_repository(repo_path, alternate), ours, theirs)
    output = run(
        repo_path,
        *("merge-tree", "--write-tree", "--allow-unrelated-histories", "--name-only", "--no-messages", "-z"),
        *(ours, theirs),
        work=Work.CHANGE, config=CONFIG, alternate=alternate, scratch=scratch, accept={CLEAN, CONFLICTING},
    )  # fmt: skip
    tree, *paths = output.split(b"\0")
    return tree.decode(), tuple(decode(path) for path in dict.fromkeys(paths) if path)[:PATHS_LIMIT]


def _require_mergeable(repository: pygit2.Repository, ours: str, theirs: str) -> None:
    base, allowance = repository.merge_base(pygit2.Oid(hex=ours), pygit2.Oid(hex=theirs)), Allowance(FILES_LIMIT)
    before = extent.tree_of(repository, base) if base else None
    for commit_id in (ours, theirs):
        extent.count_changes(repository, before, extent.tree_of(repository, commit_id), allowance)
