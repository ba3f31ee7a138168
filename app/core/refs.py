"""What a push has done to the refs, as the log is told of it."""

from dataclasses import dataclass

from app.core.commands import Command, Deciding, handles
from events.record import Next
from events.repositories import RefUpdated


@dataclass(frozen=True)
class Move:
    """A ref that leads elsewhere now. `commit` is `new`, peeled; `version` the next one of the ref's stream."""

    ref: str
    old: str
    new: str
    commit: str
    version: int


@dataclass(frozen=True, kw_only=True)
class RecordRefs(Command, decided=True):
    """What has moved on disk. The forge's own wish: git has decided already."""

    project_id: int
    moves: list[Move]


@handles(RecordRefs)
async def record_refs(deciding: Deciding, wish: RecordRefs) -> list[Next]:
    return [
        Next(
            RefUpdated(project_id=wish.project_id, ref=move.ref, old=move.old, new=move.new, commit=move.commit),
            move.version,
        )
        for move in wish.moves
    ]
