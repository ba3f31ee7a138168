"""What people may ask of pull requests, and when the answer is yes."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from app.core.access import Actor, Level, level, may, require
from app.core.commands import Command, Deciding, handles
from app.core.settings import setting
from app.errors import Disabled, Forbidden, Invalid, NotFound
from app.queries import issues, projects, pull_requests, refs, users
from events.pull_requests import (
    CommitFlagged,
    MergeRequested,
    PullRequestCommented,
    PullRequestOpened,
    PullRequestSubscribed,
    PullRequestUpdated,
    RebaseRequested,
)
from events.record import Next

Row = Mapping[str, Any]


def require_pull_requests(project: Row) -> None:
    if not setting(project, "pull_requests"):
        raise Disabled("pull requests")


def family(project: Row) -> int:
    """The project that all of its forks, and their forks, descend from."""
    return int(project["ancestors"][-1] if project["ancestors"] else project["project_id"])


@dataclass(frozen=True, kw_only=True)
class OpenPullRequest(Command):
    """`project_id` is the target. What it brings has been looked up on disk already; `about` are the issues that the
    description mentions (app/core/mentions.py).
    """

    project_id: int
    title: str
    branch: str
    branch_from: str
    repo_from: int
    initial_comment: str | None = None
    about: list[int] = field(default_factory=list)
    allow_rebase: bool = False
    commit_start: str | None = None
    commit_stop: str | None = None


@handles(OpenPullRequest)
async def open_pull_request(deciding: Deciding, wish: OpenPullRequest) -> list[Next]:
    target = await deciding.project(wish.project_id)
    require(deciding.actor, "open-pull-request", target)
    require_pull_requests(target)
    source = target if wish.repo_from == wish.project_id else await projects.by_id(deciding.db, wish.repo_from)
    require(deciding.actor, "read-project", source)
    if family(source) != family(target):
        raise Invalid("repo_from", "The two projects have no history in common.")
    await require_branches(deciding, target, source, wish.branch, wish.branch_from)
    if level(deciding.actor, source) < Level.WRITE:
        raise Forbidden("open-pull-request")
    return [
        Next(
            PullRequestOpened(
                project_id=wish.project_id,
                uid=uuid.uuid4().hex,
                title=wish.title,
                initial_comment=wish.initial_comment,
                branch=wish.branch,
                branch_from=wish.branch_from,
                repo_from=wish.repo_from,
                author=deciding.actor.username,
                commit_start=wish.commit_start,
                commit_stop=wish.commit_stop,
                allow_rebase=wish.allow_rebase,
                issues=await issues.existing(deciding.db, wish.project_id, wish.about),
            )
        )
    ]


async def require_branches(deciding: Deciding, target: Row, source: Row, branch: str, branch_from: str) -> None:
    """Both branches have to be there; an empty target has none to ask for."""
    theirs = await refs.branches(deciding.db, source["project_id"])
    ours = theirs if source["project_id"] == target["project_id"] else await refs.branches(
        deciding.db, target["project_id"]
    )  # fmt: skip
    if ours and branch not in ours:
        raise Invalid("branch_to", f"Branch {branch} could not be found in the target repo")
    if not theirs:
        raise Invalid("branch_from", "Fork is empty, there are no commits to create a pull request with")
    if branch_from not in theirs:
        raise Invalid("branch_from", f"Branch {branch_from} does not exist")


async def _found(deciding: Deciding, project_id: int, number: int) -> tuple[Row, Row]:
    """The project and a pull request of it, if there are any."""
    project = await deciding.project(project_id)
    require(deciding.actor, "read-pull-requests", project)
    require_pull_requests(project)
    return project, await pull_requests.find(deciding.db, project_id, number, thread=False)


async def _updated(deciding: Deciding, found: Row, changed: dict[str, Any], note: str | None = None) -> list[Next]:
    """The change as an event, with the comment that tells of it."""
    if not changed:
        return []
    event = PullRequestUpdated(
        project_id=found["project_id"],
        number=found["number"],
        changed=changed,
        note=note,
        comment_id=await pull_requests.next_comment_id(deciding.db) if note else None,
    )
    return [Next(event, found["version"] + 1)]


def vote(comment: str) -> int | None:
    """What a comment says of the whole: 1, -1 or nothing."""
    if "-1" in comment or ":thumbsdown:" in comment:
        return -1
    return 1 if "+1" in comment or ":thumbsup:" in comment else None


@dataclass(frozen=True, kw_only=True)
class CommentOnPullRequest(Command):
    """With a `commit` it is about a line, and no vote."""

    project_id: int
    number: int
    comment: str
    commit: str | None = None
    tree: str | None = None
    filename: str | None = None
    line: int | None = None


@handles(CommentOnPullRequest)
async def comment_on_pull_request(deciding: Deciding, wish: CommentOnPullRequest) -> list[Next]:
    _, found = await _found(deciding, wish.project_id, wish.number)
    if deciding.actor.anonymous:
        raise Forbidden("comment-on-pull-request")
    event = PullRequestCommented(
        project_id=wish.project_id,
        number=wish.number,
        comment_id=await pull_requests.next_comment_id(deciding.db),
        comment=wish.comment,
        author=deciding.actor.username,
        commit=wish.commit,
        tree=wish.tree,
        filename=wish.filename,
        line=wish.line,
        vote=None if wish.commit else vote(wish.comment),
    )
    return [Next(event, found["version"] + 1)]


def _may_tend(actor: Actor, project: Row, found: Row, *others: str) -> bool:
    return may(actor, "triage-pull-requests", project) or actor.username in {found[name] for name in others}


@dataclass(frozen=True, kw_only=True)
class EditPullRequest(Command):
    project_id: int
    number: int
    title: str
    initial_comment: str | None
    about: list[int] = field(default_factory=list)


@handles(EditPullRequest)
async def edit_pull_request(deciding: Deciding, wish: EditPullRequest) -> list[Next]:
    project, found = await _found(deciding, wish.project_id, wish.number)
    if deciding.actor.anonymous or not _may_tend(deciding.actor, project, found, "author", "assignee"):
        raise Forbidden("tend-pull-request")
    about = await issues.existing(deciding.db, wish.project_id, wish.about)
    wanted = {"title": wish.title, "initial_comment": wish.initial_comment, "issues": about}
    return await _updated(deciding, found, {name: value for name, value in wanted.items() if found[name] != value})


@dataclass(frozen=True, kw_only=True)
class AssignPullRequest(Command):
    """To somebody, by username or e-mail, or to nobody."""

    project_id: int
    number: int
    assignee: str | None


@handles(AssignPullRequest)
async def assign_pull_request(deciding: Deciding, wish: AssignPullRequest) -> list[Next]:
    project, found = await _found(deciding, wish.project_id, wish.number)
    if deciding.actor.anonymous or not _may_tend(deciding.actor, project, found, "assignee"):
        raise Forbidden("tend-pull-request")
    assignee = None
    if wish.assignee:
        assignee = await users.named(deciding.db, wish.assignee)
        if assignee is None:
            raise Invalid("assignee", f'No user "{wish.assignee}" found')
    if assignee == found["assignee"]:
        return []
    said = "Request assigned" if assignee else "Request assignee reset"
    note = f"**Metadata Update from @{deciding.actor.username}**:\n- {said}"
    return await _updated(deciding, found, {"assignee": assignee}, note)


@dataclass(frozen=True, kw_only=True)
class ClosePullRequest(Command):
    project_id: int
    number: int


@handles(ClosePullRequest)
async def close_pull_request(deciding: Deciding, wish: ClosePullRequest) -> list[Next]:
    project, found = await _found(deciding, wish.project_id, wish.number)
    require_closer(deciding.actor, project, found)
    if found["status"] == "Merged":
        raise Invalid("status", over(found))
    if found["status"] == "Closed":
        return []
    note = f"Pull-Request has been closed by {deciding.actor.username}"
    return await _updated(deciding, found, {"status": "Closed"}, note)


def require_closer(actor: Actor, project: Row, found: Row) -> None:
    """Its author and those who may merge it."""
    if actor.anonymous or not (may(actor, "merge-pull-request", project) or actor.username == found["author"]):
        raise Forbidden("close-pull-request")


def over(found: Row) -> str:
    return f"This pull-request was merged or closed by {found['closed_by']}"


@dataclass(frozen=True, kw_only=True)
class ReopenPullRequest(Command):
    project_id: int
    number: int


@handles(ReopenPullRequest)
async def reopen_pull_request(deciding: Deciding, wish: ReopenPullRequest) -> list[Next]:
    project, found = await _found(deciding, wish.project_id, wish.number)
    require_closer(deciding.actor, project, found)
    if found["status"] != "Closed":
        raise Invalid("status", "Trying to reopen a pull request that is not closed")
    note = f"Pull-Request has been reopened by {deciding.actor.username}"
    return await _updated(deciding, found, {"status": "Open"}, note)


@dataclass(frozen=True, kw_only=True)
class MergePullRequest(Command):
    project_id: int
    number: int


@handles(MergePullRequest)
async def merge_pull_request(deciding: Deciding, wish: MergePullRequest) -> list[Next]:
    project, found = await _found(deciding, wish.project_id, wish.number)
    actor = deciding.actor
    if actor.anonymous or not may(actor, "merge-pull-request", project):
        raise Forbidden("close-pull-request")
    if setting(project, "only_assignee_can_merge"):
        if not found["assignee"]:
            raise Forbidden("unassigned pull request")
        if found["assignee"] != actor.username:
            raise Forbidden("merge of another's pull request")
    least = setting(project, "minimum_score_to_merge")
    if least > 0 and score(found) < least:
        raise Forbidden("score")
    return [Next(MergeRequested(project_id=wish.project_id, number=wish.number), None)]


def score(found: Row) -> int:
    """The sum of everybody's latest vote."""
    return sum(found["score"].values())


