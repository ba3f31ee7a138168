"""Several changes of refs at once, as a push asks for."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import pygit2
from pygit2.enums import ObjectType

from app.git import durability
from app.git.errors import GitFailed
from app.git.limits import Work
from app.git.locks import ref_lock
from app.git.objects import NOWHERE, object_kind, open_repository
from app.git.process import run
from app.git.refs import HEADS, LOCK_CONFIG, find_target, resolve_alias

MANY = 16  # changes, from which on syncing them all at once is faster
MAX_FAULTS = 100  # changes that fail, after which the others are not tried


class Fault(StrEnum):
    """The reason why a ref was not changed."""

    STALE = "stale"  # it points elsewhere than the change says
    NAME_IN_USE = "name-in-use"  # a branch `dir` and a branch `dir/sub` cannot both exist
    NO_COMMIT = "no-commit"  # a branch has to point at a commit
    FAILED = "failed"


@dataclass(frozen=True)
class RefChange:
    """A change of a ref, given by its full name, from `old` to `new`; NOWHERE stands for a ref that does not exist."""

    ref: str
    old: str
    new: str


def apply_changes(repo_path: Path, changes: Sequence[RefChange], *, atomic: bool = False) -> dict[str, Fault]:
    """Change the refs; return why some were not changed, by ref. With `atomic` either all are changed or none.

    Aliases are followed. The objects must be in the repository.
    """
    with ref_lock(repo_path, *(resolve_alias(repo_path, change.ref) for change in changes)):
        # Git reports the deletion of a ref that does not exist as done.
        pending = [each for each in changes if each.new != NOWHERE or find_target(repo_path, each.ref) is not None]
        faults: dict[str, Fault] = {}
        _apply(repo_path, pending, faults, atomic=atomic)
        return faults


def _apply(repo_path: Path, changes: Sequence[RefChange], faults: dict[str, Fault], *, atomic: bool) -> None:
    """Apply the changes in one transaction of git. If it fails, apply each half in its own, and so on."""
    if not changes or _run_transaction(repo_path, changes):
        return
    if atomic or len(changes) == 1:
        faults.update({each.ref: _find_fault(repo_path, each) for each in changes})
    elif len(faults) >= MAX_FAULTS:
        faults.update({each.ref: Fault.FAILED for each in changes})
    else:
        middle = len(changes) // 2
        for half in (changes[:middle], changes[middle:]):
            _apply(repo_path, half, faults, atomic=False)


def _run_transaction(repo_path: Path, changes: Sequence[RefChange]) -> bool:
    stdin = "".join(_format(change) for change in changes).encode(errors="surrogateescape")
    config = {**LOCK_CONFIG, **(durability.config_for_many_refs() if len(changes) > MANY else {})}
    try:
        run(repo_path, "update-ref", "--stdin", "-z", work=Work.CHANGE, stdin=stdin, config=config)
    except GitFailed:
        return all(find_target(repo_path, each.ref) == (each.new if each.new != NOWHERE else None) for each in changes)
    return True


def _format(change: RefChange) -> str:
    if change.new == NOWHERE:
        return f"delete {change.ref}\0{change.old if change.old != NOWHERE else ''}\0"
    return f"update {change.ref}\0{change.new}\0{change.old}\0"


def _find_fault(repo_path: Path, change: RefChange) -> Fault:
    repository = open_repository(repo_path)
    if (find_target(repo_path, change.ref) or NOWHERE) != change.old:
        return Fault.STALE
    target = resolve_alias(repo_path, change.ref)
    is_commit = change.new in repository and object_kind(repository, change.new) == ObjectType.COMMIT
    if target.startswith(HEADS) and change.new != NOWHERE and not is_commit:
        return Fault.NO_COMMIT
    return Fault.NAME_IN_USE if _is_in_the_way(repository, target) else Fault.FAILED


def _is_in_the_way(repository: pygit2.Repository, ref: str) -> bool:
    """Whether another ref makes this name impossible: `dir` if this is `dir/sub`, or the other way round."""
    parts = ref.split("/")
    parents = {"/".join(parts[:depth]) for depth in range(3, len(parts))}
    names = (name.decode(errors="surrogateescape") for name in repository.raw_listall_references())
    return any(name in parents or name.startswith(ref + "/") for name in names)
