"""Commands on an issue's metadata: status, milestone, assignee, custom fields, dependencies."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from app.actor import Actor
from app.core.access import may
from app.core.commands import Command, CommandContext, handles
from app.core.issues import build_issue_update, find_writable_issue, require_visible
from app.core.project_settings import get_setting
from app.core.urls import MAX_TEXT_LENGTH, URL, publishes_login
from app.core.users import find_assignee
from app.database import Database
from app.errors import Forbidden, Invalid, Subject
from app.queries import issues
from events.record import NewEvent

STATUSES = ("Open", "Closed")


def require_triage(actor: Actor, project: Mapping[str, Any], issue: Mapping[str, Any], *others: str | None) -> None:
    """Require the ticket level, unless the actor is one of `others` or the project opens its metadata to everybody."""
    require_visible(actor, project, issue)
    if may(actor, "triage-issues", project) or actor.username in others:
        return
    if actor.anonymous or not get_setting(project, "open_metadata_access_to_all"):
        raise Forbidden(Subject.TRIAGE_ISSUE)


def require_closer(actor: Actor, project: Mapping[str, Any], issue: Mapping[str, Any]) -> None:
    """Let the author and the assignee close and reopen an issue too."""
    require_triage(actor, project, issue, issue["assignee"], issue["author"])


@dataclass(frozen=True, kw_only=True)
class ChangeIssueStatus(Command):
    """Close an issue, with or without a close status, or reopen it."""

    project_id: int
    number: int
    status: str
    close_status: str | None = None


@handles(ChangeIssueStatus)
async def change_issue_status(ctx: CommandContext, command: ChangeIssueStatus) -> list[NewEvent]:
    project, issue = await find_writable_issue(ctx, command.project_id, command.number)
    require_closer(ctx.actor, project, issue)
    if command.status not in STATUSES:
        raise Invalid(Subject.CHOICE, "status", choices=STATUSES)
    if command.close_status and command.close_status not in project["close_status"]:
        raise Invalid(Subject.CHOICE, "close_status", choices=project["close_status"])
    reason = (command.close_status or None) if command.status == "Closed" else None
    changed = status_change(issue, command.status, reason)
    await require_closable(ctx.db, [(issue, changed)])
    return await build_issue_update(ctx, issue, changed)


def status_change(issue: Mapping[str, Any], status: str, reason: str | None) -> dict[str, Any]:
    """The fields that change with this status and close status."""
    wanted = {"status": status, "close_status": reason}
    return {field: value for field, value in wanted.items() if issue[field] != value}


async def require_closable(db: Database, changes: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]]) -> None:
    """Refuse to close issues that depend on open ones, after all of the changes: pairs of an issue and its change."""
    now = {issue["number"]: changed["status"] for issue, changed in changes if "status" in changed}
    closing = [issue for issue, changed in changes if changed.get("status") == "Closed"]
    awaited = {number for issue in closing for number in issue["depends"]}
    open_now = await issues.list_open(db, closing[0]["project_id"], sorted(awaited)) if closing else set()
    if any(now.get(number, "Open" if number in open_now else "Closed") == "Open" for number in awaited):
        raise Invalid(Subject.OPEN_DEPENDENCIES, "status")


@dataclass(frozen=True, kw_only=True)
class SetMilestone(Command):
    project_id: int
    number: int
    milestone: str | None


@handles(SetMilestone)
async def set_milestone(ctx: CommandContext, command: SetMilestone) -> list[NewEvent]:
    project, issue = await find_writable_issue(ctx, command.project_id, command.number)
    require_triage(ctx.actor, project, issue)
    milestone = command.milestone or None
    if milestone and milestone not in project["milestones"]:
        raise Invalid(Subject.CHOICE, "milestone", choices=list(project["milestones"]))
    if milestone == issue["milestone"]:
        return []
    return await build_issue_update(ctx, issue, {"milestone": milestone})


@dataclass(frozen=True, kw_only=True)
class AssignIssue(Command):
    """Assign an issue to a user, given by username or e-mail address; None removes the assignee."""

    project_id: int
    number: int
    assignee: str | None


@handles(AssignIssue)
async def assign_issue(ctx: CommandContext, command: AssignIssue) -> list[NewEvent]:
    project, issue = await find_writable_issue(ctx, command.project_id, command.number)
    require_triage(ctx.actor, project, issue, issue["assignee"])
    assignee = await find_assignee(ctx.db, command.assignee)
    if assignee == issue["assignee"]:
        return []
    return await build_issue_update(ctx, issue, {"assignee": assignee})


@dataclass(frozen=True, kw_only=True)
class SetCustomFields(Command):
    """Set custom fields, all or none: name to value, where a blank value removes the field."""

    project_id: int
    number: int
    fields: dict[str, str | None]


@handles(SetCustomFields)
async def set_custom_fields(ctx: CommandContext, command: SetCustomFields) -> list[NewEvent]:
    project, issue = await find_writable_issue(ctx, command.project_id, command.number)
    require_triage(ctx.actor, project, issue)
    if not command.fields:
        raise Invalid(Subject.NO_CUSTOM_FIELDS, "fields")
    types = {key[0]: key[1] for key in project["custom_keys"]}
    if not command.fields.keys() <= types.keys():
        raise Invalid(Subject.CUSTOM_FIELD, "fields")
    if not all(_are_links(value) for name, value in command.fields.items() if value and types[name] == "link"):
        raise Invalid(Subject.CUSTOM_FIELD_LINK, "fields")
    events: list[NewEvent] = []
    for name, given in command.fields.items():
        value = given or None
        if value != issue["custom_fields"].get(name):
            events += await build_issue_update(ctx, issue, {"custom_fields": {name: value}}, after=len(events))
    return events


def _are_links(value: str) -> bool:
    """Whether these are URLs without user parts, separated by commas; blanks are ignored."""
    if len(value) > MAX_TEXT_LENGTH or publishes_login(value):
        return False
    return all(URL.match("".join(part.split())) for part in value.split(","))


@dataclass(frozen=True, kw_only=True)
class AddDependency(Command):
    """Make an issue depend on another one, before which it cannot be closed."""

    project_id: int
    number: int
    depends_on: int


@handles(AddDependency)
async def add_dependency(ctx: CommandContext, command: AddDependency) -> list[NewEvent]:
    project, issue = await find_writable_issue(ctx, command.project_id, command.number)
    require_triage(ctx.actor, project, issue)
    awaited = await issues.find(ctx.db, command.project_id, command.depends_on)
    require_visible(ctx.actor, project, awaited)
    if command.depends_on in issue["depends"]:
        return []
    await require_no_cycle(ctx.db, command.project_id, {command.number: {command.depends_on}})
    return await build_issue_update(ctx, issue, {"depends": sorted([*issue["depends"], command.depends_on])})


async def require_no_cycle(db: Database, project_id: int, added: Mapping[int, set[int]]) -> None:
    """Refuse dependencies of an issue on itself, also through others: it could never be closed. `added` maps issues to
    their new dependencies.
    """
    waits = await issues.list_dependencies(db, project_id, sorted(set().union(*added.values())))
    for number, more in added.items():
        waits[number] = waits.get(number, set()) | more
    for number in added:
        reached, ahead = set[int](), waits[number]
        while ahead:
            reached |= ahead
            ahead = set[int]().union(*(waits.get(each, ()) for each in ahead)) - reached
        if number in reached:
            raise Invalid(Subject.DEPENDENCY_CYCLE, "dependencies")
