"""Execution of one piece of work: claim it under a lease, run the reaction, record the result under the fencing token.

The attempt's number is the fencing token. When a worker that was believed dead comes back, a newer attempt holds the
work, and the late result is rejected.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext, suppress
from dataclasses import replace
from functools import partial

from app.background import in_background
from app.database import DB_ERRORS, Database, is_unavailable
from app.logs import REQUEST, log
from app.metrics import JOBS
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
)

MAX_ATTEMPTS = 5  # the claim from which on an error gives the work up; that of an unreachable database never does
MAX_CLAIMS = 20  # claims, including those without any outcome, which happens when the work kills its worker
MAX_PAUSE = 60.0  # seconds until the next attempt at most; the back-off starts at 2 seconds
PROGRESS_INTERVAL = 1.0  # seconds between two progress events of long work
PROJECT_DELETED = TaskFailure(FailureReason.PROJECT_DELETED)
UNEXPECTED = TaskFailure(FailureReason.UNEXPECTED)

# The lock lasts until the end of the transaction, so the project cannot be deleted before the answers are stored.
LOCK_PROJECT = "select 1 from projects where project_id = $1 for no key update"


async def perform(ctx: WorkerContext, position: int, name: str) -> bool:
    """Do the work if it is due and no other worker holds it. True if this call completed it or gave it up."""
    db, lease = ctx.db, ctx.settings.lease
    token: int | None = await work.claim(db, position, name, lease)
    if token is None:
        return False
    async with db.acquire() as connection:
        cause = await record_log.find_at_position(connection, position)
        assert cause is not None  # noqa: S101 - work refers to events
        if REACTIONS[name].tracked:
            task, project_id = str(cause.command_id), cause.data["project_id"]
            await record_answer(connection, cause, TaskStarted(task_id=task, project_id=project_id, attempt=token))
    if REACTIONS[name].tracked:
        await ctx.ring()
    REQUEST.set(cause.request)
    started = time.perf_counter()
    outcome = await _attempt(ctx, REACTIONS[name], cause, token)
    seconds = time.perf_counter() - started
    JOBS.labels(name, outcome).observe(seconds)
    await ctx.ring()
    log.info("job", job=name, position=position, attempt=token, outcome=outcome, ms=round(seconds * 1000, 1))
    return outcome in ("done", "given up")


async def _attempt(ctx: WorkerContext, reaction: Reaction, cause: StoredEvent, token: int) -> str:
    if token > MAX_CLAIMS:
        return await _give_up(ctx, reaction, cause, token, UNEXPECTED)
    no_return = partial(_mark_irrevocable, ctx.db, cause.position, reaction.name, token)
    ctx = replace(ctx, progress=Progress(), point_of_no_return=no_return)
    try:
        async with _renewing_lease(ctx, reaction, cause, token), _reporting_progress(ctx, reaction, cause, token):
            answers = await reaction.work(ctx, cause)
        return await _settle(ctx.db, reaction, cause, token, answers, "done")
    except LeaseLost:
        return "fenced off"
    except (RetryLater, record_log.VersionConflict):
        return await _postpone(ctx, reaction, cause, token)
    except PermanentError as error:
        return await _give_up(ctx, reaction, cause, token, error.failure)
    except Exception as error:
        log.exception("job failed", job=reaction.name, position=cause.position, attempt=token)
        if token >= MAX_ATTEMPTS and not is_unavailable(error):
            return await _give_up(ctx, reaction, cause, token, UNEXPECTED)
        return await _postpone(ctx, reaction, cause, token)


async def _postpone(ctx: WorkerContext, reaction: Reaction, cause: StoredEvent, token: int) -> str:
    await work.postpone(ctx.db, cause.position, reaction.name, token, min(2.0**token, MAX_PAUSE))
    return "postponed"


async def _mark_irrevocable(db: Database, position: int, name: str, token: int) -> None:
    if not await work.mark_irrevocable(db, position, name, token):
        raise LeaseLost


async def _give_up(ctx: WorkerContext, reaction: Reaction, cause: StoredEvent, token: int, failure: TaskFailure) -> str:
    return await _settle(ctx.db, reaction, cause, token, reaction.on_failure(cause, failure), "given up")


async def _settle(
    db: Database, reaction: Reaction, cause: StoredEvent, token: int, answers: list[NewEvent], outcome: str
) -> str:
    """Store the answers and end the work in one transaction, guarded by the fencing token."""
    async with db.acquire() as connection, connection.transaction():
        if not await work.finish(connection, cause.position, reaction.name, token):
            return "fenced off"
        if reaction.tracked and not await connection.fetchval(LOCK_PROJECT, cause.project_id):
            answers = reaction.on_failure(cause, PROJECT_DELETED)  # otherwise the task would never end
        for each in answers:
            await record_answer(connection, cause, each.event, version=each.version)
    return outcome


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
