"""What people may ask of an issue tracker, and when the answer is yes."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from app.core.access import Actor, Level, level, may, may_see_issue, require
from app.core.addresses import URL
from app.core.commands import Command, Deciding, handles
from app.core.settings import setting
from app.errors import Conflict, Disabled, Forbidden, Invalid, NotFound
from app.queries import issues, users
from events.issues import IssueCommented, IssueOpened, IssueSubscribed, IssueUpdated, TagDefined, TagDeleted
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


async def _issue(deciding: Deciding, project_id: int, number: int) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """The project and an issue of it that may be written to and that the actor may see."""
    project = await deciding.project(project_id)
    require(deciding.actor, "read-issues", project)
    require_tracker(project, writing=True)
    issue = await issues.find(deciding.db, project_id, number, thread=False)
    require_visible(deciding.actor, project, issue)
    return project, issue


def require_triage(actor: Actor, project: Mapping[str, Any], issue: Mapping[str, Any], *others: str | None) -> None:
    """Metadata is for those who hold a ticket level, for `others`, and for everybody where the project says so."""
    if actor.anonymous:
        raise Forbidden("read-issue")
    if may(actor, "triage-issues", project) or actor.username in others:
        return
    if not setting(project, "open_metadata_access_to_all"):
        raise Forbidden("read-issue")


async def _updated(
    deciding: Deciding, issue: Mapping[str, Any], changed: dict[str, Any], details: list[str], *, told: bool = True
) -> list[Next]:
    """The change as an event, with the comment that tells of it."""
    if not changed:
        return []
    comment_id = await issues.next_comment_id(deciding.db) if told and details else None
    event = IssueUpdated(
        project_id=issue["project_id"], number=issue["number"], changed=changed, details=details, comment_id=comment_id
    )
    return [Next(event, issue["version"] + 1)]


@dataclass(frozen=True, kw_only=True)
class EditIssue(Command):
    """Say it in other words: for its author and those who may write."""

    project_id: int
    number: int
    title: str
    content: str


@handles(EditIssue)
async def edit_issue(deciding: Deciding, wish: EditIssue) -> list[Next]:
    project, issue = await _issue(deciding, wish.project_id, wish.number)
    if not (level(deciding.actor, project) >= Level.WRITE or deciding.actor.username == issue["author"]):
        raise Forbidden("edit-issue")
    wanted = {"title": wish.title, "content": wish.content}
    changed = {name: value for name, value in wanted.items() if issue[name] != value}
    return await _updated(deciding, issue, changed, [], told=False)


@dataclass(frozen=True, kw_only=True)
class ChangeIssueStatus(Command):
    """Close it, for a reason or none, or open it again."""

    project_id: int
    number: int
    status: str
    close_status: str | None = None


@handles(ChangeIssueStatus)
async def change_issue_status(deciding: Deciding, wish: ChangeIssueStatus) -> list[Next]:
    project, issue = await _issue(deciding, wish.project_id, wish.number)
    require_triage(deciding.actor, project, issue, issue["assignee"], issue["author"])
    reason = (wish.close_status or None) if wish.status == "Closed" else None
    if wish.status == "Closed" != issue["status"] and await issues.open_dependencies(deciding.db, issue):
        raise Invalid("dependencies", "You cannot close a ticket that has ticket depending that are still open.")
    changed: dict[str, Any] = {}
    details = []
    if wish.status != issue["status"]:
        changed["status"] = wish.status
        details.append(f"Issue status updated to: {wish.status} (was: {issue['status']})")
    if reason != issue["close_status"]:
        changed["close_status"] = reason
        if wish.status == "Closed":
            before = f" (was: {issue['close_status']})" if issue["close_status"] else ""
            details.append(f"Issue close_status updated to: {reason}{before}")
    return await _updated(deciding, issue, changed, details)


@dataclass(frozen=True, kw_only=True)
class SetMilestone(Command):
    project_id: int
    number: int
    milestone: str | None


@handles(SetMilestone)
async def set_milestone(deciding: Deciding, wish: SetMilestone) -> list[Next]:
    project, issue = await _issue(deciding, wish.project_id, wish.number)
    require_triage(deciding.actor, project, issue)
    milestone = wish.milestone or None
    if milestone and milestone not in project["milestones"]:
        raise Invalid("milestone", "Not a valid choice")
    if milestone == issue["milestone"]:
        return []
    before = f" (was: {issue['milestone']})" if issue["milestone"] else ""
    details = [f"Issue set to the milestone: {milestone}{before}"]
    return await _updated(deciding, issue, {"milestone": milestone}, details)


@dataclass(frozen=True, kw_only=True)
class AssignIssue(Command):
    """To somebody, by username or e-mail, or to nobody."""

    project_id: int
    number: int
    assignee: str | None


@handles(AssignIssue)
async def assign_issue(deciding: Deciding, wish: AssignIssue) -> list[Next]:
    project, issue = await _issue(deciding, wish.project_id, wish.number)
    require_triage(deciding.actor, project, issue, issue["assignee"])
    assignee = None
    if wish.assignee:
        assignee = await users.named(deciding.db, wish.assignee)
        if assignee is None:
            raise Invalid("assignee", f'No user "{wish.assignee}" found')
    if assignee == issue["assignee"]:
        return []
    before = f" (was: {issue['assignee']})" if issue["assignee"] else ""
    details = [f"Issue assigned to {assignee}{before}" if assignee else "Assignee reset"]
    return await _updated(deciding, issue, {"assignee": assignee}, details)


@dataclass(frozen=True, kw_only=True)
class SetCustomFields(Command):
    """Name to value; a blank value takes the field away. Either all of them are set or none."""

    project_id: int
    number: int
    fields: dict[str, str | None]


@handles(SetCustomFields)
async def set_custom_fields(deciding: Deciding, wish: SetCustomFields) -> list[Next]:
    project, issue = await _issue(deciding, wish.project_id, wish.number)
    require_triage(deciding.actor, project, issue)
    types = {key[0]: key[1] for key in project["custom_keys"]}
    if not wish.fields.keys() <= types.keys():
        raise Invalid("custom field")
    changed: dict[str, Any] = {}
    details = []
    for name, given in wish.fields.items():
        value = given or None
        if value and types[name] == "link" and not all(URL.match(part.strip()) for part in value.split(",")):
            raise Invalid("custom link field")
        before = issue["custom_fields"].get(name)
        if value != before:
            changed[name] = value
            details.append(field_detail(name, value, before))
    return await _updated(deciding, issue, {"custom_fields": changed} if changed else {}, details)


def field_detail(name: str, value: str | None, before: str | None) -> str:
    """What became of a custom field, in a sentence."""
    if value is None:
        return f"Custom field {name} reset (from {before})"
    return f"Custom field {name} adjusted to {value}" + (f" (was: {before})" if before is not None else "")


@dataclass(frozen=True, kw_only=True)
class SubscribeToIssue(Command):
    project_id: int
    number: int
    subscribed: bool


@handles(SubscribeToIssue)
async def subscribe_to_issue(deciding: Deciding, wish: SubscribeToIssue) -> list[Next]:
    await _issue(deciding, wish.project_id, wish.number)
    username = deciding.actor.username
    if not username:
        raise Forbidden("read-issue")
    if await issues.subscribed(deciding.db, wish.project_id, wish.number, username) == wish.subscribed:
        return []
    event = IssueSubscribed(
        project_id=wish.project_id, number=wish.number, username=username, subscribed=wish.subscribed
    )
    return [Next(event, None)]


@dataclass(frozen=True, kw_only=True)
class AddDependency(Command):
    """An issue waits for another: it cannot be closed before."""

    project_id: int
    number: int
    depends_on: int


@handles(AddDependency)
async def add_dependency(deciding: Deciding, wish: AddDependency) -> list[Next]:
    project, issue = await _issue(deciding, wish.project_id, wish.number)
    require_triage(deciding.actor, project, issue)
    if wish.depends_on == wish.number:
        raise Invalid("dependency", "An issue cannot wait for itself.")
    await issues.find(deciding.db, wish.project_id, wish.depends_on, thread=False)
    if wish.depends_on in issue["depends"]:
        return []
    details = [f"Issue marked as depending on: #{wish.depends_on}"]
    return await _updated(deciding, issue, {"depends": sorted([*issue["depends"], wish.depends_on])}, details)


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
    if await issues.tag(deciding.db, wish.project_id, wish.tag):
        raise Conflict("tag", "This tag is there already.")
    event = TagDefined(project_id=wish.project_id, tag=wish.tag, color=wish.color, description=wish.description)
    return [Next(event, None)]


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
    return [Next(TagDeleted(project_id=wish.project_id, tag=wish.tag), None)]
