"""Events of issues and of the tags of a tracker."""

from dataclasses import dataclass, field
from typing import Any

from events.event import Event


@dataclass(frozen=True, kw_only=True)
class IssueOpened(Event, event_type="issue.opened", stream="issue-{project_id}/{number}", takes_number=True):
    project_id: int
    number: int = 0
    uid: str
    title: str
    content: str
    author: str
    assignee: str | None
    private: bool
    tags: list[str]
    milestone: str | None
    priority: int | None
    files: list[str] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class IssueCommented(Event, event_type="issue.commented", stream="issue-{project_id}/{number}"):
    """A comment was added. With a `note` (events/notes.py) the forge wrote it for the author; `comment` is empty."""

    project_id: int
    number: int
    comment_id: int
    comment: str
    author: str
    note: dict[str, Any] | None = None


@dataclass(frozen=True, kw_only=True)
class IssueUpdated(Event, event_type="issue.updated", stream="issue-{project_id}/{number}"):
    """Fields of an issue changed. `changed` maps each of them to its new value: title, content, status, close_status,
    assignee, milestone, tags, depends (the whole list), custom_fields (name to value, null for a removed one) or boards
    (name to status and rank there). `previous` holds the previous values, except those of title, content and boards; of
    the custom fields only those that changed.

    With a `comment_id` the forge writes a comment on the changes in the actor's name.
    """

    project_id: int
    number: int
    changed: dict[str, Any]
    previous: dict[str, Any]
    comment_id: int | None


@dataclass(frozen=True, kw_only=True)
class IssueSubscribed(Event, event_type="issue.subscribed", stream="issue-{project_id}/{number}/{username}"):
    """A user subscribed to the issue, or opted out of its notifications."""

    project_id: int
    number: int
    username: str
    subscribed: bool


@dataclass(frozen=True, kw_only=True)
class TagDefined(Event, event_type="tag.defined", stream="tag-{project_id}/{tag}"):
    """A tag of the tracker was created, or its color or description changed."""

    project_id: int
    tag: str
    color: str
    description: str


@dataclass(frozen=True, kw_only=True)
class TagDeleted(Event, event_type="tag.deleted", stream="tag-{project_id}/{tag}"):
    """A tag was deleted from the tracker and from every issue that had it."""

    project_id: int
    tag: str
