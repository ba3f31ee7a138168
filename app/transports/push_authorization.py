"""Authorization of the ref commands of a push, by the rules in app/core/push_policy.py."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from app.actor import Actor
from app.core import paths, push_policy
from app.core.push_policy import BRANCHES, ZEROS, Change, PushReason, PushRefusal
from app.git import refs
from app.git.receive import NO_REQUIREMENTS, CommitRequirements, Verdict
from app.git.ref_changes import Fault
from app.http.wording import describe_push_refusal
from app.transports.pktline import PushCommands, RefCommand

ATOMIC = b"atomic"
ATOMIC_REFUSED = describe_push_refusal(PushReason.ATOMIC)


@dataclass(frozen=True)
class PushDecision:
    """Which commands of a push go on to git, and why the others are refused."""

    commands: PushCommands
    reasons: dict[bytes, str]  # by refused ref
    requirements: CommitRequirements  # checked by git's hooks
    atomic: bool


async def authorize_push(
    actor: Actor, project: Mapping[str, Any], repo_path: Path, commands: PushCommands, max_refs: int
) -> PushDecision:
    """Decide what can be decided by ref names alone. An alias is treated as the branch that it points to."""
    if len(commands.ref_commands) > max_refs:
        words = describe_push_refusal(PushReason.TOO_MANY_REFS, limit=max_refs)
        return PushDecision(
            commands.without(commands.refs), dict.fromkeys(commands.refs, words), NO_REQUIREMENTS, False
        )
    targets: dict[bytes, str] = {command.ref: _decode_ref(command.ref) for command in commands.ref_commands}
    requirements = push_policy.find_requirements(project)
    if push_policy.depends_on_branch(actor, project):
        targets = await asyncio.to_thread(
            lambda: {ref: refs.resolve_alias(repo_path, name) for ref, name in targets.items()}
        )
        forward = requirements.forward | _find_forward_only_refs(requirements, targets)
        requirements = replace(requirements, forward=forward)
    reasons = {
        command.ref: describe_push_refusal(refusal.reason)
        for command in commands.ref_commands
        if (refusal := _find_refusal(actor, project, command, targets[command.ref]))
    }
    atomic = ATOMIC in commands.capabilities
    if reasons and atomic:
        reasons = {ref: reasons.get(ref, ATOMIC_REFUSED) for ref in targets}
    remaining = commands.without(reasons) if reasons else commands
    if all(_build_change(command, "").deletes for command in remaining.ref_commands):
        requirements = NO_REQUIREMENTS  # no commits to check
    return PushDecision(remaining, reasons, requirements, atomic)


def _find_refusal(actor: Actor, project: Mapping[str, Any], command: RefCommand, target: str) -> PushRefusal | None:
    if not paths.is_storable_ref(command.ref):
        return PushRefusal(PushReason.NAME)
    return push_policy.find_refusal(actor, project, _build_change(command, target))


def _find_forward_only_refs(requirements: CommitRequirements, targets: Mapping[bytes, str]) -> frozenset[str]:
    """Return the branch names in the push, aliases included, whose target may only be fast-forwarded."""
    return frozenset(
        _decode_ref(ref).removeprefix(BRANCHES)
        for ref, target in targets.items()
        if target.startswith(BRANCHES) and requirements.only_forward(target.removeprefix(BRANCHES))
    )


def _build_change(command: RefCommand, ref: str) -> Change:
    return Change(ref, _decode_object_name(command.old), _decode_object_name(command.new))


def _decode_object_name(name: bytes) -> str:
    return name.decode("ascii", "replace") if name.strip(b"0") else ZEROS


def _decode_ref(ref: bytes) -> str:
    return ref.decode(errors="surrogateescape")


def describe_faults(faults: Mapping[str, Fault]) -> dict[str, str]:
    """Describe why refs were not changed."""
    return {ref: describe_push_refusal(PushReason(fault)) for ref, fault in faults.items()}


def describe_verdicts(verdicts: Mapping[bytes, Verdict], decision: PushDecision) -> dict[bytes, str]:
    """Describe why git's hooks refused refs. If they refused one of an atomic push, its other refs are refused too."""
    refusals = {ref: push_policy.refusal_from_verdict(verdict) for ref, verdict in verdicts.items()}
    reasons = {ref: describe_push_refusal(refusal.reason, refusal.commit) for ref, refusal in refusals.items()}
    if reasons and decision.atomic:
        return {ref: reasons.get(ref, ATOMIC_REFUSED) for ref in decision.commands.refs}
    return reasons
