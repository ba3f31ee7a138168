"""Doing one piece of work once: claim it under a lease, do it, answer under the fencing token.

The attempt's number is the fencing token. A worker that was thought dead and comes back finds that a newer attempt
holds the work, and its answer is not taken.
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

MAX_ATTEMPTS = 5  # that ended in an error; an unreachable database is nobody's
MAX_CLAIMS = 20  # of which nothing was heard again: the work takes its worker down
MAX_PAUSE = 60.0  # seconds until the next attempt; the first ones come sooner
PROGRESS_INTERVAL = 1.0  # seconds between two tellings of how far long work is
PROJECT_DELETED = TaskFailure(FailureReason.PROJECT_DELETED)
UNEXPECTED = TaskFailure(FailureReason.UNEXPECTED)

# And for as long as the transaction lasts.
LOCK_PROJECT = "select 1 from projects where project_id = $1 for no key update"


async def perform(ctx: WorkerContext, position: int, name: str) -> bool:
    """Do the work if it is still to be done and nobody is at it. True when it was this call that settled it."""
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
    except PermanentError as no:
        return await _give_up(ctx, reaction, cause, token, no.failure)
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
    """The answer and the end of the work are one transaction, behind the fencing token."""
    async with db.acquire() as connection, connection.transaction():
        if not await work.finish(connection, cause.position, reaction.name, token):
            return "fenced off"
        if reaction.tracked and not await connection.fetchval(LOCK_PROJECT, cause.project_id):
            answers = reaction.on_failure(cause, PROJECT_DELETED)  # or its task would never end
        for each in answers:
            await record_answer(connection, cause, each.event, version=each.version)
    return outcome


@asynccontextmanager
async def _renewing_lease(
    ctx: WorkerContext, reaction: Reaction, cause: StoredEvent, token: int
) -> AsyncIterator[None]:
    """Keep the lease alive for as long as the block runs. Losing it ends work that tells of its progress; other work
    finds out at the end, by the token.
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
    """Let the log hear how far the work is, now and then: what is soon done is not worth an event."""

    async def tell() -> None:
        told = None
        while True:
            await asyncio.sleep(PROGRESS_INTERVAL)
            latest = ctx.progress.latest
            if latest is None or latest == told:
                continue
            stage, percent = told = latest
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

    async with in_background(tell()) if reaction.tracked else nullcontext():
        yield
