"""The reaction that merges pull requests."""

from functools import partial

from app.actor import Actor
from app.core import push_policy
from app.core.project_settings import get_setting
from app.core.push_policy import ZEROS, Change, PushReason
from app.git import commits, merge, refs
from app.git.errors import MergeConflict, Missing, NeedsRebase, NotSignedOff
from app.points import Point, reach
from app.queries import comments, pull_requests
from events.event import StoredEvent
from events.notes import NoteReason
from events.pull_requests import MergeRequested, PullRequestMerged
from events.record import NewEvent
from events.tasks import FailureReason
from workers.pull_requests.work import (
    COMPARED,
    FETCHED,
    MERGES,
    PullRequestWork,
    build_update,
    find_signer,
    in_thread,
    load_work,
    missing_branch,
)
from workers.reactions import GIT, PermanentError, TaskFailure, WorkerContext, fail_task, on


@on(MergeRequested, queue=GIT, on_failure=fail_task, lane=MERGES)
async def merge_pull_request(ctx: WorkerContext, cause: StoredEvent) -> list[NewEvent]:
    """Merge a pull request. A retry finds it merged, since the same request and time produce the same commit."""
    work = await load_work(ctx, cause, cause.data["project_id"], cause.data["number"])
    found = work.found
    # An earlier attempt may have moved the branch; then it is merged, whatever happened to the pull request since.
    begun = await pull_requests.may_have_moved(ctx.db, found["project_id"], found["number"])
    if begun:
        await _record_move(work, cause)
    if found["status"] == "Merged" or (found["status"] != "Open" and not begun):
        raise _build_closed(work)
    head = await work.fetch_head()
    reach(Point.MERGE_COPIED)
    ctx.progress.report("compare", FETCHED)
    try:
        preview = await work.preview_merge(head)
    except NotSignedOff:
        raise PermanentError(FailureReason.UNSIGNED) from None
    except Missing:
        raise missing_branch(found["branch"], work.target) from None
    if preview.status is merge.Status.NO_CHANGE:
        return await _finish(work, cause, preview, begun=begun)
    if found["status"] != "Open":
        raise _build_closed(work)
    # A recent push may not have been followed yet.
    moved = await work.find_changes(head, preview.ours)
    ctx.progress.report("merge", COMPARED)
    caught_up = [build_update(found, moved)] if moved else []
    new = await _merge(work, cause, preview)
    return [*caught_up, await _build_merged(work, cause, new, behind=len(caught_up))]


def _build_closed(work: PullRequestWork) -> PermanentError:
    return PermanentError(FailureReason.PULL_REQUEST_CLOSED, username=work.found["closed_by"])


async def _record_move(work: PullRequestWork, cause: StoredEvent) -> None:
    found = work.found
    ref = refs.branch_ref(found["branch"])
    await work.record(found["project_id"], Actor(cause.actor), ref, merged=found["number"])


async def _finish(
    work: PullRequestWork, cause: StoredEvent, preview: merge.MergePreview, *, begun: bool
) -> list[NewEvent]:
    """Find out how the target branch came to have the head of the pull request.

    An earlier attempt may have moved the branch. A push may have brought the commits. Or there are none: the source
    branch was set back, or has never had any, and then nothing was merged.
    """
    found, new = work.found, preview.ours or preview.theirs
    if begun and (old := await _find_merge_start(work, preview.theirs)):
        moved = await work.find_changes(preview.theirs, None if old == ZEROS else old)
        caught_up = [build_update(found, moved)] if moved else []
        return [*caught_up, await _build_merged(work, cause, new, behind=len(caught_up))]
    if not await work.has_landed(preview.ours):
        raise PermanentError(FailureReason.NO_COMMITS)
    failed = [] if begun else fail_task(cause, TaskFailure(FailureReason.NOTHING_TO_MERGE))
    return [*failed, await _build_merged(work, cause, new)]


async def _find_merge_start(work: PullRequestWork, theirs: str) -> str | None:
    """Find where the target branch was before it was moved to have the commit `theirs`; None if it was not moved."""
    found = work.found
    ref = refs.branch_ref(found["branch"])
    old = await pull_requests.find_merge_start(work.ctx.db, found["project_id"], found["number"], ref)
    if old is None or (old != ZEROS and await in_thread(commits.contains, work.repo_path, old, theirs)):
        return None
    return old


async def _merge(work: PullRequestWork, cause: StoredEvent, preview: merge.MergePreview) -> str:
    target, found = work.target, work.found
    if preview.status is not merge.Status.CONFLICTS:
        await _check_plugins(work, preview)
    signer = await find_signer(work.ctx, cause)
    signed = get_setting(target, "enforce_signed_off_commits") or push_policy.find_requirements(target).signed
    message = merge.merge_message(found["number"], found["title"], signer if signed else None)
    move = partial(
        merge.merge,
        work.repo_path,
        preview,
        message,
        signer,
        always=get_setting(target, "always_merge"),
        only_forward=not get_setting(target, "non_fast_forward_merges"),
    )
    await work.ctx.point_of_no_return()
    ref = refs.branch_ref(found["branch"])
    try:
        return await work.move(found["project_id"], Actor(cause.actor), ref, move, merged=found["number"])
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
        raise build_push_refusal(refusal.reason)
    if push_policy.find_requirements(work.target).signed:
        try:
            await in_thread(commits.require_sign_off, work.repo_path, preview.theirs, preview.ours)
        except NotSignedOff as unsigned:
            raise build_push_refusal(PushReason.UNSIGNED, unsigned.subject) from None


def build_push_refusal(reason: PushReason, commit: str = "") -> PermanentError:
    return PermanentError(FailureReason.PUSH_REFUSED, refusal=reason, commit=commit)


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
