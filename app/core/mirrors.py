"""What people may ask of mirrors, and what becomes of them, as the log is told of it."""

from dataclasses import dataclass

from app.core.access import require
from app.core.commands import Command, Deciding, handles
from app.errors import Conflict, NotFound
from events.record import Next
from events.repositories import MirrorChanged, MirrorPullRequested


@dataclass(frozen=True, kw_only=True)
class PullMirror(Command):
    """Bring a mirror up to what it mirrors now, and not when its time has come."""

    project_id: int


@handles(PullMirror)
async def pull_mirror(deciding: Deciding, wish: PullMirror) -> list[Next]:
    project = await deciding.project(wish.project_id)
    require(deciding.actor, "configure-project", project)
    if project["mirrored_from"] is None:
        raise NotFound("mirror")
    if project["head"] is None:
        raise Conflict("repository", "The repository is still being made; try again.")
    return [Next(MirrorPullRequested(project_id=wish.project_id), None)]


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
