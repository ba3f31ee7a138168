"""The command that configures an issue tracker."""

from dataclasses import dataclass, field
from typing import Any

from app.core.access import require
from app.core.commands import Command, CommandContext, handles
from app.core.issue_metadata import require_no_cycle
from app.core.issues import MAX_TAG_LENGTH, build_issue_update
from app.core.tags import MAX_STYLE_LENGTH
from app.errors import Invalid, Subject
from app.queries import issues, tags
from events.issues import TagDefined
from events.projects import TrackerConfigured
from events.record import NewEvent


@dataclass(frozen=True, kw_only=True)
class ConfigureTracker(Command):
    """Change the settings and tags of a tracker, and add dependencies. What is not named stays.

    `changed` holds milestones and their order, priorities and the default one, close statuses and custom keys; `tags`
    are names with color and description; in each pair of `dependencies` the first issue depends on the second.
    """

    project_id: int
    changed: dict[str, Any]
    tags: dict[str, dict[str, str]] = field(default_factory=dict)
    dependencies: list[list[int]] = field(default_factory=list)


@handles(ConfigureTracker)
async def configure_tracker(ctx: CommandContext, command: ConfigureTracker) -> list[NewEvent]:
    project = await ctx.project(command.project_id)
    require(ctx.actor, "configure-project", project)
    changed = {name: value for name, value in command.changed.items() if project[name] != value}
    words = [NewEvent(TrackerConfigured(project_id=command.project_id, changed=changed), None)] if changed else []
    return [*words, *await _tags(ctx, command), *await _dependencies(ctx, command)]


async def _tags(ctx: CommandContext, command: ConfigureTracker) -> list[NewEvent]:
    if any(not name.strip() or len(name) > MAX_TAG_LENGTH for name in command.tags):
        raise Invalid(Subject.TAG_NAME, "tags", limit=MAX_TAG_LENGTH)
    if any(len(text) > MAX_STYLE_LENGTH for look in command.tags.values() for text in look.values()):
        raise Invalid(Subject.TAG_STYLE, "tags", limit=MAX_STYLE_LENGTH)
    now = await tags.list_styles(ctx.db, command.project_id, list(command.tags)) if command.tags else {}
    return [
        NewEvent(TagDefined(project_id=command.project_id, tag=name, **look), None)
        for name, look in command.tags.items()
        if now.get(name) != look
    ]


async def _dependencies(ctx: CommandContext, command: ConfigureTracker) -> list[NewEvent]:
    waits: dict[int, set[int]] = {}
    for number, depends_on in command.dependencies:
        waits.setdefault(number, set()).add(depends_on)
    if waits:
        await require_no_cycle(ctx.db, command.project_id, waits)
    found = []
    for number, wanted in waits.items():
        issue = await issues.find(ctx.db, command.project_id, number)
        fresh = sorted(wanted - set(issue["depends"]))
        for depends_on in fresh:
            await issues.find(ctx.db, command.project_id, depends_on)
        if not fresh:
            continue
        found += await build_issue_update(ctx, issue, {"depends": sorted([*issue["depends"], *fresh])})
    return found
