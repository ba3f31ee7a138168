"""Commands on issues and the rules for them."""

import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from app.actor import Actor
from app.core.access import Level, level, may_see_issue, require
from app.core.commands import Command, CommandContext, handles
from app.core.project_settings import get_setting
from app.core.users import find_assignee
from app.errors import Disabled, Forbidden, Invalid, Subject
from app.queries import comments, issues
from events.issues import IssueCommented, IssueOpened, IssueSubscribed, IssueUpdated
from events.record import NewEvent

MAX_TAG_LENGTH = 255
# Fields about whose changes the forge writes a comment.
COMMENTED = frozenset({"status", "close_status", "milestone", "assignee", "tags", "depends", "custom_fields"})


def require_tracker(project: Mapping[str, Any], *, writing: bool) -> None:
    if not get_setting(project, "issue_tracker"):
        raise Disabled(Subject.ISSUE_TRACKER)
    if writing and get_setting(project, "issue_tracker_read_only"):
        raise Disabled(Subject.READ_ONLY_TRACKER)


def require_visible(actor: Actor, project: Mapping[str, Any], issue: Mapping[str, Any]) -> None:
    if not may_see_issue(actor, project, issue):
        raise Forbidden(Subject.READ_ISSUE)


def require_editor(actor: Actor, project: Mapping[str, Any], issue: Mapping[str, Any]) -> None:
    """Let only the author and those who may write edit an issue's title and content."""
    require_visible(actor, project, issue)
    if level(actor, project) < Level.WRITE and actor.username != issue["author"]:
        raise Forbidden(Subject.EDIT_ISSUE)


async def find_writable_issue(
    ctx: CommandContext, project_id: int, number: int
) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """The project and one of its issues, if the tracker can be written to and the actor may see the issue."""
    project = await ctx.project(project_id)
    require(ctx.actor, "read-issues", project)
    require_tracker(project, writing=True)
    issue = await issues.find(ctx.db, project_id, number)
    require_visible(ctx.actor, project, issue)
    return project, issue


async def build_issue_update(
    ctx: CommandContext,
    issue: Mapping[str, Any],
    changed: dict[str, Any],
    *,
    after: int = 0,
    comment_id: int | None = None,
) -> list[NewEvent]:
    """The change as an event, which comes after `after` others of the same command, with the comment about it.

    The comment gets a fresh id, unless it has been given one.
    """
    if not changed:
        return []
    if is_commented(changed) and comment_id is None:
        comment_id = await comments.next_id(ctx.db)
    event = IssueUpdated(
        project_id=issue["project_id"],
        number=issue["number"],
        changed=changed,
        previous=previous_values(issue, changed),
        comment_id=comment_id,
    )
    return [NewEvent(event, issue["version"] + 1 + after)]


def is_commented(changed: Mapping[str, Any]) -> bool:
    """Whether the forge writes a comment about a change."""
    return not COMMENTED.isdisjoint(changed)


def previous_values(issue: Mapping[str, Any], changed: Mapping[str, Any]) -> dict[str, Any]:
    """The values before the change of the fields that a comment is about."""
    previous = {field: issue[field] for field in changed if field in COMMENTED}
    if "custom_fields" in changed:
        previous["custom_fields"] = {name: issue["custom_fields"].get(name) for name in changed["custom_fields"]}
    return previous


@dataclass(frozen=True, kw_only=True)
class OpenIssue(Command):
    project_id: int
    title: str
    content: str
    private: bool = False
    tags: list[str]
    assignee: str | None = None
    milestone: str | None = None
    priority: str | None = None
    files: list[str] = field(default_factory=list)  # attachments, by their names in app/disk/attachments.py


@handles(OpenIssue)
async def open_issue(ctx: CommandContext, command: OpenIssue) -> list[NewEvent]:
    project = await ctx.project(command.project_id)
    require(ctx.actor, "open-issue", project)
    require_tracker(project, writing=True)
    if command.priority and command.priority not in project["priorities"]:
        raise Invalid(Subject.CHOICE, "priority", choices=list(project["priorities"]))
    if command.milestone and command.milestone not in project["milestones"]:
        raise Invalid(Subject.CHOICE, "milestone", choices=list(project["milestones"]))
    if any(len(tag) > MAX_TAG_LENGTH for tag in command.tags):
        raise Invalid(Subject.TOO_LONG, "tag", limit=MAX_TAG_LENGTH)
    assignee = await find_assignee(ctx.db, command.assignee)
    return [
        NewEvent(
            IssueOpened(
                project_id=command.project_id,
                uid=uuid.uuid4().hex,
                title=command.title,
                content=command.content,
                author=ctx.actor.username,
                assignee=assignee,
                private=command.private,
                tags=sorted(set(command.tags)),
                milestone=command.milestone or None,
                priority=int(command.priority) if command.priority else None,
                files=command.files,
            )
        )
    ]


@dataclass(frozen=True, kw_only=True)
class CommentOnIssue(Command):
    project_id: int
    number: int
    comment: str


@handles(CommentOnIssue)
async def comment_on_issue(ctx: CommandContext, command: CommentOnIssue) -> list[NewEvent]:
    project = await ctx.project(command.project_id)
    require(ctx.actor, "comment-on-issue", project)
    require_tracker(project, writing=True)
    issue, comment_id = await issues.for_comment(ctx.db, command.project_id, command.number)
    require_visible(ctx.actor, project, issue)
    return [
        NewEvent(
            IssueCommented(
                project_id=command.project_id,
                number=command.number,
                comment_id=comment_id,
                comment=command.comment,
                author=ctx.actor.username,
            ),
            version=issue["version"] + 1,
        )
    ]


@dataclass(frozen=True, kw_only=True)
class EditIssue(Command):
    project_id: int
    number: int
    title: str
    content: str


@handles(EditIssue)
async def edit_issue(ctx: CommandContext, command: EditIssue) -> list[NewEvent]:
    project, issue = await find_writable_issue(ctx, command.project_id, command.number)
    require_editor(ctx.actor, project, issue)
    for name in ("title", "content"):
        if not getattr(command, name).strip():
            raise Invalid(Subject.REQUIRED, name)
    wanted = {"title": command.title, "content": command.content}
    changed = {name: value for name, value in wanted.items() if issue[name] != value}
    return await build_issue_update(ctx, issue, changed)


@dataclass(frozen=True, kw_only=True)
class SubscribeToIssue(Command):
    project_id: int
    number: int
    subscribed: bool


@handles(SubscribeToIssue)
async def subscribe_to_issue(ctx: CommandContext, command: SubscribeToIssue) -> list[NewEvent]:
    await find_writable_issue(ctx, command.project_id, command.number)
    username = ctx.actor.username
    if not username:
        raise Forbidden(Subject.READ_ISSUE)
    if await issues.is_subscribed(ctx.db, command.project_id, command.number, username) == command.subscribed:
        return []
    return [NewEvent(IssueSubscribed(**asdict(command), username=username), None)]
