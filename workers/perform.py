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

from app.beside import beside
from app.database import TROUBLE, Database, unavailable
from app.logs import REQUEST, log
from app.metrics import JOBS
from events import log as record_log
from events.event import Fact
from events.record import Next, answer
from events.tasks import TaskProgressed, TaskStarted
from workers.reactions import REACTIONS, GiveUp, Hands, NotYet, Progress, Reaction, Unwanted

ATTEMPTS = 5  # that ended in an error; an unreachable database is nobody's
CLAIMS = 20  # of which nothing was heard again: the work takes its worker down
LONGEST_PAUSE = 60.0  # seconds until the next attempt; the first ones come sooner
PACE = 1.0  # seconds between two tellings of how far long work is
DELETED = "The project has been deleted meanwhile."
SORRY = "This could not be done; the administrators can see why."

CLAIM = """
    update work
    set    attempts = attempts + 1, lease_until = now() + make_interval(secs => $3)
    where  position = $1 and reaction = $2 and done_at is null and due_at <= now()
    and    (lease_until is null or lease_until < now())
    returning attempts
"""
RENEW = """
    update work
    set    lease_until = now() + make_interval(secs => $4)
    where  position = $1 and reaction = $2 and attempts = $3 and done_at is null
    returning 1
"""
NO_RETURN = """
    update work
    set    irrevocable = true
    where  position = $1 and reaction = $2 and attempts = $3 and done_at is null
    returning 1
"""
FINISH = """
    update work
    set    done_at = now(), lease_until = null
    where  position = $1 and reaction = $2 and attempts = $3 and done_at is null
    returning 1
"""
# And for as long as the transaction lasts.
STILL_THERE = "select 1 from projects where project_id = $1 for no key update"
POSTPONE = """
    update work
    set    lease_until = null, due_at = now() + make_interval(secs => $4)
    where  position = $1 and reaction = $2 and attempts = $3 and done_at is null
"""


async def perform(hands: Hands, position: int, name: str) -> bool:
    """Do the work if it is still to be done and nobody is at it. True when it was this call that settled it."""
    db, lease = hands.db, hands.settings.lease
    token: int | None = await db.fetchval(CLAIM, position, name, lease)
    if token is None:
        return False
    async with db.acquire() as connection:
        cause = await record_log.at_position(connection, position)
        assert cause is not None  # noqa: S101 - work refers to events
        if REACTIONS[name].tracked:
            task, project_id = str(cause.command_id), cause.data["project_id"]
            await answer(connection, cause, TaskStarted(task_id=task, project_id=project_id, attempt=token))
    if REACTIONS[name].tracked:
        await hands.ring()
    REQUEST.set(cause.request)
    started = time.perf_counter()
    outcome = await _attempt(hands, REACTIONS[name], cause, token)
    seconds = time.perf_counter() - started
    JOBS.labels(name, outcome).observe(seconds)
    await hands.ring()
    log.info("job", job=name, position=position, attempt=token, outcome=outcome, ms=round(seconds * 1000, 1))
    return outcome in ("done", "given up")


async def _attempt(hands: Hands, reaction: Reaction, cause: Fact, token: int) -> str:
    if token > CLAIMS:
        return await _give_up(hands, reaction, cause, token, SORRY)
    no_return = partial(_no_return, hands.db, cause.position, reaction.name, token)
    hands = replace(hands, progress=Progress(), point_of_no_return=no_return)
    try:
        async with _held(hands, reaction, cause, token), _told(hands, reaction, cause, token):
            answers = await reaction.work(hands, cause)
        return await _settle(hands.db, reaction, cause, token, answers, "done")
    except Unwanted:
        return "fenced off"
    except (NotYet, record_log.Conflict):
        return await _postpone(hands, reaction, cause, token)
    except GiveUp as no:
        return await _give_up(hands, reaction, cause, token, str(no))
    except Exception as error:
        log.exception("job failed", job=reaction.name, position=cause.position, attempt=token)
        if token >= ATTEMPTS and not unavailable(error):
            return await _give_up(hands, reaction, cause, token, SORRY)
        return await _postpone(hands, reaction, cause, token)


async def _postpone(hands: Hands, reaction: Reaction, cause: Fact, token: int) -> str:
    await hands.db.execute(POSTPONE, cause.position, reaction.name, token, min(2.0**token, LONGEST_PAUSE))
    return "postponed"


async def _no_return(db: Database, position: int, name: str, token: int) -> None:
    if await db.fetchval(NO_RETURN, position, name, token) is None:
        raise Unwanted


async def _give_up(hands: Hands, reaction: Reaction, cause: Fact, token: int, why: str) -> str:
    return await _settle(hands.db, reaction, cause, token, reaction.surrender(cause, why), "given up")


async def _settle(db: Database, reaction: Reaction, cause: Fact, token: int, answers: list[Next], outcome: str) -> str:
    """The answer and the end of the work are one transaction, behind the fencing token."""
    async with db.acquire() as connection, connection.transaction():
        if await connection.fetchval(FINISH, cause.position, reaction.name, token) is None:
            return "fenced off"
        if reaction.tracked and not await connection.fetchval(STILL_THERE, cause.project_id):
            answers = reaction.surrender(cause, DELETED)  # or its task would never end
        for each in answers:
            await answer(connection, cause, each.event, version=each.version)
    return outcome


@asynccontextmanager
async def _held(hands: Hands, reaction: Reaction, cause: Fact, token: int) -> AsyncIterator[None]:
    """Keep the lease alive for as long as the block runs. Losing it ends work that tells of its progress; other work
    finds out at the end, by the token.
    """

    async def renew() -> None:
        while True:
            await asyncio.sleep(hands.settings.lease / 3)
            with suppress(*TROUBLE):
                held = await hands.db.fetchval(RENEW, cause.position, reaction.name, token, hands.settings.lease)
                hands.progress.unwanted = held is None

    async with beside(renew()):
        yield


@asynccontextmanager
async def _told(hands: Hands, reaction: Reaction, cause: Fact, token: int) -> AsyncIterator[None]:
    """Let the log hear how far the work is, now and then: what is soon done is not worth an event."""

    async def tell() -> None:
        told = None
        while True:
            await asyncio.sleep(PACE)
            latest = hands.progress.latest
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
            with suppress(*TROUBLE, record_log.Conflict):
                async with hands.db.acquire() as connection:
                    await answer(connection, cause, event, version=None)
                await hands.ring()

    async with beside(tell()) if reaction.tracked else nullcontext():
        yield
