"""What a push has done to the refs, as the log is told of it."""

from dataclasses import dataclass

from app.core.commands import Command, Deciding, handles
from app.queries import refs
from app.queries.refs import ZEROS
from events.record import Next
from events.repositories import RefUpdated


@dataclass(frozen=True, kw_only=True)
class RecordRefs(Command):
    """The refs as they are on disk: `[ref, object, commit]` each. The forge's own wish: git has decided already."""

    project_id: int
    found: list[list[str]]


@handles(RecordRefs)
async def record_refs(deciding: Deciding, wish: RecordRefs) -> list[Next]:
    known = await refs.known(deciding.db, wish.project_id)
    there = {ref: (target, commit) for ref, target, commit in wish.found}
    happened = []
    for ref in sorted(known.keys() | there.keys()):
        old, version = known.get(ref, (ZEROS, 0))
        new, commit = there.get(ref, (ZEROS, ZEROS))
        if old != new:
            event = RefUpdated(project_id=wish.project_id, ref=ref, old=old, new=new, commit=commit)
            happened.append(Next(event, version + 1))
    return happened
