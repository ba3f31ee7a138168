"""Which refs of a push may move: the rules are the core's (app/core/push_policy.py), asked here of each command."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from app.actor import Actor
from app.core import push_policy
from app.core.push_policy import BRANCHES, ZEROS, Change, PushReason
from app.git import refs
from app.git.receive import NO_REQUIREMENTS, CommitRequirements, Verdict
from app.http.wording import describe_push_refusal
from app.transports.pktline import PushCommands, RefCommand

ATOMIC = b"atomic"
ATOMIC_REFUSED = describe_push_refusal(PushReason.ATOMIC)


@dataclass(frozen=True)
class PushDecision:
    """`commands` is what git is to be asked, `reasons` why the other refs stay, `demands` what its hooks look for."""

    commands: PushCommands
    reasons: dict[bytes, str]
    demands: CommitRequirements
    atomic: bool


async def authorize_push(
    actor: Actor, project: Mapping[str, Any], repo_path: Path, commands: PushCommands
) -> PushDecision:
    """What names tell. An alias is judged as the branch that it stands for."""
    meant: dict[bytes, str] = {command.ref: _decode_ref(command.ref) for command in commands.ref_commands}
    demands = push_policy.find_requirements(project)
    if push_policy.depends_on_branch(actor, project):
        meant = await asyncio.to_thread(
            lambda: {ref: refs.resolve_alias(repo_path, name) for ref, name in meant.items()}
        )
        demands = replace(demands, forward=demands.forward | _aliases(demands, meant))
    reasons = {
        command.ref: describe_push_refusal(refusal.reason)
        for command in commands.ref_commands
        if (refusal := push_policy.find_refusal(actor, project, _build_change(command, meant[command.ref])))
    }
    atomic = ATOMIC in commands.capabilities
    if reasons and atomic:
        reasons = {ref: reasons.get(ref, ATOMIC_REFUSED) for ref in meant}
    left = commands.without(reasons) if reasons else commands
    if all(_build_change(command, "").deletes for command in left.ref_commands):
        demands = NO_REQUIREMENTS  # there is nothing to look at
    return PushDecision(left, reasons, demands, atomic)


def _aliases(demands: CommitRequirements, meant: Mapping[bytes, str]) -> frozenset[str]:
    """The names in the push that stand for branches which only move forward."""
    return frozenset(
        _decode_ref(ref).removeprefix(BRANCHES)
        for ref, name in meant.items()
        if name.startswith(BRANCHES) and demands.only_forward(name.removeprefix(BRANCHES))
    )


def _build_change(command: RefCommand, ref: str) -> Change:
    return Change(ref, _object_name(command.old), _object_name(command.new))


def _object_name(name: bytes) -> str:
    return name.decode("ascii", "replace") if name.strip(b"0") else ZEROS


def _decode_ref(ref: bytes) -> str:
    return ref.decode(errors="surrogateescape")


def describe_verdicts(verdicts: Mapping[bytes, Verdict], judged: PushDecision) -> dict[bytes, str]:
    """Why refs that git's hooks have declined stay; in an atomic push none of the others moves either."""
    refusals = {ref: push_policy.refusal_from_verdict(verdict) for ref, verdict in verdicts.items()}
    reasons = {ref: describe_push_refusal(refusal.reason, refusal.commit) for ref, refusal in refusals.items()}
    if reasons and judged.atomic:
        return {ref: reasons.get(ref, ATOMIC_REFUSED) for ref in judged.commands.refs}
    return reasons
