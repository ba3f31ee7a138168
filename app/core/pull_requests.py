"""Commands on pull requests and the rules for them."""

import asyncio
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from app.actor import Actor
from app.core import paths
from app.core.access import Level, level, may, require
from app.core.commands import Command, CommandContext, handles
from app.core.project_settings import get_setting
from app.core.users import find_assignee
from app.database import Database
from app.errors import Disabled, Forbidden, Invalid, Subject
from app.git import commits, store
from app.git.commits import CommitSpan
from app.queries import comments, issues, projects, pull_requests, refs
from events.notes import NoteReason
from events.pull_requests import (
    PullRequestCommented,
    PullRequestOpened,
    PullRequestSubscribed,
    PullRequestUpdated,
)
from events.record import NewEvent

Row = Mapping[str, Any]


def require_pull_requests(project: Row) -> None:
    if not get_setting(project, "pull_requests"):
        raise Disabled(Subject.PULL_REQUESTS)


async def find_readable(ctx: CommandContext, project_id: int, number: int) -> tuple[Row, Row]:
    """The project and one of its pull requests, if the actor may read it and pull requests are switched on."""
    project = await ctx.project(project_id)
    require(ctx.actor, "read-pull-requests", project)
    require_pull_requests(project)
    return project, await pull_requests.find(ctx.db, project_id, number, thread=False)


async def _build_update(
    ctx: CommandContext, found: Row, changed: dict[str, Any], reason: NoteReason | None = None
) -> list[NewEvent]:
    """The change as an event; with a reason the forge writes a comment about it."""
    if not changed:
        return []
    event = PullRequestUpdated(
        project_id=found["project_id"],
        number=found["number"],
        changed=changed,
        note={"reason": reason} if reason else None,
        comment_id=await comments.next_id(ctx.db) if reason else None,
    )
    return [NewEvent(event, found["version"] + 1)]


@dataclass(frozen=True, kw_only=True)
class CommentOnPullRequest(Command):
    """Comment on a pull request, or with `commit` on a line of it, which takes no vote. `vote` is 1, -1 or None."""

    project_id: int
    number: int
    comment: str
    commit: str | None = None
    tree: str | None = None
    filename: str | None = None
    line: int | None = None
    vote: int | None = None


@handles(CommentOnPullRequest)
async def comment_on_pull_request(ctx: CommandContext, command: CommentOnPullRequest) -> list[NewEvent]:
    project, found = await find_readable(ctx, command.project_id, command.number)
    require(ctx.actor, "comment-on-pull-request", project)
    event = PullRequestCommented(
        project_id=command.project_id,
        number=command.number,
        comment_id=await comments.next_id(ctx.db),
        comment=command.comment,
        author=ctx.actor.username,
        commit=command.commit,
        tree=command.tree,
        filename=command.filename,
        line=command.line,
        vote=None if command.commit else command.vote,
    )
    return [NewEvent(event, found["version"] + 1)]


def require_triage(actor: Actor, project: Row, *others: str | None) -> None:
    """Require the ticket level, unless the actor is one of `others`."""
    if not (may(actor, "triage-pull-requests", project) or actor.username in others):
        raise Forbidden(Subject.EDIT_PULL_REQUEST)


def require_editor(actor: Actor, project: Row, found: Row) -> None:
    """Let the author and the assignee edit a pull request too."""
    require_triage(actor, project, found["author"], found["assignee"])


@dataclass(frozen=True, kw_only=True)
class EditPullRequest(Command):
    project_id: int
    number: int
    title: str
    initial_comment: str | None
    about: list[int] = field(default_factory=list)


@handles(EditPullRequest)
async def edit_pull_request(ctx: CommandContext, command: EditPullRequest) -> list[NewEvent]:
    project, found = await find_readable(ctx, command.project_id, command.number)
    require_editor(ctx.actor, project, found)
    about = await issues.list_existing(ctx.db, command.project_id, command.about)
    wanted = {"title": command.title, "initial_comment": command.initial_comment, "issues": about}
    return await _build_update(ctx, found, {name: value for name, value in wanted.items() if found[name] != value})


@dataclass(frozen=True, kw_only=True)
class AssignPullRequest(Command):
    """Assign a pull request to a user, given by username or e-mail address; None removes the assignee."""

    project_id: int
    number: int
    assignee: str | None


@handles(AssignPullRequest)
async def assign_pull_request(ctx: CommandContext, command: AssignPullRequest) -> list[NewEvent]:
    project, found = await find_readable(ctx, command.project_id, command.number)
    require_triage(ctx.actor, project, found["assignee"])
    assignee = await find_assignee(ctx.db, command.assignee)
    if assignee == found["assignee"]:
        return []
    reason = NoteReason.ASSIGNED if assignee else NoteReason.UNASSIGNED
    return await _build_update(ctx, found, {"assignee": assignee}, reason)


@dataclass(frozen=True, kw_only=True)
class ClosePullRequest(Command):
    project_id: int
    number: int


@handles(ClosePullRequest)
async def close_pull_request(ctx: CommandContext, command: ClosePullRequest) -> list[NewEvent]:
    project, found = await find_readable(ctx, command.project_id, command.number)
    require_closer(ctx.actor, project, found)
    if found["status"] == "Merged":
        raise Invalid(Subject.PULL_REQUEST_CLOSED, "status", username=found["closed_by"])
    if found["status"] == "Closed":
        return []
    return await _build_update(ctx, found, {"status": "Closed"}, NoteReason.CLOSED)


