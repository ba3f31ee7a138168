"""What may become of a ref by a push: asked of each ref, before anything moves.

Whoever makes or moves a ref in somebody's name, by whatever way, asks `require`. What takes a look at commits is
demanded of git: by its hooks of a push (app/git/receive.py), by the workers of a merge and a rebase.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from app.core.access import Actor, Level, level, may_write
from app.core.plugins import BLOCK_NEW_BRANCHES, BLOCK_NON_FAST_FORWARD, BLOCK_UNSIGNED, installed
from app.core.settings import setting
from app.errors import Forbidden
from app.git.receive import EVERY, Demands, Fault, Verdict

Row = Mapping[str, Any]

ZEROS = "0" * 40
BRANCHES = "refs/heads/"
FORGES_OWN = ("refs/pull/", "refs/internal/")

MIRRORED = "This project is a mirror, and changes where it is mirrored from."
UNDELETABLE = "This branch is not to be deleted."
TOGETHER = "Another ref of this atomic push was refused."
FAULTS = {
    Fault.NOT_FORWARD: "This branch only moves forward.",
    Fault.UNSIGNED: "Commit {} is not signed off.",
    Fault.UNREADABLE: "The commits of this push cannot be read.",
}


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


def refusal(actor: Actor, project: Row, change: Change) -> str | None:
    """Why the actor may not do this, as far as names can tell; None if they may."""
    if change.ref.startswith(FORGES_OWN):
        return "This ref is the forge's own."
    if change.branch is None:
        writes = level(actor, project) >= Level.WRITE
        return declined(project, change) if writes else "You may push to some branches only."
    if setting(project, "pull_request_access_only"):
        return "Branches of this project are changed by pull-requests only."
    if not may_write(actor, project, change.branch):
        return "You may not push to this branch."
    return declined(project, change)


def declined(project: Row, change: Change) -> str | None:
    """Why the project itself or its plugins do not have it, whoever asks and by whatever way."""
    if project["mirrored_from"] is not None:
        return MIRRORED
    if change.branch is None:
        return None
    if change.creates and installed(project, BLOCK_NEW_BRANCHES) is not None:
        return "This project takes no new branches."
    if change.deletes and demands(project).only_forward(change.branch):
        return UNDELETABLE
    return None


def require(actor: Actor, project: Row, change: Change) -> None:
    """Refuse what `refusal` has something against, with its sentence."""
    if sentence := refusal(actor, project, change):
        raise Forbidden("ref", sentence)


def demands(project: Row) -> Demands:
    """What the plugins of the project demand of the commits that a ref is to lead to."""
    forward: frozenset[str] = frozenset()
    fields = installed(project, BLOCK_NON_FAST_FORWARD)
    if fields is not None:
        names = {name.strip() for name in (fields["branches"] or EVERY).split(",")} - {""}
        forward = frozenset([EVERY] if EVERY in names or not names else names)
    return Demands(forward, installed(project, BLOCK_UNSIGNED) is not None)


def sentence(verdict: Verdict) -> str:
    return FAULTS[verdict.fault].format(verdict.commit)


def told_apart(actor: Actor, project: Row) -> bool:
    """Whether branches are treated differently, so that it matters which one an alias stands for."""
    named = demands(project).forward - {EVERY}
    return bool(named) or level(actor, project) < Level.WRITE
