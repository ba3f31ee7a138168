"""Merge statuses of open pull requests: how each could be merged into its target branch as that is now.

A move of the target branch makes the statuses of all its open requests unknown (events/projections/pull_requests.py).
They are found again a few at a time: each event with some statuses asks for the next ones, so that other work gets its
turn in between, and a branch that moves on leaves the rest to the search that its own move begins.
"""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from app.core.project_settings import get_setting
from app.errors import NotFound
from app.git import merge, refs, store
from app.git.errors import GitError, Missing
from app.queries import projects, pull_requests
from events.event import StoredEvent
from events.pull_requests import MergeStatusesFound, PullRequestRebased
from events.record import NewEvent
from workers.pull_requests.work import PullRequestWork, in_thread
from workers.reactions import FOLLOW, WorkerContext, ignore_failure, on

Row = Mapping[str, Any]
MAX_REQUESTS = 50  # whose statuses one event tells
SECONDS = 0.5  # after which the next event goes on


async def find_statuses(
    ctx: WorkerContext, project_id: int, branch: str, *, below: int | None = None, base: str | None = None
) -> list[NewEvent]:
    """Find the unknown statuses of some open requests for this branch, those with the highest numbers first.

    `below` leaves out higher numbers, which an earlier step has looked at. With a `base`, do nothing if the branch has
    moved from there.
    """
    try:
        project = await projects.by_id(ctx.db, project_id)
    except NotFound:
        return []
    if base is not None and (await pull_requests.list_heads(ctx.db, project_id)).get(branch) != base:
        return []
    rows = await pull_requests.list_unknown(ctx.db, project_id, branch, below=below, limit=MAX_REQUESTS)
    if not rows:
        return []
    signed = get_setting(project, "enforce_signed_off_commits")
    repo_path = store.repository_path(ctx.settings.repositories, project_id)
    found = await in_thread(_preview_merges, repo_path, branch, rows, signed)
    if found is None:
        return []
    ours, statuses, looked_at = found
    following = rows[looked_at - 1]["number"] if looked_at < len(rows) or len(rows) == MAX_REQUESTS else None
    if not statuses and following is None:
        return []
    return [_build_event(project_id, branch, ours, statuses, below=following)]


def _preview_merges(
    repo_path: Path, branch: str, rows: list[Row], signed: bool
) -> tuple[str | None, list[Row], int] | None:
    """Preview the merges of these requests into one head of the branch, for SECONDS at most.

    Returns that head, the statuses, and how many requests were looked at; None if nothing can be merged into the
    branch.
    """
    until, statuses, looked_at = time.monotonic() + SECONDS, [], 0
    try:
        base = refs.find_target(repo_path, refs.branch_ref(branch))
        for row in rows:
            looked_at += 1
            head = refs.find_target(repo_path, refs.pull_ref(row["number"]))
            preview = head and _preview_merge(repo_path, branch, head, signed)
            if preview and preview.ours == base:
                statuses.append(build_status(row, preview))
            if time.monotonic() > until:
                break
    except Missing:
        return None
    return base, statuses, looked_at


def _preview_merge(repo_path: Path, branch: str, head: str, signed: bool) -> merge.MergePreview | None:
    """Preview a merge; None if it is not possible for a reason that has no status, such as a missing sign-off."""
    try:
        return merge.preview_merge(repo_path, branch, head, signed_off=signed)
    except GitError:
        return None


def build_status(found: Row, preview: merge.MergePreview) -> Row:
    return {"number": found["number"], "commit_stop": found["commit_stop"], "status": str(preview.status)}


async def find_status(work: PullRequestWork, head: str, changed: Mapping[str, Any]) -> list[NewEvent]:
    """Find the status of one pull request with this head and with these changes; empty if it cannot be told."""
    signed = get_setting(work.target, "enforce_signed_off_commits")
    preview = await in_thread(_preview_merge, work.repo_path, work.found["branch"], head, signed)
    if preview is None:
        return []
    found = work.found
    status = build_status({**found, **changed}, preview)
    if not changed and status["status"] == found["merge_status"]:
        return []
    return [_build_event(found["project_id"], found["branch"], preview.ours, [status])]


def _build_event(
    project_id: int, branch: str, base: str | None, statuses: list[Row], *, below: int | None = None
) -> NewEvent:
    event = MergeStatusesFound(
        project_id=project_id, branch=branch, base=base, statuses=[dict(each) for each in statuses], below=below
    )
    return NewEvent(event, None)


def join_statuses(events: list[NewEvent]) -> list[NewEvent]:
    """Join statuses for the same head of a branch into one event, since an answer has one event of a stream."""
    joined: dict[tuple[str, str | None], MergeStatusesFound] = {}
    others = []
    for each in events:
        event = each.event
        if not isinstance(event, MergeStatusesFound):
            others.append(each)
            continue
        known = joined.setdefault((event.stream, event.base), event)
        if known is not event:
            known.statuses.extend(event.statuses)
    return others + [NewEvent(event, None) for event in joined.values()]


@on(MergeStatusesFound, queue=FOLLOW, on_failure=ignore_failure, tracked=False)
async def find_further_statuses(ctx: WorkerContext, cause: StoredEvent) -> list[NewEvent]:
    """Go on with the requests that an earlier step has left."""
    data = cause.data
    if data["below"] is None:
        return []
    return await find_statuses(ctx, data["project_id"], data["branch"], below=data["below"], base=data["base"])


@on(PullRequestRebased, queue=FOLLOW, on_failure=ignore_failure, tracked=False)
async def find_status_after_rebase(ctx: WorkerContext, cause: StoredEvent) -> list[NewEvent]:
    """Find the status of a rebased pull request, which the rebase made unknown, perhaps after it had been found."""
    try:
        found = await pull_requests.find(ctx.db, cause.data["project_id"], cause.data["number"], thread=False)
    except NotFound:
        return []
    return await find_statuses(ctx, found["project_id"], found["branch"], below=found["number"] + 1)
