"""What people may ask of an issue tracker, and when the answer is yes."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from app.core.access import Actor, may_see_issue, require
from app.core.commands import Command, Deciding, handles
from app.errors import Disabled, Forbidden, Invalid
from app.queries import issues, users
from events.issues import IssueCommented, IssueOpened
from events.record import Next

LONGEST_TAG = 255


def setting(project: Mapping[str, Any], name: str, default: bool) -> bool:
    """One of the project's switches; the row holds only what differs from the default."""
    value: bool = project["settings"].get(name, default)
    return value


def require_tracker(project: Mapping[str, Any], *, writing: bool) -> None:
    if not setting(project, "issue_tracker", True):
        raise Disabled("issue tracker")
    if writing and setting(project, "issue_tracker_read_only", False):
        raise Disabled("writing to the issue tracker")


def require_visible(actor: Actor, project: Mapping[str, Any], issue: Mapping[str, Any]) -> None:
    if not may_see_issue(actor, project, issue):
        raise Forbidden("read-issue")


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


@handles(OpenIssue)
async def open_issue(deciding: Deciding, wish: OpenIssue) -> list[Next]:
    project = await deciding.project(wish.project_id)
    require(deciding.actor, "open-issue", project)
    require_tracker(project, writing=True)
    if deciding.actor.anonymous:
        raise Forbidden("open-issue")
    if wish.priority and wish.priority not in project["priorities"]:
        raise Invalid("priority", "Not a valid choice")
    if wish.milestone and wish.milestone not in project["milestones"]:
        raise Invalid("milestone", "Not a valid choice")
    if any(len(tag) > LONGEST_TAG for tag in wish.tags):
        raise Invalid("tag", f"Field cannot be longer than {LONGEST_TAG} characters.")
    assignee = None
    if wish.assignee:
        assignee = await users.named(deciding.db, wish.assignee)
        if assignee is None:
            raise Invalid("assignee", f'No user "{wish.assignee}" found')
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
    if deciding.actor.anonymous:
        raise Forbidden("comment-on-issue")
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
