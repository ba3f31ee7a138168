"""The command that records moved refs."""

from dataclasses import dataclass, field

from app.core.commands import Command, CommandContext, handles
from events.record import NewEvent
from events.repositories import HeadMoved, RefUpdated

HEAD = "HEAD"


@dataclass(frozen=True)
class Move:
    """A ref that moved. `commit` is `new`, peeled; `version` is the next one of the ref's stream.

    HEAD points to the name of a branch and has no commit.
    """

    ref: str
    old: str
    new: str
    commit: str
    version: int


@dataclass(frozen=True, kw_only=True)
class RecordRefs(Command, single_try=True):
    """Record what moved on disk, which git has decided already. `pull_request` is the number of one that was merged,
    `options` are the options of a push.
    """

    project_id: int
    moves: list[Move]
    pull_request: int | None = None
    options: list[str] = field(default_factory=list)


@handles(RecordRefs)
async def record_refs(ctx: CommandContext, command: RecordRefs) -> list[NewEvent]:
    return [NewEvent(_build_event(command, move), move.version) for move in command.moves]


def _build_event(command: RecordRefs, move: Move) -> RefUpdated | HeadMoved:
    if move.ref == HEAD:
        return HeadMoved(project_id=command.project_id, old=move.old, new=move.new)
    return RefUpdated(
        project_id=command.project_id,
        ref=move.ref,
        old=move.old,
        new=move.new,
        commit=move.commit,
        pull_request=command.pull_request,
        options=command.options,
    )
