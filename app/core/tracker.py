"""What a project's administrators may ask of its issue tracker as a whole."""

from dataclasses import dataclass, field
from typing import Any

from app.core.access import require
from app.core.commands import Command, Deciding, handles
from app.core.issue_metadata import require_no_circle
from app.core.issues import LONGEST_TAG, updated
from app.core.tags import LONGEST_LOOK
from app.errors import Invalid
from app.queries import issues, tags
from events.issues import TagDefined
from events.projects import TrackerConfigured
from events.record import Next


@dataclass(frozen=True, kw_only=True)
class ConfigureTracker(Command):
    """Set the tracker's words, tags and what waits for what. What is not named stays.

    `changed` are milestones and their order, priorities and the one that is preset, close statuses and custom keys;
    `tags` are names with color and description; `dependencies` are pairs of numbers, of which the first waits for the
    second.
    """

    project_id: int
    changed: dict[str, Any]
    tags: dict[str, dict[str, str]] = field(default_factory=dict)
    dependencies: list[list[int]] = field(default_factory=list)


@handles(ConfigureTracker)
async def configure_tracker(deciding: Deciding, wish: ConfigureTracker) -> list[Next]:
    project = await deciding.project(wish.project_id)
    require(deciding.actor, "configure-project", project)
    changed = {name: value for name, value in wish.changed.items() if project[name] != value}
    words = [Next(TrackerConfigured(project_id=wish.project_id, changed=changed), None)] if changed else []
    return [*words, *await _tags(deciding, wish), *await _dependencies(deciding, wish)]


async def _tags(deciding: Deciding, wish: ConfigureTracker) -> list[Next]:
    if any(not name.strip() or len(name) > LONGEST_TAG for name in wish.tags):
        raise Invalid("tags", f"A tag has 1 to {LONGEST_TAG} characters.")
    if any(len(text) > LONGEST_LOOK for look in wish.tags.values() for text in look.values()):
        raise Invalid("tags", f"A tag's color and its description have {LONGEST_LOOK} characters at most.")
    now = await tags.looks(deciding.db, wish.project_id, list(wish.tags)) if wish.tags else {}
    return [
        Next(TagDefined(project_id=wish.project_id, tag=name, **look), None)
        for name, look in wish.tags.items()
        if now.get(name) != look
    ]


async def _dependencies(deciding: Deciding, wish: ConfigureTracker) -> list[Next]:
    waits: dict[int, set[int]] = {}
    for number, depends_on in wish.dependencies:
        waits.setdefault(number, set()).add(depends_on)
    if waits:
        await require_no_circle(deciding.db, wish.project_id, waits)
    found = []
    for number, wanted in waits.items():
        issue = await issues.find(deciding.db, wish.project_id, number)
        fresh = sorted(wanted - set(issue["depends"]))
        for depends_on in fresh:
            await issues.find(deciding.db, wish.project_id, depends_on)
        if not fresh:
            continue
        details = [f"Issue marked as depending on: #{each}" for each in fresh]
        found += await updated(deciding, issue, {"depends": sorted([*issue["depends"], *fresh])}, details)
    return found
