"""Events of pull requests and of the flags of commits."""

from dataclasses import dataclass, field
from typing import Any

from events.event import Event


@dataclass(frozen=True, kw_only=True)
class PullRequestOpened(
    Event, event_type="pull-request.opened", stream="pull-request-{project_id}/{number}", takes_number=True
):
    """A pull request was opened. `project_id` is the target; `commit_start` and `commit_stop` are its oldest and its
    newest commit; `issues` are the numbers of the issues that its description mentions.
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
class PullRequestCommented(Event, event_type="pull-request.commented", stream="pull-request-{project_id}/{number}"):
    """A comment was added. With a `commit` it is an inline comment on a line of a file."""

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
class PullRequestUpdated(Event, event_type="pull-request.updated", stream="pull-request-{project_id}/{number}"):
    """Fields of a pull request changed. `changed` maps each of them to its new value: title, initial_comment, assignee,
    status (closed or reopened), tags, commit_start, commit_stop, issues and commit_issues (the numbers of the issues
    that the description and the commits mention); in old events also merge_status. With a `comment_id` the forge writes
    a comment in the actor's name, and `note` is its content (events/notes.py).
    """

    project_id: int
    number: int
    changed: dict[str, Any]
    note: dict[str, Any] | None
    comment_id: int | None


@dataclass(frozen=True, kw_only=True)
class MergeStatusesFound(
    Event, event_type="pull-request.merge-statuses-found", stream="merge-statuses-{project_id}/{branch}"
):
    """The forge found out how open pull requests could be merged into `branch`, whose head is `base` (null in an empty
    repository). `statuses` lists objects with `number`, `commit_stop` and `status`: each holds as long as the two
    commits stay. With a `below`, requests with smaller numbers are still to be looked at.
    """

    project_id: int
    branch: str
    base: str | None
    statuses: list[dict[str, Any]]
    below: int | None


@dataclass(frozen=True, kw_only=True)
class PullRequestSubscribed(
    Event, event_type="pull-request.subscribed", stream="pull-request-{project_id}/{number}/{username}"
):
    """A user subscribed to the pull request, or opted out of its notifications."""

    project_id: int
    number: int
    username: str
    subscribed: bool


@dataclass(frozen=True, kw_only=True)
class MergeRequested(
    Event, event_type="pull-request.merge-requested", stream="pull-request-{project_id}/{number}/merges"
):
    """A user with the right to do so asked for the merge; a worker carries it out."""

    project_id: int
    number: int


@dataclass(frozen=True, kw_only=True)
class PullRequestMerged(Event, event_type="pull-request.merged", stream="pull-request-{project_id}/{number}"):
    """The pull request was merged; `commit` is the new head of the target branch, `note` the content of the comment
    that the forge writes about it (events/notes.py).
    """

    project_id: int
    number: int
    commit: str
    note: dict[str, Any]
    comment_id: int


@dataclass(frozen=True, kw_only=True)
class RebaseRequested(
    Event, event_type="pull-request.rebase-requested", stream="pull-request-{project_id}/{number}/rebases"
):
    """A user with the right to do so asked for a rebase onto the target branch; a worker carries it out."""

    project_id: int
    number: int


@dataclass(frozen=True, kw_only=True)
class PullRequestRebased(Event, event_type="pull-request.rebased", stream="pull-request-{project_id}/{number}"):
    """The source branch was rebased onto the target branch; an update with the new commits follows."""

    project_id: int
    number: int
    commit: str


@dataclass(frozen=True, kw_only=True)
class CommitFlagged(Event, event_type="commit.flagged", stream="flag-{project_id}/{commit}/{uid}"):
    """A program, such as a CI system, flagged a commit or changed its flag. `username` is the program's name,
    `pull_request` the number of the pull request if the flag was set on one.
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
