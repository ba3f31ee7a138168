"""Reactions of pull requests: keep their commits in the target, follow their branches, merge and rebase."""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from app.actor import Actor
from app.core import push_policy
from app.core.access import is_blocked
from app.core.mentions import linked_issues
from app.core.project_settings import get_setting
from app.core.push_policy import ZEROS, Change, PushReason
from app.core.pushes import record_refs
from app.errors import NotFound
from app.git import commits, merge, pulls, rebase, refs, store
from app.git.errors import MergeConflict, Missing, NeedsRebase, NotFastForward, NotSignedOff, TooLarge
from app.queries import comments, history, issues, projects, pull_requests, users
from events.event import StoredEvent
from events.notes import NoteReason
from events.pull_requests import (
    MergeRequested,
    PullRequestMerged,
    PullRequestOpened,
    PullRequestRebased,
    PullRequestUpdated,
    RebaseRequested,
)
from events.record import NewEvent
from events.repositories import RefUpdated
from events.tasks import FailureReason
from workers.progress import StagedProgress
from workers.reactions import (
    FOLLOW,
    GIT,
    PermanentError,
    RetryLater,
    TaskFailure,
    WorkerContext,
    fail_task,
    ignore_failure,
    on,
)

Row = Mapping[str, Any]
T = TypeVar("T")
MERGES = "merges"  # the lane of what moves branches for pull requests
MAX_COMMITS = 1000  # commits of a pull request whose messages are read
FETCHED, COMPARED = 70, 90  # progress of a merge after these steps, in percent
MAX_LISTED_COMMITS = 100  # commits listed in the comment on new commits


async def in_thread(work: Callable[..., T], *arguments: Any, **options: Any) -> T:
    """Run a blocking git function in a thread."""
    return await asyncio.to_thread(work, *arguments, **options)


class PullRequestWork:
    """A pull request with its source and target projects and their repositories."""

    def __init__(self, ctx: WorkerContext, found: Row, target: Row, source: Row | None, request: str) -> None:
        self.ctx = ctx
        self.request = request
        self.found = found
        self.target = target
        self.source = source
        root = ctx.settings.repositories
        self.repo_path = store.repository_path(root, found["project_id"])
        self.source_path: Path | None = store.repository_path(root, source["project_id"]) if source else None

    async def fetch_head(self) -> str:
        """Find the newest commit and copy it with its ancestors into the target.

        It stays as it is while the last push to its branch is one of a user whom the target has blocked. Raises
        PermanentError if the source project exists without the branch.
        """
        number, branch = self.found["number"], self.found["branch_from"]
        try:
            if self.source_path is None or await self._is_source_blocked():
                return await in_thread(pulls.find_source_head, self.repo_path, number, None, branch)
            progress = StagedProgress(self.ctx.progress.report, FETCHED)
            head = await in_thread(pulls.copy_source_head, self.repo_path, number, self.source_path, branch, progress)
        except Missing:
            raise missing_branch(branch, self.source or self.target) from None
        await self.record(self.target["project_id"], Actor("forge"), refs.pull_ref(number))
        return head

    async def _is_source_blocked(self) -> bool:
        """Whether the target has blocked the user who moved the source branch last."""
        if not self.source or not self.target["blocked"]:
            return False
        ref = refs.branch_ref(self.found["branch_from"])
        mover = await history.find_last_mover(self.ctx.db, self.source["project_id"], ref)
        return mover is not None and is_blocked(Actor(mover), self.target)

    async def record(self, project_id: int, actor: Actor, *names: str, merged: int | None = None) -> None:
        """Record refs that this work moved."""
        db, root = self.ctx.db, self.ctx.settings.repositories
        await record_refs(db, root, project_id, actor, request=self.request, only=frozenset(names), merged=merged)

    async def find_commit_issues(self, head: str) -> list[int]:
        """Find the issues that its commits mention, including commits that were part of it earlier."""
        found, target = self.found, self.target
        base = (await pull_requests.list_heads(self.ctx.db, found["project_id"])).get(found["branch"])
        home = f"{self.ctx.settings.url}/{target['path']}"
        messages = await in_thread(
            lambda: [each.message for each in islice(commits.list_between(self.repo_path, head, base), MAX_COMMITS)]
        )
        numbers = {number for message in messages for number in linked_issues(message, home)}
        existing = await issues.list_existing(self.ctx.db, found["project_id"], sorted(numbers))
        return sorted({*existing, *found["commit_issues"]})

    async def preview_merge(self, head: str) -> merge.MergePreview:
        signed = get_setting(self.target, "enforce_signed_off_commits")
        return await in_thread(merge.preview_merge, self.repo_path, self.found["branch"], head, signed_off=signed)


