"""What may become of a ref by a push: asked of each ref, before anything moves.

Whoever makes or moves a ref in somebody's name, by whatever way, asks `require`. What takes a look at commits is
demanded of git: by its hooks of a push (app/git/receive.py), by the workers of a merge and a rebase.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from app.actor import Actor
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
    """Why a ref may not be created, moved or deleted. Whoever answers words it: git's transport, or a dialect."""

    ATOMIC = "atomic"
    BRANCH = "branch"
    FORGE_REF = "forge-ref"
    MIRROR = "mirror"
    NEW_BRANCH = "new-branch"
    NOT_FORWARD = "not-forward"
    PULL_REQUESTS_ONLY = "pull-requests-only"
    SOME_BRANCHES_ONLY = "some-branches-only"
    UNDELETABLE = "undeletable"
    UNREADABLE = "unreadable"
    UNSIGNED = "unsigned"


@dataclass(frozen=True)
class PushRefusal:
    """A reason; `commit` is the one that is not signed off."""

    reason: PushReason
    commit: str = ""

    def error(self) -> Forbidden:
        return Forbidden(Subject.REF, reason=self.reason, commit=self.commit)


@dataclass(frozen=True)
class Change:
    """A ref, by its whole name, that is to lead from `old` to `new`: ZEROS where it is not, or no longer, there.

    An alias is to be named by the branch that it stands for.
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
    """Why the actor may not do this, as far as names can tell; None if they may."""
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
    """Why the project itself or its plugins do not have it, whoever asks and by whatever way."""
    if project["mirrored_from"] is not None:
        return PushRefusal(PushReason.MIRROR)
    if change.branch is None:
        return None
    if change.creates and plugin_fields(project, BLOCK_NEW_BRANCHES) is not None:
        return PushRefusal(PushReason.NEW_BRANCH)
    if change.deletes and find_requirements(project).only_forward(change.branch):
        return PushRefusal(PushReason.UNDELETABLE)
    return None


def require(actor: Actor, project: Row, change: Change) -> None:
    """Raise Forbidden if `find_refusal` finds a reason."""
    if refusal := find_refusal(actor, project, change):
        raise refusal.error()


def find_requirements(project: Row) -> CommitRequirements:
    """What the plugins of the project demand of the commits that a ref is to lead to."""
    forward: frozenset[str] = frozenset()
    fields = plugin_fields(project, BLOCK_NON_FAST_FORWARD)
    if fields is not None:
        names = {name.strip() for name in (fields["branches"] or EVERY_BRANCH).split(",")} - {""}
        forward = frozenset([EVERY_BRANCH] if EVERY_BRANCH in names or not names else names)
    return CommitRequirements(forward, plugin_fields(project, BLOCK_UNSIGNED) is not None)


def refusal_from_verdict(verdict: Verdict) -> PushRefusal:
    """What git's hooks have found, as a refusal."""
    return PushRefusal(PushReason(verdict.fault), verdict.commit)


def depends_on_branch(actor: Actor, project: Row) -> bool:
    """Whether branches are treated differently, so that it matters which one an alias stands for."""
    named = find_requirements(project).forward - {EVERY_BRANCH}
    return bool(named) or level(actor, project) < Level.WRITE
