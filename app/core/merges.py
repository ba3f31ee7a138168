"""What people may ask of pull requests where git has to be asked: opening, merging, rebasing."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from app.core import push_policy
from app.core.access import Level, level, may
from app.core.commands import Command, CommandContext, handles
from app.core.project_settings import get_setting
from app.core.pull_requests import describe_closed, find_readable, review_score
from app.errors import Forbidden, Invalid, NotFound
from app.queries import projects
from events.pull_requests import MergeRequested, RebaseRequested
from events.record import NewEvent

Row = Mapping[str, Any]


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
