"""Commands on the tags of a tracker."""

from dataclasses import asdict, dataclass

from app.core.access import require
from app.core.commands import Command, CommandContext, handles
from app.core.issues import MAX_TAG_LENGTH
from app.errors import Conflict, Invalid, NotFound, Subject
from app.queries import boards, issues
from events.issues import TagDefined, TagDeleted
from events.record import NewEvent

MAX_STYLE_LENGTH = 255  # characters of a color or a description; an issue shows them with each of its boards


@dataclass(frozen=True, kw_only=True)
class DefineTag(Command):
    """Create a tag."""

    project_id: int
    tag: str
    color: str
    description: str = ""


@handles(DefineTag)
async def define_tag(ctx: CommandContext, command: DefineTag) -> list[NewEvent]:
    project = await ctx.project(command.project_id)
    require(ctx.actor, "manage-tags", project)
    if len(command.tag) > MAX_TAG_LENGTH:
        raise Invalid(Subject.TOO_LONG, "tag", limit=MAX_TAG_LENGTH)
    for field, text in (("color", command.color), ("description", command.description)):
        if len(text) > MAX_STYLE_LENGTH:
            raise Invalid(Subject.TOO_LONG, field, limit=MAX_STYLE_LENGTH)
    if await issues.find_tag(ctx.db, command.project_id, command.tag):
        raise Conflict(Subject.TAG, "tag", name=command.tag)
    return [NewEvent(TagDefined(**asdict(command)), None)]


@dataclass(frozen=True, kw_only=True)
class DeleteTag(Command):
    project_id: int
    tag: str


@handles(DeleteTag)
async def delete_tag(ctx: CommandContext, command: DeleteTag) -> list[NewEvent]:
    project = await ctx.project(command.project_id)
    require(ctx.actor, "manage-tags", project)
    if not await issues.find_tag(ctx.db, command.project_id, command.tag):
        raise NotFound(Subject.TAG)
    if used := await boards.list_with_tag(ctx.db, command.project_id, command.tag):
        raise Conflict(Subject.TAG_IN_USE, boards=used)
    return [NewEvent(TagDeleted(project_id=command.project_id, tag=command.tag), None)]
