"""Reactions that copy the commits of pull requests into the target and follow their branches."""

from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any

from app.actor import Actor
from app.core.pushes import record_refs
from app.errors import NotFound
from app.git import commits, pulls, refs, store
from app.git.errors import Missing
from app.queries import comments, pull_requests
from events.event import StoredEvent
from events.notes import NoteReason
from events.pull_requests import PullRequestOpened, PullRequestUpdated
from events.record import NewEvent
from events.repositories import RefUpdated
from workers.pull_requests import statuses
from workers.pull_requests.work import PullRequestWork, build_update, in_thread, load_work
from workers.reactions import FOLLOW, PermanentError, WorkerContext, ignore_failure, on

MAX_SUBJECT = 500  # characters of a commit's subject in that comment
MAX_LISTED_COMMITS = 100  # commits listed in the comment on new commits


@on(PullRequestOpened, queue=FOLLOW, on_failure=ignore_failure, tracked=False)
async def keep_pull_request(ctx: WorkerContext, cause: StoredEvent) -> list[NewEvent]:
    """Copy the commits of a new pull request into the target, and find its merge status and its linked issues."""
    work = await load_work(ctx, cause, cause.data["project_id"], cause.data["number"])
    head = await work.fetch_head()
    numbers = await work.find_commit_issues(head)
    linked = [build_update(work.found, {"commit_issues": numbers})] if numbers else []
    return [*linked, *await statuses.find_status(work, head, {})]


@on(RefUpdated, queue=FOLLOW, on_failure=ignore_failure, tracked=False, ref_prefix=refs.HEADS)
async def follow_branch(ctx: WorkerContext, cause: StoredEvent) -> list[NewEvent]:
    """Update every open pull request whose source branch moved, and begin to find the merge statuses of those whose
    target branch it is.
    """
    ref, project_id = cause.data["ref"], cause.data["project_id"]
    branch, answers = ref.removeprefix(refs.HEADS), []
    for row in await pull_requests.list_opened_from(ctx.db, project_id, branch):
        answers += await _follow(ctx, cause, row["project_id"], row["number"])
    answers += await statuses.find_statuses(ctx, project_id, branch, base=cause.data["new"])
    return statuses.join_statuses(answers)


@on(PullRequestUpdated, queue=FOLLOW, on_failure=ignore_failure, tracked=False)
async def catch_up(ctx: WorkerContext, cause: StoredEvent) -> list[NewEvent]:
    """Update a reopened pull request with what was pushed to its source and to its target in the meantime."""
    if cause.data["changed"].get("status") != "Open":
        return []
    return await _follow(ctx, cause, cause.data["project_id"], cause.data["number"])


async def _follow(ctx: WorkerContext, cause: StoredEvent, project_id: int, number: int) -> list[NewEvent]:
    # If the branch or the target no longer exists, the pull request stays as it is.
    with suppress(PermanentError):
        work = await load_work(ctx, cause, project_id, number)
        head = await work.fetch_head()
        branches = await pull_requests.list_heads(ctx.db, project_id)
        base = branches.get(work.found["branch"])
        changed = await work.find_changes(head, base)
        follow_up = [await _build_follow_up(work, changed, base)] if changed else []
        return [*follow_up, *await statuses.find_status(work, head, changed)]
    return []


async def _build_follow_up(work: PullRequestWork, changed: dict[str, Any], base: str | None) -> NewEvent:
    """Build the update after a push to the source branch, with its comment; `base` is the head of the target branch."""
    note = await _build_note(work, changed["commit_start"], changed["commit_stop"], base)
    return build_update(work.found, changed, note, await comments.next_id(work.ctx.db) if note else None)


async def _build_note(
    work: PullRequestWork, start: str | None, stop: str | None, ours: str | None
) -> dict[str, Any] | None:
    """Build the note of the comment on a push; None for no comment."""
    found = work.found
    if stop is None or found["commit_stop"] is None:
        return None
    if start != found["commit_start"]:
        return {"reason": NoteReason.REBASED, "onto": ours}
    count, subjects = await in_thread(_count_commits, work.repo_path, stop, found["commit_stop"])
    return {"reason": NoteReason.COMMITS_ADDED, "count": count, "subjects": subjects} if count else None


def _count_commits(repo_path: Path, stop: str, old: str) -> tuple[int, list[str]]:
    """Count the commits since `old`; return also the beginnings of the first subjects."""
    fresh = commits.list_between(repo_path, stop, old)
    subjects = [commit.subject[:MAX_SUBJECT] for commit in islice(fresh, MAX_LISTED_COMMITS)]
    return len(subjects) + sum(1 for _ in fresh), subjects


async def keep_commits_of_deleted(ctx: WorkerContext, cause: StoredEvent) -> None:
    """Copy the commits of all requests that were opened from a deleted project into their targets, before its
    repository is removed: what was pushed last may not have been copied yet. Merged requests need none.
    """
    root, source_id = ctx.settings.repositories, cause.data["project_id"]
    source = store.repository_path(root, source_id)
    if not await in_thread(source.exists):
        return
    for row in await pull_requests.list_unmerged_from(ctx.db, source_id):
        target_id, number = row["project_id"], row["number"]
        with suppress(Missing, NotFound):  # the branch, or the target, was deleted too
            repo_path = store.repository_path(root, target_id)
            await in_thread(pulls.copy_source_head, repo_path, number, source, row["branch_from"])
            names = frozenset({refs.pull_ref(number)})
            await record_refs(ctx.db, root, target_id, Actor("forge"), request=cause.request, only=names)
