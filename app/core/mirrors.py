"""What becomes of mirrors, as the log is told of it."""

from dataclasses import dataclass

from app.core.commands import Command, Deciding, handles
from events.record import Next
from events.repositories import MirrorChanged


@dataclass(frozen=True, kw_only=True)
class MarkMirror(Command):
    """The forge's own wish: how the latest look at what is mirrored ended. Only what is new is told."""

    project_id: int
    failure: str | None


@handles(MarkMirror)
async def mark_mirror(deciding: Deciding, wish: MarkMirror) -> list[Next]:
    project = await deciding.project(wish.project_id)
    if project["mirror_failure"] == wish.failure:
        return []
    return [Next(MirrorChanged(project_id=wish.project_id, failure=wish.failure), None)]
