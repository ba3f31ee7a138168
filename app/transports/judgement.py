"""Which refs of a push may move: the rules are the core's (app/core/push_policy.py), asked here of each command."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from app.core import push_policy
from app.core.access import Actor
from app.core.push_policy import BRANCHES, ZEROS, Change
from app.git import refs
from app.git.receive import NOTHING, Demands
from app.transports.pktline import Command, Commands

ATOMIC = b"atomic"


@dataclass(frozen=True)
class Judgement:
    """`commands` is what git is to be asked, `reasons` why the other refs stay, `demands` what its hooks look for."""

    commands: Commands
    reasons: dict[bytes, str]
    demands: Demands
    atomic: bool


async def judge(actor: Actor, project: Mapping[str, Any], place: Path, commands: Commands) -> Judgement:
    """What names tell. An alias is judged as the branch that it stands for."""
    meant: dict[bytes, str] = {command.ref: _text(command.ref) for command in commands.asked}
    demands = push_policy.demands(project)
    if push_policy.told_apart(actor, project):
        meant = await asyncio.to_thread(lambda: {ref: refs.meant(place, name) for ref, name in meant.items()})
        demands = replace(demands, forward=demands.forward | _aliases(demands, meant))
    reasons = {
        command.ref: reason
        for command in commands.asked
        if (reason := push_policy.refusal(actor, project, _change(command, meant[command.ref])))
    }
    atomic = ATOMIC in commands.capabilities
    if reasons and atomic:
        reasons = {ref: reasons.get(ref, push_policy.TOGETHER) for ref in meant}
    left = commands.without(reasons) if reasons else commands
    if all(_change(command, "").deletes for command in left.asked):
        demands = NOTHING  # there is nothing to look at
    return Judgement(left, reasons, demands, atomic)


def _aliases(demands: Demands, meant: Mapping[bytes, str]) -> frozenset[str]:
    """The names in the push that stand for branches which only move forward."""
    return frozenset(
        _text(ref).removeprefix(BRANCHES)
        for ref, name in meant.items()
        if name.startswith(BRANCHES) and demands.only_forward(name.removeprefix(BRANCHES))
    )


def _change(command: Command, ref: str) -> Change:
    return Change(ref, _object(command.old), _object(command.new))


def _object(name: bytes) -> str:
    return name.decode("ascii", "replace") if name.strip(b"0") else ZEROS


def _text(ref: bytes) -> str:
    return ref.decode(errors="surrogateescape")