def missing_branch(branch: str, project: Row) -> PermanentError:
    return PermanentError(FailureReason.BRANCH_MISSING, branch=branch, project=project["path"])


async def load_work(ctx: WorkerContext, cause: StoredEvent, project_id: int, number: int) -> PullRequestWork:
    try:
        found = await pull_requests.find(ctx.db, project_id, number, thread=False)
        target = await projects.by_id(ctx.db, project_id)
    except NotFound:
        raise PermanentError(FailureReason.PULL_REQUEST_MISSING) from None
    source = None
    if found["repo_from"] is not None:
        try:
            source = await projects.by_id(ctx.db, found["repo_from"])
        except NotFound:
            source = None
    return PullRequestWork(ctx, found, target, source, cause.request)


@on(PullRequestOpened, queue=FOLLOW, on_failure=ignore_failure, tracked=False)
async def keep_pull_request(ctx: WorkerContext, cause: StoredEvent) -> list[NewEvent]:
    """Copy the commits of a new pull request into the target, and find its merge status and its linked issues."""
    work = await load_work(ctx, cause, cause.data["project_id"], cause.data["number"])
    head = await work.fetch_head()
    changed: dict[str, Any] = {}
    if numbers := await work.find_commit_issues(head):
        changed["commit_issues"] = numbers
    with suppress(Missing, NotSignedOff):
        changed["merge_status"] = str((await work.preview_merge(head)).status)
    return [_build_update(work.found, changed)] if changed else []


def _build_update(
    found: Row, changed: dict[str, Any], note: dict[str, Any] | None = None, comment_id: int | None = None
) -> NewEvent:
    event = PullRequestUpdated(
        project_id=found["project_id"], number=found["number"], changed=changed, note=note, comment_id=comment_id
    )
    return NewEvent(event, None)


@on(RefUpdated, queue=FOLLOW, on_failure=ignore_failure, tracked=False, ref_prefix=refs.HEADS)
async def follow_branch(ctx: WorkerContext, cause: StoredEvent) -> list[NewEvent]:
    """Update every open pull request whose source branch was pushed to."""
    ref: str = cause.data["ref"]
    if not ref.startswith("refs/heads/"):
        return []
    branch, answers = ref.removeprefix("refs/heads/"), []
    for row in await pull_requests.list_opened_from(ctx.db, cause.data["project_id"], branch):
        answers += await _follow(ctx, cause, row["project_id"], row["number"])
    return answers


@on(PullRequestUpdated, queue=FOLLOW, on_failure=ignore_failure, tracked=False)
async def catch_up(ctx: WorkerContext, cause: StoredEvent) -> list[NewEvent]:
    """Update a reopened pull request with what was pushed in the meantime."""
    if cause.data["changed"].get("status") != "Open":
        return []
    return await _follow(ctx, cause, cause.data["project_id"], cause.data["number"])


async def _follow(ctx: WorkerContext, cause: StoredEvent, project_id: int, number: int) -> list[NewEvent]:
    # If the branch or the target no longer exists, the pull request stays as it is.
    with suppress(PermanentError):
        work = await load_work(ctx, cause, project_id, number)
        head = await work.fetch_head()
        branches = await pull_requests.list_heads(ctx.db, project_id)
        return await _build_follow_up(work, head, branches.get(work.found["branch"]))
    return []


async def _build_follow_up(work: PullRequestWork, head: str, base: str | None) -> list[NewEvent]:
    """Build the update after a push to the source branch, with its comment; `base` is the head of the target branch."""
    changed = await _find_changes(work, head, base)
    if not changed:
        return []
    with suppress(Missing, NotSignedOff):
        changed["merge_status"] = str((await work.preview_merge(head)).status)
    note = await _build_note(work, changed["commit_start"], changed["commit_stop"], base)
    return [_build_update(work.found, changed, note, await comments.next_id(work.ctx.db) if note else None)]


