"""The reaction that cancels tasks."""

from app.stores import work
from events.event import StoredEvent
from events.log import find_at_position
from events.record import NewEvent, record_answer
from events.tasks import FailureReason, TaskCancelled, TaskCancelRequested, TaskFailed
from workers.reactions import FOLLOW, REACTIONS, TaskFailure, WorkerContext, ignore_failure, on


@on(TaskCancelRequested, queue=FOLLOW, on_failure=ignore_failure, tracked=False)
async def cancel_task(ctx: WorkerContext, cause: StoredEvent) -> list[NewEvent]:
    """Take the work from its worker and record the events of its failure, with TaskCancelled in place of TaskFailed.

    A task that has ended meanwhile stays as it is, and one past its point of no return runs to its end.
    """
    tracked = [reaction.name for reaction in REACTIONS.values() if reaction.tracked]
    async with ctx.db.acquire() as connection, connection.transaction():
        taken = await work.cancel(connection, cause.data["task_id"], tracked)
        if taken is None:
            return []
        work_cause = await find_at_position(connection, taken["position"])
        assert work_cause is not None  # noqa: S101 - work refers to events
        cancelled = TaskCancelled(task_id=cause.data["task_id"], project_id=cause.data["project_id"])
        for each in REACTIONS[taken["reaction"]].on_failure(work_cause, TaskFailure(FailureReason.CANCELLED)):
            event = cancelled if isinstance(each.event, TaskFailed) else each.event
            await record_answer(connection, work_cause, event, version=each.version)
    return []
