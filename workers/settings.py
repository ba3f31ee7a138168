"""The arq workers: functions, queues, start and stop."""

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
RETRY_PAUSE = 0.5  # seconds between looks for a queue that does not answer
POLL_DELAY = 0.02  # seconds; arq looks for work by polling


async def _perform(context: dict[str, Any], position: int, reaction: str) -> None:
    await perform(context["hands"], position, reaction)


def build_worker(ctx: WorkerContext, redis: ArqRedis, name: str) -> Worker:
    """A worker of one queue. Retries, results and schedules are ours (workers/perform.py), so arq's are off."""
    return Worker(
        functions=[
            func(cast(Any, _perform), name="perform", timeout=ctx.settings.git_deadline, keep_result=0, max_tries=1)
        ],
        queue_name=queue.queue_name(name),
        redis_pool=redis,
        ctx={"hands": ctx},
        max_jobs=CONCURRENCY[name],
        poll_delay=POLL_DELAY,
        keep_result=0,
        handle_signals=False,
        health_check_interval=15,
        job_serializer=queue.serialize,
        job_deserializer=queue.deserialize,
    )


async def run_workers(ctx: WorkerContext, redis: ArqRedis) -> None:
    """Work through every queue, send what is to be sent and look at what is mirrored, until cancelled. What has been
    begun is finished first, but for looks at what is mirrored: those are taken again.
    """
    guard = Guard(networks=tuple(ctx.settings.webhook_allow))
    # A group, unlike gather, ends only when all of them have; the way out is there until then.
    async with open_proxy(guard) as out, asyncio.TaskGroup() as queues:
        ctx = replace(ctx, proxy=out)
        for name in QUEUES:
            queues.create_task(_run_queue(ctx, redis, name))
        queues.create_task(run_delivery(ctx, redis))
        if ctx.settings.mirroring:
            queues.create_task(mirrors.run_polling(ctx))


async def _run_queue(ctx: WorkerContext, redis: ArqRedis, name: str) -> None:
    """One queue. While it is away it is waited for."""
    while True:
        running = build_worker(ctx, redis, name)
        try:
            await running.async_run()
        except (OSError, RedisError) as error:
            log.warning("queue", error=type(error).__name__)
            await asyncio.sleep(RETRY_PAUSE)
        finally:
            await asyncio.gather(*running.tasks.values(), return_exceptions=True)
