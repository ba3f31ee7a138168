"""What people may ask of the tags of a tracker."""

from dataclasses import asdict, dataclass

from app.core.access import require
from app.core.commands import Command, Deciding, handles
from app.core.issues import LONGEST_TAG
from app.errors import Conflict, Invalid, NotFound
from app.queries import boards, issues
from events.issues import TagDefined, TagDeleted
from events.record import Next

LONGEST_LOOK = 255  # characters of a color or a description, which issues show with every board they are on


@dataclass(frozen=True, kw_only=True)
class DefineTag(Command):
    """A new tag of the tracker."""

    project_id: int
    tag: str
    color: str
    description: str = ""


@handles(DefineTag)
async def define_tag(deciding: Deciding, wish: DefineTag) -> list[Next]:
    project = await deciding.project(wish.project_id)
    require(deciding.actor, "manage-tags", project)
    if len(wish.tag) > LONGEST_TAG:
        raise Invalid("tag", f"Field cannot be longer than {LONGEST_TAG} characters.")
    for subject, text in (("tag color", wish.color), ("tag description", wish.description)):
        if len(text) > LONGEST_LOOK:
            raise Invalid(subject, f"Field cannot be longer than {LONGEST_LOOK} characters.")
    if await issues.tag(deciding.db, wish.project_id, wish.tag):
        raise Conflict("tag", "This tag is there already.")
    return [Next(TagDefined(**asdict(wish)), None)]


@dataclass(frozen=True, kw_only=True)
class DeleteTag(Command):
    project_id: int
    tag: str


@handles(DeleteTag)
async def delete_tag(deciding: Deciding, wish: DeleteTag) -> list[Next]:
    project = await deciding.project(wish.project_id)
    require(deciding.actor, "manage-tags", project)
    if not await issues.tag(deciding.db, wish.project_id, wish.tag):
        raise NotFound("tag")
    if used := await boards.with_tag(deciding.db, wish.project_id, wish.tag):
        raise Conflict("tag in use", f"This is the tag of a board: {', '.join(used)}")
    return [Next(TagDeleted(project_id=wish.project_id, tag=wish.tag), None)]