@dataclass(frozen=True, kw_only=True)
class RebasePullRequest(Command):
    project_id: int
    number: int


@handles(RebasePullRequest)
async def rebase_pull_request(deciding: Deciding, wish: RebasePullRequest) -> list[Next]:
    project, found = await _found(deciding, wish.project_id, wish.number)
    actor = deciding.actor
    writes = not actor.anonymous and may(actor, "merge-pull-request", project)
    if not (writes and found["allow_rebase"]) and not await _writes_to_source(deciding, found):
        raise Forbidden("close-pull-request" if found["allow_rebase"] else "rebase-pull-request")
    if found["status"] != "Open":
        raise Invalid("status", over(found))
    return [Next(RebaseRequested(project_id=wish.project_id, number=wish.number), None)]


async def _writes_to_source(deciding: Deciding, found: Row) -> bool:
    if found["repo_from"] is None or deciding.actor.anonymous:
        return False
    try:
        source = await projects.by_id(deciding.db, found["repo_from"])
    except NotFound:
        return False
    return level(deciding.actor, source) >= Level.WRITE


@dataclass(frozen=True, kw_only=True)
class SubscribeToPullRequest(Command):
    project_id: int
    number: int
    subscribed: bool


@handles(SubscribeToPullRequest)
async def subscribe_to_pull_request(deciding: Deciding, wish: SubscribeToPullRequest) -> list[Next]:
    await _found(deciding, wish.project_id, wish.number)
    username = deciding.actor.username
    if not username:
        raise Forbidden("comment-on-pull-request")
    if await pull_requests.subscribed(deciding.db, wish.project_id, wish.number, username) == wish.subscribed:
        return []
    event = PullRequestSubscribed(
        project_id=wish.project_id, number=wish.number, username=username, subscribed=wish.subscribed
    )
    return [Next(event, None)]


@dataclass(frozen=True, kw_only=True)
class FlagCommit(Command):
    """What a program has found out about a commit; the same `uid` again changes what it said."""

    project_id: int
    commit: str
    uid: str
    username: str
    status: str
    percent: int | None
    comment: str
    url: str


@handles(FlagCommit)
async def flag_commit(deciding: Deciding, wish: FlagCommit) -> list[Next]:
    project = await deciding.project(wish.project_id)
    require(deciding.actor, "flag-commit", project)
    if deciding.actor.anonymous:
        raise Forbidden("flag-commit")
    before = await pull_requests.flag(deciding.db, wish.project_id, wish.commit, wish.uid)
    event = CommitFlagged(
        project_id=wish.project_id,
        commit=wish.commit,
        uid=wish.uid,
        username=before["username"] if before else wish.username,
        status=wish.status,
        percent=wish.percent,
        comment=wish.comment,
        url=wish.url,
        author=before["author"] if before else deciding.actor.username,
    )
    return [Next(event, None)]
