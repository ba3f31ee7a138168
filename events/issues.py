"""What can happen to an issue."""

from dataclasses import dataclass
from typing import Any

from events.event import Event


@dataclass(frozen=True, kw_only=True)
class IssueOpened(Event, type="issue.opened", takes_number=True):
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

    @property
    def stream(self) -> str:
        return f"issue-{self.project_id}/{self.number or ''}"


@dataclass(frozen=True, kw_only=True)
class IssueCommented(Event, type="issue.commented"):
    project_id: int
    number: int
    comment_id: int
    comment: str
    author: str

    @property
    def stream(self) -> str:
        return f"issue-{self.project_id}/{self.number}"


@dataclass(frozen=True, kw_only=True)
class IssueUpdated(Event, type="issue.updated"):
    """`changed` holds what is different now: title, content, status, close_status, assignee, milestone, tags, depends
    (the whole list), custom_fields (name to value, null for those that were taken away) or boards (name to status and
    rank there).

    `details` say it in sentences. With a `comment_id` they are a comment too, which the forge writes in the actor's
    name.
    """

    project_id: int
    number: int
    changed: dict[str, Any]
    details: list[str]
    comment_id: int | None

    @property
    def stream(self) -> str:
        return f"issue-{self.project_id}/{self.number}"


@dataclass(frozen=True, kw_only=True)
class IssueSubscribed(Event, type="issue.subscribed"):
    """Somebody wants, or does not want, to hear of the issue."""

    project_id: int
    number: int
    username: str
    subscribed: bool

    @property
    def stream(self) -> str:
        return f"issue-{self.project_id}/{self.number}/{self.username}"


@dataclass(frozen=True, kw_only=True)
class TagDefined(Event, type="tag.defined"):
    """A tag of the tracker exists, or looks different from now on."""

    project_id: int
    tag: str
    color: str
    description: str

    @property
    def stream(self) -> str:
        return f"tag-{self.project_id}/{self.tag}"


@dataclass(frozen=True, kw_only=True)
class TagDeleted(Event, type="tag.deleted", decides=True):
    """Also taken from every issue that had it."""

    project_id: int
    tag: str

    @property
    def stream(self) -> str:
        return f"tag-{self.project_id}/{self.tag}"
