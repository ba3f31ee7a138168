"""What people may ask of pull requests where git has to be asked: opening, merging, rebasing."""

import asyncio
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from app.core import paths, push_policy
from app.core.access import Actor, Level, level, may, require
from app.core.commands import Command, CommandContext, handles
from app.core.pull_requests import describe_closed, find_readable, require_pull_requests
from app.core.settings import get_setting
from app.database import Database
from app.errors import Forbidden, Invalid, NotFound
from app.git import commits, store
from app.git.commits import CommitSpan
from app.queries import issues, projects, refs
from events.pull_requests import MergeRequested, PullRequestOpened, RebaseRequested
from events.record import NewEvent

Row = Mapping[str, Any]


def fork_root_id(project: Row) -> int:
    """The project that all of its forks, and their forks, descend from."""
    return int(project["ancestors"][-1] if project["ancestors"] else project["project_id"])


async def find_heads(
    db: Database, actor: Actor, target: Row, source: Row, branch: str, branch_from: str
) -> tuple[str | None, str]:
    """Where the two branches lead, the first to nothing in an empty target, for those who may join them.

    Raises Refused for what is missing, and then for others.
    """
    require(actor, "open-pull-request", target)
    require_pull_requests(target)
    require(actor, "read-project", source)
    if fork_root_id(source) != fork_root_id(target):
        raise Invalid("repo_from", "The two projects have no history in common.")
    theirs = await refs.list_branches(db, source["project_id"])
    ours = (
        theirs if source["project_id"] == target["project_id"] else await refs.list_branches(db, target["project_id"])
    )
    if branch not in ours if ours else not paths.is_valid_branch_name(branch):
        raise Invalid("branch_to", f"Branch {branch} could not be found in the target repo")
    if not theirs:
        raise Invalid("branch_from", "Fork is empty, there are no commits to create a pull request with")
    if branch_from not in theirs:
        raise Invalid("branch_from", f"Branch {branch_from} does not exist")
    if level(actor, source) < Level.WRITE:
        raise Forbidden("open-pull-request")
    return ours.get(branch), theirs[branch_from]


async def find_commit_span(root: Path, target: Row, source: Row, ours: str | None, theirs: str) -> CommitSpan | None:
    """The commits between the two heads, read from where they are. Raises NotSignedOff where the target wants that."""
    repo_path, alternate = (store.repository_path(root, project["project_id"]) for project in (target, source))
    span = await asyncio.to_thread(commits.find_span, repo_path, theirs, ours, alternate=alternate)
    if get_setting(target, "enforce_signed_off_commits"):
        await asyncio.to_thread(commits.require_sign_off, repo_path, theirs, ours, alternate=alternate)
    return span


@dataclass(frozen=True, kw_only=True)
class OpenPullRequest(Command):
    """`project_id` is the target. What it brings has been looked up on disk already (`brought`); `about` are the
    issues that the description mentions (app/core/mentions.py).
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


@dataclass(frozen=True, kw_only=True)
class MergePullRequest(Command):
    project_id: int
    number: int


@handles(MergePullRequest)
async def merge_pull_request(ctx: CommandContext, command: MergePullRequest) -> list[NewEvent]:
    project, found = await find_readable(ctx, command.project_id, command.number)
    actor = ctx.actor
    if not may(actor, "merge-pull-request", project):
        raise Forbidden("close-pull-request")
    if get_setting(project, "only_assignee_can_merge"):
        if not found["assignee"]:
            raise Forbidden("unassigned pull request")
        if found["assignee"] != actor.username:
            raise Forbidden("merge of another's pull request")
    least = get_setting(project, "minimum_score_to_merge")
    if least > 0 and review_score(found) < least:
        raise Forbidden("score")
    return [NewEvent(MergeRequested(project_id=command.project_id, number=command.number), None)]


def review_score(found: Row) -> int:
    """The sum of everybody's latest vote."""
    return sum(found["score"].values())


@dataclass(frozen=True, kw_only=True)
class RebasePullRequest(Command):
    project_id: int
    number: int


@handles(RebasePullRequest)
async def rebase_pull_request(ctx: CommandContext, command: RebasePullRequest) -> list[NewEvent]:
    project, found = await find_readable(ctx, command.project_id, command.number)
    writes = may(ctx.actor, "merge-pull-request", project)
    if not (writes and found["allow_rebase"]) and not await _may_write_source(ctx, found):
        raise Forbidden("close-pull-request" if found["allow_rebase"] else "rebase-pull-request")
    if found["status"] != "Open":
        raise Invalid("status", describe_closed(found))
    source = await _find_source(ctx, found)
    if source is not None and source["mirrored_from"] is not None:
        raise Forbidden("ref", push_policy.MIRRORED)
    return [NewEvent(RebaseRequested(project_id=command.project_id, number=command.number), None)]


async def _may_write_source(ctx: CommandContext, found: Row) -> bool:
    source = await _find_source(ctx, found)
    return source is not None and level(ctx.actor, source) >= Level.WRITE


async def _find_source(ctx: CommandContext, found: Row) -> Row | None:
    """The project that the commits come from, if it is still there."""
    if found["repo_from"] is None:
        return None
    try:
        source: Row = await projects.by_id(ctx.db, found["repo_from"])
    except NotFound:
        return None
    return source
