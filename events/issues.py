"""What can happen to an issue."""

from dataclasses import dataclass

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
