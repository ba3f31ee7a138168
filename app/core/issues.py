"""What people may ask of an issue tracker, and when the answer is yes."""

import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from app.core.access import Actor, Level, level, may_see_issue, require
from app.core.commands import Command, Deciding, handles
from app.core.settings import setting
from app.core.users import assignee_named
from app.errors import Disabled, Forbidden, Invalid
from app.queries import comments, issues
from events.issues import IssueCommented, IssueOpened, IssueSubscribed, IssueUpdated
from events.record import Next

LONGEST_TAG = 255


def require_tracker(project: Mapping[str, Any], *, writing: bool) -> None:
    if not setting(project, "issue_tracker"):
        raise Disabled("issue tracker")
    if writing and setting(project, "issue_tracker_read_only"):
        raise Disabled("writing to the issue tracker")


def require_visible(actor: Actor, project: Mapping[str, Any], issue: Mapping[str, Any]) -> None:
    if not may_see_issue(actor, project, issue):
        raise Forbidden("read-issue")


def require_editor(actor: Actor, project: Mapping[str, Any], issue: Mapping[str, Any]) -> None:
    """What an issue says is for those who may write, and for its author."""
    require_visible(actor, project, issue)
    if level(actor, project) < Level.WRITE and actor.username != issue["author"]:
        raise Forbidden("edit-issue")


async def issue_to_write(
    deciding: Deciding, project_id: int, number: int
) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """The project and an issue of it that may be written to and that the actor may see."""
    project = await deciding.project(project_id)
    require(deciding.actor, "read-issues", project)
    require_tracker(project, writing=True)
    issue = await issues.find(deciding.db, project_id, number)
    require_visible(deciding.actor, project, issue)
    return project, issue


async def updated(
    deciding: Deciding,
    issue: Mapping[str, Any],
    changed: dict[str, Any],
    details: list[str],
    *,
    after: int = 0,
    comment_id: int | None = None,
) -> list[Next]:
    """The change as an event, `after` so many others of the same wish, with the comment that tells of it.

    The comment gets a fresh id, unless it has been given one.
    """
    if not changed:
        return []
    if details and comment_id is None:
        comment_id = await comments.next_id(deciding.db)
    event = IssueUpdated(
        project_id=issue["project_id"], number=issue["number"], changed=changed, details=details, comment_id=comment_id
    )
    return [Next(event, issue["version"] + 1 + after)]


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
    files: list[str] = field(default_factory=list)  # that came with it, as app/attachments.py calls them


@handles(OpenIssue)
async def open_issue(deciding: Deciding, wish: OpenIssue) -> list[Next]:
    project = await deciding.project(wish.project_id)
    require(deciding.actor, "open-issue", project)
    require_tracker(project, writing=True)
    if wish.priority and wish.priority not in project["priorities"]:
        raise Invalid("priority", "Not a valid choice")
    if wish.milestone and wish.milestone not in project["milestones"]:
        raise Invalid("milestone", "Not a valid choice")
    if any(len(tag) > LONGEST_TAG for tag in wish.tags):
        raise Invalid("tag", f"Field cannot be longer than {LONGEST_TAG} characters.")
    assignee = await assignee_named(deciding.db, wish.assignee)
    return [
        Next(
            IssueOpened(
                project_id=wish.project_id,
                uid=uuid.uuid4().hex,
                title=wish.title,
                content=wish.content,
                author=deciding.actor.username,
                assignee=assignee,
                private=wish.private,
                tags=sorted(set(wish.tags)),
                milestone=wish.milestone or None,
                priority=int(wish.priority) if wish.priority else None,
                files=wish.files,
            )
        )
    ]


@dataclass(frozen=True, kw_only=True)
class CommentOnIssue(Command):
    project_id: int
    number: int
    comment: str


@handles(CommentOnIssue)
async def comment_on_issue(deciding: Deciding, wish: CommentOnIssue) -> list[Next]:
    project = await deciding.project(wish.project_id)
    require(deciding.actor, "comment-on-issue", project)
    require_tracker(project, writing=True)
    issue, comment_id = await issues.for_comment(deciding.db, wish.project_id, wish.number)
    require_visible(deciding.actor, project, issue)
    return [
        Next(
            IssueCommented(
                project_id=wish.project_id,
                number=wish.number,
                comment_id=comment_id,
                comment=wish.comment,
                author=deciding.actor.username,
            ),
            version=issue["version"] + 1,
        )
    ]


@dataclass(frozen=True, kw_only=True)
class EditIssue(Command):
    """Say it in other words."""

    project_id: int
    number: int
    title: str
    content: str


@handles(EditIssue)
async def edit_issue(deciding: Deciding, wish: EditIssue) -> list[Next]:
    project, issue = await issue_to_write(deciding, wish.project_id, wish.number)
    require_editor(deciding.actor, project, issue)
    for name in ("title", "content"):
        if not getattr(wish, name).strip():
            raise Invalid(name, "This field is required.")
    wanted = {"title": wish.title, "content": wish.content}
    changed = {name: value for name, value in wanted.items() if issue[name] != value}
    return await updated(deciding, issue, changed, [])


@dataclass(frozen=True, kw_only=True)
class SubscribeToIssue(Command):
    project_id: int
    number: int
    subscribed: bool


@handles(SubscribeToIssue)
async def subscribe_to_issue(deciding: Deciding, wish: SubscribeToIssue) -> list[Next]:
    await issue_to_write(deciding, wish.project_id, wish.number)
    username = deciding.actor.username
    if not username:
        raise Forbidden("read-issue")
    if await issues.subscribed(deciding.db, wish.project_id, wish.number, username) == wish.subscribed:
        return []
    return [Next(IssueSubscribed(**asdict(wish), username=username), None)]
