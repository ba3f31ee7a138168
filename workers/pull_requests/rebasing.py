"""The reaction that rebases pull requests."""

from functools import partial

from app.actor import Actor
from app.core import push_policy
from app.core.push_policy import PushReason
from app.git import merge, rebase, refs
from app.git.errors import MergeConflict, Missing, NotFastForward, NotSignedOff
from app.queries import pull_requests
from events.event import StoredEvent
from events.pull_requests import PullRequestRebased, RebaseRequested
from events.record import NewEvent
from events.tasks import FailureReason
from workers.pull_requests.merging import build_push_refusal
from workers.pull_requests.work import MERGES, find_signer, in_thread, load_work, missing_branch
from workers.reactions import GIT, PermanentError, WorkerContext, fail_task, on


@on(RebaseRequested, queue=GIT, on_failure=fail_task, lane=MERGES)
async def rebase_pull_request(ctx: WorkerContext, cause: StoredEvent) -> list[NewEvent]:
    work = await load_work(ctx, cause, cause.data["project_id"], cause.data["number"])
    found = work.found
    ref = refs.branch_ref(found["branch_from"])
    if work.source is not None and await pull_requests.may_have_moved(ctx.db, found["project_id"], found["number"]):
        # An earlier attempt may have moved the branch.
        await work.record(work.source["project_id"], Actor(cause.actor), ref)
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
        signer = merge.Signer(cause.actor, (await find_signer(ctx, cause)).email, int(cause.at.timestamp()))
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
        apply = partial(rebase.apply_rebase, work.source_path, done)
        await work.move(work.source["project_id"], Actor(cause.actor), ref, apply)
    except NotFastForward:
        raise build_push_refusal(PushReason.NOT_FORWARD) from None
    except NotSignedOff as unsigned:
        raise build_push_refusal(PushReason.UNSIGNED, unsigned.subject) from None
    except (MergeConflict, Missing):
        raise PermanentError(FailureReason.REBASE_FAILED) from None
    return [NewEvent(PullRequestRebased(project_id=found["project_id"], number=found["number"], commit=done.new), None)]
