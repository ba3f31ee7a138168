"""Rules for the refs that a push may create, move and delete.

Code that changes a ref for a user calls `require` before it moves anything. Rules about the content of
commits are checked by git: by hooks for a push (app/git/receive.py), by the workers for a merge or a rebase.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from app.actor import Actor
from app.core import paths
from app.core.access import Level, level, may_write
from app.core.plugins import BLOCK_NEW_BRANCHES, BLOCK_NON_FAST_FORWARD, BLOCK_UNSIGNED, plugin_fields
from app.core.project_settings import get_setting
from app.errors import Forbidden, Subject
from app.git.receive import EVERY_BRANCH, CommitRequirements, Verdict

Row = Mapping[str, Any]

ZEROS = "0" * 40
BRANCHES = "refs/heads/"
FORGE_REFS = ("refs/pull/", "refs/internal/")


class PushReason(StrEnum):
    """The reason why a ref may not be created, moved or deleted. Git's transport and the dialects word it."""

    ATOMIC = "atomic"
    BRANCH = "branch"
    DEFAULT_BRANCH = "default-branch"
    FAILED = "failed"
    FORGE_REF = "forge-ref"
    MIRROR = "mirror"
    NAME = "name"
    NAME_IN_USE = "name-in-use"
    NEW_BRANCH = "new-branch"
    NO_COMMIT = "no-commit"
    NOT_FORWARD = "not-forward"
    PULL_REQUESTS_ONLY = "pull-requests-only"
    SOME_BRANCHES_ONLY = "some-branches-only"
    STALE = "stale"
    TOO_MANY_REFS = "too-many-refs"
    UNDELETABLE = "undeletable"
    UNREADABLE = "unreadable"
    UNSIGNED = "unsigned"


@dataclass(frozen=True)
class PushRefusal:
    """A reason, with the commit that is not signed off if that is the reason."""

    reason: PushReason
    commit: str = ""

    def error(self) -> Forbidden:
        return Forbidden(Subject.REF, reason=self.reason, commit=self.commit)


@dataclass(frozen=True)
class Change:
    """A change of a ref, given by its full name, from `old` to `new`; ZEROS stands for a ref that does not exist.

    For an alias, `ref` must be the branch that it stands for.
    """

    ref: str
    old: str
    new: str

    @property
    def branch(self) -> str | None:
        return self.ref.removeprefix(BRANCHES) if self.ref.startswith(BRANCHES) else None

    @property
    def deletes(self) -> bool:
        return self.new == ZEROS

    @property
    def creates(self) -> bool:
        return self.old == ZEROS and not self.deletes


def find_refusal(actor: Actor, project: Row, change: Change) -> PushRefusal | None:
    """Return the reason why the actor may not make this change, by names alone; None if they may."""
    if change.ref.startswith(FORGE_REFS):
        return PushRefusal(PushReason.FORGE_REF)
    if change.branch is None:
        if level(actor, project) < Level.WRITE:
            return PushRefusal(PushReason.SOME_BRANCHES_ONLY)
        return find_project_refusal(project, change)
    if get_setting(project, "pull_request_access_only"):
        return PushRefusal(PushReason.PULL_REQUESTS_ONLY)
    if not may_write(actor, project, change.branch):
        return PushRefusal(PushReason.BRANCH)
    return find_project_refusal(project, change)


def find_project_refusal(project: Row, change: Change) -> PushRefusal | None:
    """Return the reason why the project or one of its plugins forbids the change to all users; None if allowed."""
    if project["mirrored_from"] is not None:
        return PushRefusal(PushReason.MIRROR)
    if change.creates and not paths.is_clear_ref_name(change.ref):
        return PushRefusal(PushReason.NAME)
    if change.branch is None:
        return None
    if change.creates and plugin_fields(project, BLOCK_NEW_BRANCHES) is not None:
        return PushRefusal(PushReason.NEW_BRANCH)
    if change.deletes and find_requirements(project).only_forward(change.branch):
        return PushRefusal(PushReason.UNDELETABLE)
    if change.deletes and change.branch == project["head"]:
        return PushRefusal(PushReason.DEFAULT_BRANCH)
    return None


def require(actor: Actor, project: Row, change: Change) -> None:
    """Raise Forbidden if `find_refusal` finds a reason."""
    if refusal := find_refusal(actor, project, change):
        raise refusal.error()


def find_requirements(project: Row) -> CommitRequirements:
    """Return what the plugins of the project require of the commits of a push."""
    forward: frozenset[str] = frozenset()
    fields = plugin_fields(project, BLOCK_NON_FAST_FORWARD)
    if fields is not None:
        names = {name.strip() for name in (fields["branches"] or EVERY_BRANCH).split(",")} - {""}
        forward = frozenset([EVERY_BRANCH] if EVERY_BRANCH in names or not names else names)
    return CommitRequirements(forward, plugin_fields(project, BLOCK_UNSIGNED) is not None)


def refusal_from_verdict(verdict: Verdict) -> PushRefusal:
    """Convert the verdict of git's hooks to a refusal."""
    return PushRefusal(PushReason(verdict.fault), verdict.commit)


def depends_on_branch(actor: Actor, project: Row) -> bool:
    """Whether rules differ between branches, so that the branch behind an alias matters."""
    named = find_requirements(project).forward - {EVERY_BRANCH}
    return bool(named) or level(actor, project) < Level.WRITE
