"""The arq queues, which tell workers of due work quickly. Work is stored in PostgreSQL, so losing Redis loses none."""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import orjson
from arq.connections import ArqRedis, RedisSettings, create_pool
from redis.exceptions import RedisError

from app.feed.tail import HEAD, RING

__all__ = ["HEAD", "RING", "connect", "deserialize", "enqueue", "queue_name", "relay_bell", "serialize"]


def queue_name(queue: str) -> str:
    return f"polyforge:{queue}"


def serialize(job: dict[str, Any]) -> bytes:
    """Encode a job as JSON. Jobs carry ids only, and a pickle would run any code that is put into the queue."""
    return orjson.dumps(job)


def deserialize(data: bytes) -> dict[str, Any]:
    job: dict[str, Any] = orjson.loads(data)
    return job


async def connect(url: str) -> ArqRedis:
    settings = RedisSettings.from_dsn(url)
    settings.conn_retries = 60
    return await create_pool(settings, job_serializer=serialize, job_deserializer=deserialize)


def relay_bell(redis: ArqRedis) -> Callable[[], Awaitable[None]]:
    """Make the function that hints to the relay that there is something to number. Losing a hint costs a poll
    interval.
    """

    async def ring_relay() -> None:
        with suppress(OSError, RedisError):
            await redis.publish(RING, b"")

    return ring_relay


async def enqueue(redis: ArqRedis, queue: str, position: int, reaction: str, ring: str) -> None:
    """Enqueue a piece of work. Jobs with the same `ring`, an attempt's or a sweep's name, are merged."""
    await redis.enqueue_job(
        "perform", position, reaction, _queue_name=queue_name(queue), _job_id=f"{position}:{reaction}:{ring}"
    )
