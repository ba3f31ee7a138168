"""Execution of one piece of work: claim it under a lease, run the reaction, record the result under the fencing token.

The attempt's number is the fencing token. When a worker that was believed dead comes back, a newer attempt holds the
work, and the late result is rejected.
"""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, nullcontext, suppress
from dataclasses import replace
from functools import partial
from typing import Any

from app.background import in_background, insist
from app.database import DB_ERRORS, Database, is_unavailable
from app.errors import Conflict, Subject
from app.git.errors import RefMoved
from app.logs import REQUEST, log
from app.metrics import JOBS
from app.points import Point, reach
from app.stores import work
from events import log as record_log
from events.event import StoredEvent
from events.record import NewEvent, record_answer
from events.tasks import FailureReason, TaskProgressed, TaskStarted
from workers.reactions import (
    REACTIONS,
    LeaseLost,
    PermanentError,
    Progress,
    Reaction,
    RetryLater,
    TaskFailure,
    WorkerContext,
    list_lane,
)

MAX_FAILURES = 5  # errors until the work is given up; those of an unreachable database are not counted
MAX_CLAIMS = 20  # claims, including those without any outcome, which happens when the work kills its worker
MAX_PAUSE = 60.0  # seconds until the next attempt at most; the back-off starts at 2 seconds
RACE_SECONDS = 30.0  # how long work that lost a race is begun again at once; then it is postponed
RACE_PAUSE, MAX_RACE_PAUSE = 0.01, 0.25  # seconds before the first repetition, and at most
LANE_SECONDS = 5.0  # after which a lane is left to another worker, so that other projects get their turn
PROGRESS_INTERVAL = 1.0  # seconds between two progress events of long work
PROJECT_DELETED = TaskFailure(FailureReason.PROJECT_DELETED)
UNEXPECTED = TaskFailure(FailureReason.UNEXPECTED)

# The locks last until the end of the transaction, so a project cannot be deleted before the answers are stored, and
# projections that compare the answers with the project's refs see all refs that were recorded before.
LOCK_PROJECTS = """
    select   project_id
    from     projects
    where    project_id = any ($1)
    order by project_id
    for no key update
"""


async def perform(ctx: WorkerContext, position: int, name: str) -> bool:
    """Do the work if it is due and no other worker holds it. True if this call completed it or gave it up."""
    reaction = REACTIONS[name]
    if reaction.lane is not None:
        return await _perform_lane(ctx, reaction, position)
    token: int | None = await work.claim(ctx.db, position, name, ctx.settings.lease, ctx.holder)
    return token is not None and await _perform_claimed(ctx, reaction, await _find_cause(ctx.db, position), token)


async def _perform_lane(ctx: WorkerContext, reaction: Reaction, position: int) -> bool:
    """Do what is due in the lane of this work, one piece after the other.

    If another worker is busy with the lane, that worker will do this piece too, so none waits for its turn here.
    """
    assert reaction.lane is not None  # noqa: S101 - asked only of reactions with a lane
    cause, names = await _find_cause(ctx.db, position), list_lane(reaction.lane)
    until, completed = time.monotonic() + LANE_SECONDS, False
    while time.monotonic() < until:
        row = await work.claim_in_lane(
            ctx.db, reaction.lane, names, cause.data["project_id"], ctx.settings.lease, ctx.holder
        )
        if row is None:
            break
        this = (row["position"], row["reaction"]) == (position, reaction.name)
        claimed = cause if this else await _find_cause(ctx.db, row["position"])
        ended = await _perform_claimed(ctx, REACTIONS[row["reaction"]], claimed, row["attempts"])
        completed |= this and ended
    return completed


async def _find_cause(db: Database, position: int) -> StoredEvent:
    async with db.acquire() as connection:
        cause = await record_log.find_at_position(connection, position)
    assert cause is not None  # noqa: S101 - work refers to events
    return cause


