"""What people may ask of pull requests where git has to be asked: opening, merging, rebasing."""

import asyncio
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from app.core import paths, push_policy
from app.core.access import Actor, Level, level, may, require
from app.core.commands import Command, Deciding, handles
from app.core.pull_requests import found_for, over, require_pull_requests
from app.core.settings import setting
from app.database import Database
from app.errors import Forbidden, Invalid, NotFound
from app.git import commits, store
from app.git.commits import Span
from app.queries import issues, projects, refs
from events.pull_requests import MergeRequested, PullRequestOpened, RebaseRequested
from events.record import Next

Row = Mapping[str, Any]


def family(project: Row) -> int:
    """The project that all of its forks, and their forks, descend from."""
    return int(project["ancestors"][-1] if project["ancestors"] else project["project_id"])


async def heads(
    db: Database, actor: Actor, target: Row, source: Row, branch: str, branch_from: str
) -> tuple[str | None, str]:
    """Where the two branches lead, the first to nothing in an empty target, for those who may join them.

    Raises Refused for what is missing, and then for others.
    """
    require(actor, "open-pull-request", target)
    require_pull_requests(target)
    require(actor, "read-project", source)
    if family(source) != family(target):
        raise Invalid("repo_from", "The two projects have no history in common.")
    theirs = await refs.branches(db, source["project_id"])
    ours = theirs if source["project_id"] == target["project_id"] else await refs.branches(db, target["project_id"])
    if branch not in ours if ours else not paths.branch_name(branch):
        raise Invalid("branch_to", f"Branch {branch} could not be found in the target repo")
    if not theirs:
        raise Invalid("branch_from", "Fork is empty, there are no commits to create a pull request with")
    if branch_from not in theirs:
        raise Invalid("branch_from", f"Branch {branch_from} does not exist")
    if level(actor, source) < Level.WRITE:
        raise Forbidden("open-pull-request")
    return ours.get(branch), theirs[branch_from]


async def brought(root: Path, target: Row, source: Row, ours: str | None, theirs: str) -> Span | None:
    """The commits between the two heads, read from where they are. Raises NotSignedOff where the target wants that."""
    place, borrow = (store.directory(root, project["project_id"]) for project in (target, source))
    span = await asyncio.to_thread(commits.span, place, theirs, ours, borrow=borrow)
    if setting(target, "enforce_signed_off_commits"):
        await asyncio.to_thread(commits.require_sign_off, place, theirs, ours, borrow=borrow)
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
async def open_pull_request(deciding: Deciding, wish: OpenPullRequest) -> list[Next]:
    target = await deciding.project(wish.project_id)
    source = target if wish.repo_from == wish.project_id else await projects.by_id(deciding.db, wish.repo_from)
    await heads(deciding.db, deciding.actor, target, source, wish.branch, wish.branch_from)
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


@dataclass(frozen=True, kw_only=True)
class MergePullRequest(Command):
    project_id: int
    number: int


@handles(MergePullRequest)
async def merge_pull_request(deciding: Deciding, wish: MergePullRequest) -> list[Next]:
    project, found = await found_for(deciding, wish.project_id, wish.number)
    actor = deciding.actor
    if not may(actor, "merge-pull-request", project):
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
    project, found = await found_for(deciding, wish.project_id, wish.number)
    writes = may(deciding.actor, "merge-pull-request", project)
    if not (writes and found["allow_rebase"]) and not await _writes_to_source(deciding, found):
        raise Forbidden("close-pull-request" if found["allow_rebase"] else "rebase-pull-request")
    if found["status"] != "Open":
        raise Invalid("status", over(found))
    source = await _source(deciding, found)
    if source is not None and source["mirrored_from"] is not None:
        raise Forbidden("ref", push_policy.MIRRORED)
    return [Next(RebaseRequested(project_id=wish.project_id, number=wish.number), None)]


async def _writes_to_source(deciding: Deciding, found: Row) -> bool:
    source = await _source(deciding, found)
    return source is not None and level(deciding.actor, source) >= Level.WRITE


async def _source(deciding: Deciding, found: Row) -> Row | None:
    """The project that the commits come from, if it is still there."""
    if found["repo_from"] is None:
        return None
    try:
        source: Row = await projects.by_id(deciding.db, found["repo_from"])
    except NotFound:
        return None
    return source
