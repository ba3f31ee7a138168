"""What has been done to the refs, as the log is told of it."""

from dataclasses import dataclass

from app.core.commands import Command, CommandContext, handles
from events.record import NewEvent
from events.repositories import HeadMoved, RefUpdated

HEAD = "HEAD"


@dataclass(frozen=True)
class Move:
    """A ref that leads elsewhere now. `commit` is `new`, peeled; `version` the next one of the ref's stream.

    HEAD leads to the name of a branch and has no commit.
    """

    ref: str
    old: str
    new: str
    commit: str
    version: int


@dataclass(frozen=True, kw_only=True)
class RecordRefs(Command, decided=True):
    """What has moved on disk. The forge's own wish: git has decided already. A merge names its pull request."""

    project_id: int
    moves: list[Move]
    pull_request: int | None = None


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
    )