async def _perform_claimed(ctx: WorkerContext, reaction: Reaction, cause: StoredEvent, token: int) -> bool:
    """Do work that this worker holds. True if that completed it or gave it up."""
    REQUEST.set(cause.request)
    reach(Point.WORK_CLAIMED, reaction.name)
    started = time.perf_counter()
    outcome = await _attempt(ctx, reaction, cause, token)
    seconds = time.perf_counter() - started
    JOBS.labels(reaction.name, outcome).observe(seconds)
    await ctx.ring()
    log.info(
        "job",
        job=reaction.name,
        position=cause.position,
        attempt=token,
        outcome=outcome,
        ms=round(seconds * 1000, 1),
    )
    return outcome in ("done", "given up")


async def _attempt(ctx: WorkerContext, reaction: Reaction, cause: StoredEvent, token: int) -> str:
    if token > MAX_CLAIMS:
        return await _give_up(ctx, reaction, cause, token, UNEXPECTED)
    no_return = partial(_mark_irrevocable, ctx.db, cause.position, reaction.name, token)
    ctx = replace(ctx, progress=Progress(), point_of_no_return=no_return)
    try:
        async with _renewing_lease(ctx, reaction, cause, token):
            return await _repeat_races(ctx, partial(_work_once, ctx, reaction, cause, token))
    except LeaseLost:
        return "fenced off"
    except PermanentError as error:
        return await _give_up(ctx, reaction, cause, token, error.failure)
    except Exception as error:
        if is_race(error):
            return await _postpone(ctx, reaction, cause, token, 0)
        log.exception("job failed", job=reaction.name, position=cause.position, attempt=token)
        if is_unavailable(error):
            return await _postpone(ctx, reaction, cause, token, min(2.0**token, MAX_PAUSE))
        return await _fail(ctx, reaction, cause, token)


async def _work_once(ctx: WorkerContext, reaction: Reaction, cause: StoredEvent, token: int) -> str:
    if reaction.tracked:
        await _record_start(ctx, cause, token)
    async with _reporting_progress(ctx, reaction, cause, token):
        answers = await reaction.work(ctx, cause)
    reach(Point.WORK_DONE, reaction.name)
    return await _settle(ctx.db, reaction, cause, token, answers, "done")


async def _repeat_races(ctx: WorkerContext, step: Callable[[], Awaitable[str]]) -> str:
    """Do a step, and do it again at once whenever another writer was faster; it reads everything again then.

    Raises the last error after RACE_SECONDS, and LeaseLost.
    """
    until, pause = time.monotonic() + RACE_SECONDS, RACE_PAUSE
    while True:
        try:
            return await step()
        except Exception as error:
            if not is_race(error) or time.monotonic() > until:
                raise
            log.info("job begins again", error=type(error).__name__)
        # Those that lost the same race must not meet again.
        await asyncio.sleep(pause * random.SystemRandom().uniform(0.5, 1.5))
        pause = min(pause * 2, MAX_RACE_PAUSE)
        if ctx.progress.cancelled:
            raise LeaseLost


def is_race(error: Exception) -> bool:
    """Whether another writer was faster, so that the work succeeds if it begins again with what is there now."""
    if isinstance(error, Conflict):
        return error.subject in (Subject.CONTENTION, Subject.REFS)
    return isinstance(error, (RetryLater, RefMoved, record_log.VersionConflict))


async def _record_start(ctx: WorkerContext, cause: StoredEvent, token: int) -> None:
    started = TaskStarted(task_id=str(cause.command_id), project_id=cause.data["project_id"], attempt=token)
    async with ctx.db.acquire() as connection:
        if await record_answer(connection, cause, started) is None:
            return
    await ctx.ring()


async def _postpone(ctx: WorkerContext, reaction: Reaction, cause: StoredEvent, token: int, seconds: float) -> str:
    """Make the work due later; if the database is away, as soon as it is back."""
    await insist(partial(work.postpone, ctx.db, cause.position, reaction.name, token, seconds), ctx.settings.lease)
    return "postponed"


