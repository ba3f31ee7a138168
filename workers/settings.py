"""The arq workers: their functions and queues, start and stop."""

import asyncio
from dataclasses import replace
from typing import Any, cast

from arq.connections import ArqRedis
from arq.worker import Worker, func
from redis.exceptions import RedisError

import workers.commits
import workers.pull_requests
import workers.repositories
import workers.tasks  # noqa: F401 - register their reactions
from app.logs import log
from app.outgoing.guard import Guard
from app.outgoing.proxy import open_proxy
from workers import mirrors, queue
from workers.delivery import run_delivery
from workers.perform import perform
from workers.reactions import FOLLOW, GIT, MIRROR, QUEUES, WorkerContext

CONCURRENCY = {GIT: 4, MIRROR: 2, FOLLOW: 2}
RETRY_PAUSE = 0.5  # seconds until the next attempt to reach a queue that does not answer
POLL_DELAY = 0.02  # seconds between two polls of arq


async def _perform(arq_context: dict[str, Any], position: int, reaction: str) -> None:
    await perform(arq_context["worker"], position, reaction)


def build_worker(ctx: WorkerContext, redis: ArqRedis, name: str) -> Worker:
    """Build the worker of one queue. arq's retries and results are off, since workers/perform.py does both."""
    return Worker(
        functions=[
            func(cast(Any, _perform), name="perform", timeout=ctx.settings.git_deadline, keep_result=0, max_tries=1)
        ],
        queue_name=queue.queue_name(name),
        redis_pool=redis,
        ctx={"worker": ctx},
        max_jobs=CONCURRENCY[name],
        poll_delay=POLL_DELAY,
        keep_result=0,
        handle_signals=False,
        health_check_interval=15,
        job_serializer=queue.serialize,
        job_deserializer=queue.deserialize,
    )


async def run_workers(ctx: WorkerContext, redis: ArqRedis) -> None:
    """Run the workers of all queues, the delivery loop and the polling of mirrors, until cancelled.

    Jobs that have started are finished first; updates of mirrors are cut off and repeated later.
    """
    guard = Guard(networks=tuple(ctx.settings.webhook_allow))
    # Unlike gather, a task group ends only when all of its tasks have ended; the proxy must be open until then.
    async with open_proxy(guard) as proxy, asyncio.TaskGroup() as group:
        ctx = replace(ctx, proxy=proxy)
        for name in QUEUES:
            group.create_task(_run_queue(ctx, redis, name))
        group.create_task(run_delivery(ctx, redis))
        if ctx.settings.mirroring:
            group.create_task(mirrors.run_polling(ctx))


async def _run_queue(ctx: WorkerContext, redis: ArqRedis, name: str) -> None:
    """Run the worker of a queue; start it again after an outage of Redis."""
    while True:
        worker = build_worker(ctx, redis, name)
        try:
            await worker.async_run()
        except (OSError, RedisError) as error:
            log.warning("queue", error=type(error).__name__)
            await asyncio.sleep(RETRY_PAUSE)
        finally:
            await asyncio.gather(*worker.tasks.values(), return_exceptions=True)
