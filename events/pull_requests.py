"""What can happen to a pull request, and to the commits that it brings."""

from dataclasses import dataclass, field
from typing import Any

from events.event import Event


@dataclass(frozen=True, kw_only=True)
class PullRequestOpened(
    Event, type="pull-request.opened", stream="pull-request-{project_id}/{number}", takes_number=True
):
    """`project_id` is the target; `commit_start` and `commit_stop` are the oldest and the newest commit it brings;
    `issues` are the numbers of those that its description is about.
    """

    project_id: int
    number: int = 0
    uid: str
    title: str
    initial_comment: str | None
    branch: str
    branch_from: str
    repo_from: int
    author: str
    commit_start: str | None
    commit_stop: str | None
    allow_rebase: bool
    issues: list[int] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class PullRequestCommented(Event, type="pull-request.commented", stream="pull-request-{project_id}/{number}"):
    """With a `commit` it is about a line of a file."""

    project_id: int
    number: int
    comment_id: int
    comment: str
    author: str
    commit: str | None
    tree: str | None
    filename: str | None
    line: int | None
    vote: int | None


@dataclass(frozen=True, kw_only=True)
class PullRequestUpdated(Event, type="pull-request.updated", stream="pull-request-{project_id}/{number}"):
    """`changed` holds what is different now: title, initial_comment, assignee, status (closed or open again), tags,
    commit_start, commit_stop, merge_status, issues and commit_issues (the numbers of those that the description and
    the commits are about). With a `comment_id` the forge writes a comment in the actor's name, and
    `note` says what it tells of (events/notes.py).
    """

    project_id: int
    number: int
    changed: dict[str, Any]
    note: dict[str, Any] | None
    comment_id: int | None


@dataclass(frozen=True, kw_only=True)
class PullRequestSubscribed(
    Event, type="pull-request.subscribed", stream="pull-request-{project_id}/{number}/{username}"
):
    """Somebody wants, or does not want, to hear of it."""

    project_id: int
    number: int
    username: str
    subscribed: bool


@dataclass(frozen=True, kw_only=True)
class MergeRequested(Event, type="pull-request.merge-requested", stream="pull-request-{project_id}/{number}/merges"):
    """Somebody who may wants it merged; a worker answers."""

    project_id: int
    number: int


@dataclass(frozen=True, kw_only=True)
class PullRequestMerged(Event, type="pull-request.merged", stream="pull-request-{project_id}/{number}"):
    """What it brought is in its branch, whose head is now `commit`. `note` says what the comment tells of that the
    forge writes about it (events/notes.py).
    """

    project_id: int
    number: int
    commit: str
    note: dict[str, Any]
    comment_id: int


@dataclass(frozen=True, kw_only=True)
class RebaseRequested(Event, type="pull-request.rebase-requested", stream="pull-request-{project_id}/{number}/rebases"):
    """Somebody who may wants it rebased onto its branch; a worker answers."""

    project_id: int
    number: int


@dataclass(frozen=True, kw_only=True)
class PullRequestRebased(Event, type="pull-request.rebased", stream="pull-request-{project_id}/{number}"):
    """Its branch was written anew on top of the target's; what it brings now follows as an update."""

    project_id: int
    number: int
    commit: str


@dataclass(frozen=True, kw_only=True)
class CommitFlagged(Event, type="commit.flagged", stream="flag-{project_id}/{commit}/{uid}"):
    """A program, called `username`, has said what it thinks of a commit, or says something else now; `pull_request` is
    the number of the one that it said it of.
    """

    project_id: int
    commit: str
    uid: str
    username: str
    status: str
    percent: int | None
    comment: str
    url: str
    author: str
    pull_request: int | None = None
