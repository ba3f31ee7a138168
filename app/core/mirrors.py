"""Commands on mirrors of repositories elsewhere."""

from dataclasses import dataclass

from app.core.access import require
from app.core.commands import Command, CommandContext, handles
from app.errors import Conflict, NotFound, Subject
from events.record import NewEvent
from events.repositories import MirrorChanged, MirrorPullRequested


@dataclass(frozen=True, kw_only=True)
class PullMirror(Command):
    """Update a mirror now instead of at its next poll."""

    project_id: int


@handles(PullMirror)
async def pull_mirror(ctx: CommandContext, command: PullMirror) -> list[NewEvent]:
    project = await ctx.project(command.project_id)
    require(ctx.actor, "configure-project", project)
    ctx.policy.require_mirroring()
    if project["mirrored_from"] is None:
        raise NotFound(Subject.MIRROR)
    if project["head"] is None:
        raise Conflict(Subject.REPOSITORY)
    return [NewEvent(MirrorPullRequested(project_id=command.project_id), None)]


@dataclass(frozen=True, kw_only=True)
class MarkMirror(Command):
    """Record how the latest poll ended, if that has changed. Issued by the forge itself."""

    project_id: int
    failure: str | None


@handles(MarkMirror)
async def mark_mirror(ctx: CommandContext, command: MarkMirror) -> list[NewEvent]:
    project = await ctx.project(command.project_id)
    if project["mirror_failure"] == command.failure:
        return []
    return [NewEvent(MirrorChanged(project_id=command.project_id, failure=command.failure), None)]