async def _fail(ctx: WorkerContext, reaction: Reaction, cause: StoredEvent, token: int) -> str:
    """Count an error of the work, and postpone it, or give it up after MAX_FAILURES of them."""
    failures: int | None = await insist(
        partial(work.count_failure, ctx.db, cause.position, reaction.name, token), ctx.settings.lease
    )
    if failures is None:
        return "fenced off"
    if failures >= MAX_FAILURES:
        return await _give_up(ctx, reaction, cause, token, UNEXPECTED)
    return await _postpone(ctx, reaction, cause, token, min(2.0**failures, MAX_PAUSE))


async def _mark_irrevocable(db: Database, position: int, name: str, token: int) -> None:
    if not await work.mark_irrevocable(db, position, name, token):
        raise LeaseLost


async def _give_up(ctx: WorkerContext, reaction: Reaction, cause: StoredEvent, token: int, failure: TaskFailure) -> str:
    answers = reaction.on_failure(cause, failure)
    return await _repeat_races(ctx, partial(_settle, ctx.db, reaction, cause, token, answers, "given up"))


async def _settle(
    db: Database, reaction: Reaction, cause: StoredEvent, token: int, answers: list[NewEvent], outcome: str
) -> str:
    """Store the answers and end the work in one transaction, guarded by the fencing token."""
    async with db.acquire() as connection, connection.transaction():
        if not await work.finish(connection, cause.position, reaction.name, token):
            return "fenced off"
        concerned = {each.event.project for each in answers} | ({cause.project_id} if reaction.tracked else set())
        locked = await _lock_projects(connection, concerned)
        if reaction.tracked and cause.project_id not in locked:
            answers = reaction.on_failure(cause, PROJECT_DELETED)  # otherwise the task would never end
        for each in answers:
            await record_answer(connection, cause, each.event, version=each.version)
        reach(Point.WORK_SETTLING, reaction.name)
    reach(Point.WORK_SETTLED, reaction.name)
    return outcome


async def _lock_projects(connection: Any, concerned: set[int | None]) -> set[int]:
    """Lock the rows of these projects and return the ids of those that exist."""
    ids = sorted(project_id for project_id in concerned if project_id is not None)
    return {row["project_id"] for row in await connection.fetch(LOCK_PROJECTS, ids)} if ids else set()


@asynccontextmanager
async def _renewing_lease(
    ctx: WorkerContext, reaction: Reaction, cause: StoredEvent, token: int
) -> AsyncIterator[None]:
    """Renew the lease for the length of a block. Work that reports progress is stopped when the lease is lost; other
    work finds out at its end, by the token.
    """

    async def renew() -> None:
        while True:
            await asyncio.sleep(ctx.settings.lease / 3)
            with suppress(*DB_ERRORS):
                held = await work.renew(ctx.db, cause.position, reaction.name, token, ctx.settings.lease)
                ctx.progress.cancelled = not held

    async with in_background(renew()):
        yield


@asynccontextmanager
async def _reporting_progress(
    ctx: WorkerContext, reaction: Reaction, cause: StoredEvent, token: int
) -> AsyncIterator[None]:
    """Record the progress of tracked work at intervals, for the length of a block; short work records none."""

    async def report() -> None:
        reported = None
        while True:
            await asyncio.sleep(PROGRESS_INTERVAL)
            latest = ctx.progress.latest
            if latest is None or latest == reported:
                continue
            stage, percent = reported = latest
            event = TaskProgressed(
                task_id=str(cause.command_id),
                project_id=cause.data["project_id"],
                attempt=token,
                stage=stage,
                percent=percent,
            )
            with suppress(*DB_ERRORS, record_log.VersionConflict):
                async with ctx.db.acquire() as connection:
                    await record_answer(connection, cause, event, version=None)
                await ctx.ring()

    async with in_background(report()) if reaction.tracked else nullcontext():
        yield