def require_closer(actor: Actor, project: Row, found: Row) -> None:
    """Let the author and those who may merge close a pull request."""
    if not (may(actor, "merge-pull-request", project) or actor.username == found["author"]):
        raise Forbidden(Subject.CLOSE_PULL_REQUEST)


@dataclass(frozen=True, kw_only=True)
class ReopenPullRequest(Command):
    project_id: int
    number: int


@handles(ReopenPullRequest)
async def reopen_pull_request(ctx: CommandContext, command: ReopenPullRequest) -> list[NewEvent]:
    project, found = await find_readable(ctx, command.project_id, command.number)
    require_closer(ctx.actor, project, found)
    if found["status"] != "Closed":
        raise Invalid(Subject.PULL_REQUEST_NOT_CLOSED, "status")
    return await _build_update(ctx, found, {"status": "Open"}, NoteReason.REOPENED)


@dataclass(frozen=True, kw_only=True)
class SubscribeToPullRequest(Command):
    project_id: int
    number: int
    subscribed: bool


@handles(SubscribeToPullRequest)
async def subscribe_to_pull_request(ctx: CommandContext, command: SubscribeToPullRequest) -> list[NewEvent]:
    project, _ = await find_readable(ctx, command.project_id, command.number)
    require(ctx.actor, "comment-on-pull-request", project)
    username = ctx.actor.username
    if await pull_requests.is_subscribed(ctx.db, command.project_id, command.number, username) == command.subscribed:
        return []
    return [NewEvent(PullRequestSubscribed(**asdict(command), username=username), None)]


def fork_root_id(project: Row) -> int:
    """The id of the project from which all forks in its family descend."""
    return int(project["ancestors"][-1] if project["ancestors"] else project["project_id"])


async def find_heads(
    db: Database, actor: Actor, target: Row, source: Row, branch: str, branch_from: str
) -> tuple[str | None, str]:
    """The heads of the two branches if the actor may open a pull request between them; the first is None in an empty
    target.

    Raises Refused, for missing branches before missing rights.
    """
    require(actor, "open-pull-request", target)
    require_pull_requests(target)
    require(actor, "read-project", source)
    if fork_root_id(source) != fork_root_id(target):
        raise Invalid(Subject.UNRELATED_PROJECTS, "repo_from")
    source_heads = await refs.list_branches(db, source["project_id"])
    target_heads = (
        source_heads
        if source["project_id"] == target["project_id"]
        else await refs.list_branches(db, target["project_id"])
    )
    if branch not in target_heads if target_heads else not paths.is_valid_branch_name(branch):
        raise Invalid(Subject.TARGET_BRANCH, "branch_to", branch=branch)
    if not source_heads:
        raise Invalid(Subject.SOURCE_EMPTY, "branch_from")
    if branch_from not in source_heads:
        raise Invalid(Subject.SOURCE_BRANCH, "branch_from", branch=branch_from)
    if (source["project_id"], branch_from) == (target["project_id"], branch):
        raise Invalid(Subject.SAME_BRANCH, "branch_from", branch=branch)
    if level(actor, source) < Level.WRITE:
        raise Forbidden(Subject.ACTION, action="open-pull-request")
    return target_heads.get(branch), source_heads[branch_from]


async def find_commit_span(root: Path, target: Row, source: Row, ours: str | None, theirs: str) -> CommitSpan | None:
    """The commits between the two heads. Raises NotSignedOff if the target requires sign-offs and one lacks it."""
    repo_path, alternate = (store.repository_path(root, project["project_id"]) for project in (target, source))
    span = await asyncio.to_thread(commits.find_span, repo_path, theirs, ours, alternate=alternate)
    if get_setting(target, "enforce_signed_off_commits"):
        await asyncio.to_thread(commits.require_sign_off, repo_path, theirs, ours, alternate=alternate)
    return span


@dataclass(frozen=True, kw_only=True)
class OpenPullRequest(Command):
    """Open a pull request in the target `project_id`. The commits have been read from disk already
    (`find_commit_span`); `about` are the issues that the description mentions (app/core/mentions.py).
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
async def open_pull_request(ctx: CommandContext, command: OpenPullRequest) -> list[NewEvent]:
    target = await ctx.project(command.project_id)
    source = target if command.repo_from == command.project_id else await projects.by_id(ctx.db, command.repo_from)
    await find_heads(ctx.db, ctx.actor, target, source, command.branch, command.branch_from)
    return [
        NewEvent(
            PullRequestOpened(
                project_id=command.project_id,
                uid=uuid.uuid4().hex,
                title=command.title,
                initial_comment=command.initial_comment,
                branch=command.branch,
                branch_from=command.branch_from,
                repo_from=command.repo_from,
                author=ctx.actor.username,
                commit_start=command.commit_start,
                commit_stop=command.commit_stop,
                allow_rebase=command.allow_rebase,
                issues=await issues.list_existing(ctx.db, command.project_id, command.about),
            )
        )
    ]


def review_score(found: Row) -> int:
    """The sum of the latest vote of each user."""
    return sum(found["score"].values())
