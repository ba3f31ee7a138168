"""The arq workers, which take the hints of the queues, and the loops that do the work."""

import asyncio
from contextlib import suppress
from dataclasses import replace
from typing import Any, cast

from arq.connections import ArqRedis
from arq.worker import Worker, func

import workers.commits
import workers.pull_requests
import workers.repositories
import workers.tasks  # noqa: F401 - register their reactions
from app.background import end_task, in_background, repeat
from app.database import DB_ERRORS
from app.git.limits import using_settings
from app.logs import log
from app.outgoing.guard import Guard
from app.outgoing.proxy import open_proxy
from app.stores import heartbeats
from app.valkey import VALKEY_ERRORS
from workers import mirrors, queue
from workers.delivery import run_delivery
from workers.reactions import FOLLOW, GIT, MIRROR, QUEUES, WorkerContext
from workers.slots import Slots
from workers.sweeping import run_comparing, run_sweeping

CONCURRENCY = {GIT: 4, MIRROR: 2, FOLLOW: 2}
RETRY_PAUSE = 0.5  # seconds until the next attempt to reach a queue that does not answer
POLL_DELAY = 0.02  # seconds between two polls of arq


async def _look(arq_context: dict[str, Any]) -> None:
    """Take a hint: have the slots of the queue looked at."""
    arq_context["woken"].set()


def build_worker(redis: ArqRedis, name: str, woken: asyncio.Event) -> Worker:
    """Build the worker of one queue. arq's retries and results are off, since hints need neither."""
    return Worker(
        functions=[func(cast(Any, _look), name="look", keep_result=0, max_tries=1)],
        queue_name=queue.queue_name(name),
        redis_pool=redis,
        ctx={"woken": woken},
        poll_delay=POLL_DELAY,
        keep_result=0,
        handle_signals=False,
        health_check_interval=15,
        job_serializer=queue.serialize,
        job_deserializer=queue.deserialize,
    )


async def run_workers(ctx: WorkerContext, redis: ArqRedis) -> None:
    """Run the workers of all queues, the delivery loop, the polling of mirrors and the sweep, until cancelled.

    Jobs that have started are finished first; updates of mirrors are cut off and repeated later.
    """

    async def beat() -> None:
        await heartbeats.beat(ctx.db, ctx.holder, heartbeats.BEAT_SECONDS)

    pause = heartbeats.BEAT_INTERVAL
    try:
        async with in_background(repeat("heart-beat", beat, pause, max_pause=pause)):
            await _run_loops(ctx, redis)
    finally:
        with suppress(*DB_ERRORS):
            await heartbeats.end(ctx.db, ctx.holder)


async def _run_loops(ctx: WorkerContext, redis: ArqRedis) -> None:
    guard = Guard(networks=tuple(ctx.settings.webhook_allow))
    # Unlike gather, a task group ends only when all of its tasks have ended; the proxy must be open until then.
    async with open_proxy(guard) as proxy:
        with using_settings(ctx.settings):
            async with asyncio.TaskGroup() as group:
                ctx = replace(ctx, proxy=proxy)
                for name in QUEUES:
                    slots = Slots(ctx, redis, name, CONCURRENCY[name])
                    group.create_task(slots.run())
                    group.create_task(_take_hints(redis, name, slots.woken))
                group.create_task(run_delivery(ctx, redis))
                group.create_task(run_sweeping(ctx.settings))
                group.create_task(run_comparing(ctx))
                if ctx.settings.mirroring:
                    group.create_task(mirrors.run_polling(ctx))


async def _take_hints(redis: ArqRedis, name: str, woken: asyncio.Event) -> None:
    """Run arq's worker of a queue; start it again after an outage of Redis."""
    while True:
        worker = build_worker(redis, name, woken)
        running = asyncio.create_task(worker.async_run())
        try:
            await asyncio.wait([running])
        finally:
            await end_task(running)
            await asyncio.gather(*worker.tasks.values(), return_exceptions=True)
        error = running.exception()
        if not isinstance(error, VALKEY_ERRORS):
            raise error or RuntimeError("arq's worker has ended")
        log.warning("queue", error=type(error).__name__)
        await asyncio.sleep(RETRY_PAUSE)
