"""Commands to merge and to rebase pull requests. Workers carry them out."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from app.core.access import Level, level, may, require_unblocked
from app.core.commands import Command, CommandContext, handles
from app.core.project_settings import get_setting
from app.core.pull_requests import find_readable, review_score
from app.core.push_policy import PushReason, PushRefusal
from app.errors import Conflict, Forbidden, Invalid, NotFound, Subject
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
        raise Forbidden(Subject.CLOSE_PULL_REQUEST)
    if get_setting(project, "only_assignee_can_merge"):
        if not found["assignee"]:
            raise Forbidden(Subject.UNASSIGNED_PULL_REQUEST)
        if found["assignee"] != actor.username:
            raise Forbidden(Subject.MERGE_OF_ANOTHERS)
    minimum = get_setting(project, "minimum_score_to_merge")
    if minimum > 0 and review_score(found) < minimum:
        raise Forbidden(Subject.SCORE, minimum=minimum)
    if found["status"] != "Open":
        raise Conflict(Subject.PULL_REQUEST_CLOSED, username=found["closed_by"])
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
        raise Forbidden(Subject.CLOSE_PULL_REQUEST if found["allow_rebase"] else Subject.REBASE_PULL_REQUEST)
    if found["status"] != "Open":
        raise Invalid(Subject.PULL_REQUEST_CLOSED, "status", username=found["closed_by"])
    source = await _find_source(ctx, found)
    if source is not None:
        require_unblocked(ctx.actor, "rebase-pull-request", source)
        if source["mirrored_from"] is not None:
            raise PushRefusal(PushReason.MIRROR).error()
    return [NewEvent(RebaseRequested(project_id=command.project_id, number=command.number), None)]


async def _may_write_source(ctx: CommandContext, found: Row) -> bool:
    source = await _find_source(ctx, found)
    return source is not None and level(ctx.actor, source) >= Level.WRITE


async def _find_source(ctx: CommandContext, found: Row) -> Row | None:
    """The project that the commits come from, unless it was deleted."""
    if found["repo_from"] is None:
        return None
    try:
        source: Row = await projects.by_id(ctx.db, found["repo_from"])
    except NotFound:
        return None
    return source