async def _find_changes(work: PullRequestWork, head: str, base: str | None) -> dict[str, Any]:
    """Find the changed commits and linked issues; empty if the commits are the same as before. `head` is the newest
    commit of the pull request, `base` the head of its target branch.
    """
    span = await in_thread(commits.find_span, work.repo_path, head, base)
    if span is None and head == work.found["commit_stop"]:
        return {}  # the target got the commits in another way
    start, stop = (span.start, span.stop) if span else (None, None)
    if (start, stop) == (work.found["commit_start"], work.found["commit_stop"]):
        return {}
    return {"commit_start": start, "commit_stop": stop, "commit_issues": await work.find_commit_issues(head)}


async def _build_note(
    work: PullRequestWork, start: str | None, stop: str | None, ours: str | None
) -> dict[str, Any] | None:
    """Build the note of the comment on a push; None for no comment."""
    found = work.found
    if stop is None or found["commit_stop"] is None:
        return None
    if start != found["commit_start"]:
        return {"reason": NoteReason.REBASED, "onto": ours}
    fresh = await in_thread(lambda: list(commits.list_between(work.repo_path, stop, found["commit_stop"])))
    if not fresh:
        return None
    subjects = [commit.subject for commit in fresh[:MAX_LISTED_COMMITS]]
    return {"reason": NoteReason.COMMITS_ADDED, "count": len(fresh), "subjects": subjects}


@on(MergeRequested, queue=GIT, on_failure=fail_task, lane=MERGES)
async def merge_pull_request(ctx: WorkerContext, cause: StoredEvent) -> list[NewEvent]:
    """Merge a pull request. A retry finds it merged, since the same request and time produce the same commit."""
    work = await load_work(ctx, cause, cause.data["project_id"], cause.data["number"])
    found = work.found
    if found["status"] != "Open":
        raise PermanentError(FailureReason.PULL_REQUEST_CLOSED, username=found["closed_by"])
    head = await work.fetch_head()
    ctx.progress.report("compare", FETCHED)
    try:
        preview = await work.preview_merge(head)
    except NotSignedOff:
        raise PermanentError(FailureReason.UNSIGNED) from None
    except Missing:
        raise missing_branch(found["branch"], work.target) from None
    ref, actor, number = refs.branch_ref(found["branch"]), Actor(cause.actor), found["number"]
    if preview.status is merge.Status.NO_CHANGE:
        answers = []
        if await pull_requests.was_tried_before(ctx.db, cause.position):
            # An earlier attempt may have died after it moved the branch and before it recorded that.
            await work.record(found["project_id"], actor, ref, merged=number)
        elif await pull_requests.is_being_merged(ctx.db, found["project_id"], number, besides=cause.position):
            raise RetryLater  # the other merge records the result
        else:
            answers = fail_task(cause, TaskFailure(FailureReason.NOTHING_TO_MERGE))
        return [*answers, await _build_merged(work, cause, preview.ours or head)]
    # A recent push may not have been followed yet.
    moved = await _find_changes(work, head, preview.ours)
    ctx.progress.report("merge", COMPARED)
    caught_up = [_build_update(found, moved)] if moved else []
    new = await _merge(work, cause, preview)
    await work.record(found["project_id"], actor, ref, merged=number)
    return [*caught_up, await _build_merged(work, cause, new, behind=len(caught_up))]


async def _merge(work: PullRequestWork, cause: StoredEvent, preview: merge.MergePreview) -> str:
    target, found = work.target, work.found
    if preview.status is not merge.Status.CONFLICTS:
        await _check_plugins(work, preview)
    signer = await _find_signer(work.ctx, cause)
    signed = get_setting(target, "enforce_signed_off_commits") or push_policy.find_requirements(target).signed
    message = merge.merge_message(found["number"], found["title"], signer if signed else None)
    await work.ctx.point_of_no_return()
    try:
        return await in_thread(
            merge.merge,
            work.repo_path,
            preview,
            message,
            signer,
            always=get_setting(target, "always_merge"),
            only_forward=not get_setting(target, "non_fast_forward_merges"),
        )
    except MergeConflict:
        raise PermanentError(FailureReason.MERGE_CONFLICTS) from None
    except NeedsRebase:
        raise PermanentError(FailureReason.REBASE_NEEDED) from None


async def _check_plugins(work: PullRequestWork, preview: merge.MergePreview) -> None:
    """Check the merge against the project's push plugins. The right to merge includes the right to push, but not a
    waiver of the other requirements of a push.
    """
    change = Change(refs.branch_ref(work.found["branch"]), preview.ours or ZEROS, preview.theirs)
    if refusal := push_policy.find_project_refusal(work.target, change):
        raise _build_push_refusal(refusal.reason)
    if push_policy.find_requirements(work.target).signed:
        try:
            await in_thread(commits.require_sign_off, work.repo_path, preview.theirs, preview.ours)
        except NotSignedOff as unsigned:
            raise _build_push_refusal(PushReason.UNSIGNED, unsigned.subject) from None


def _build_push_refusal(reason: PushReason, commit: str = "") -> PermanentError:
    return PermanentError(FailureReason.PUSH_REFUSED, refusal=reason, commit=commit)


async def _find_signer(ctx: WorkerContext, cause: StoredEvent) -> merge.Signer:
    user = await users.find(ctx.db, cause.actor)
    name, email = (user["fullname"], user["email"]) if user else ("", "")
    return merge.Signer(name or cause.actor, email, int(cause.at.timestamp()))


async def _build_merged(work: PullRequestWork, cause: StoredEvent, commit: str, *, behind: int = 0) -> NewEvent:
    """Build the event of the merge. `behind` is the number of events recorded before it in the same answer.

    The explicit version makes a concurrent change of the pull request a conflict, so that it is merged once.
    """
    event = PullRequestMerged(
        project_id=work.found["project_id"],
        number=work.found["number"],
        commit=commit,
        note={"reason": NoteReason.MERGED},
        comment_id=await comments.next_id(work.ctx.db),
    )
    return NewEvent(event, work.found["version"] + behind + 1)


@on(RebaseRequested, queue=GIT, on_failure=fail_task, lane=MERGES)
async def rebase_pull_request(ctx: WorkerContext, cause: StoredEvent) -> list[NewEvent]:
    work = await load_work(ctx, cause, cause.data["project_id"], cause.data["number"])
    found = work.found
    if found["status"] != "Open":
        raise PermanentError(FailureReason.PULL_REQUEST_CLOSED, username=found["closed_by"])
    if work.source is None or work.source_path is None:
        raise PermanentError(FailureReason.REBASE_FAILED)
    if not await in_thread(work.repo_path.exists):
        raise PermanentError(FailureReason.REPOSITORY_MISSING, project=work.target["path"])
    for branch, project in ((found["branch_from"], work.source), (found["branch"], work.target)):
        if branch not in await pull_requests.list_heads(ctx.db, project["project_id"]):
            raise missing_branch(branch, project)
    try:
        signer = merge.Signer(cause.actor, (await _find_signer(ctx, cause)).email, int(cause.at.timestamp()))
        done = await in_thread(
            rebase.prepare_rebase,
            work.source_path,
            found["branch_from"],
            work.repo_path,
            found["branch"],
            signer,
            push_policy.find_requirements(work.source),
            progress=lambda percent: ctx.progress.report("rebase", percent),
        )
        await ctx.point_of_no_return()
        await in_thread(rebase.apply_rebase, work.source_path, done)
    except NotFastForward:
        raise _build_push_refusal(PushReason.NOT_FORWARD) from None
    except NotSignedOff as unsigned:
        raise _build_push_refusal(PushReason.UNSIGNED, unsigned.subject) from None
    except (MergeConflict, Missing, TooLarge):
        raise PermanentError(FailureReason.REBASE_FAILED) from None
    ref = refs.branch_ref(found["branch_from"])
    await work.record(work.source["project_id"], Actor(cause.actor), ref)
    return [NewEvent(PullRequestRebased(project_id=found["project_id"], number=found["number"], commit=done.new), None)]
