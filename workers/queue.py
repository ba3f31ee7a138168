"""The arq queues, which tell workers quickly that work is due. Work is stored in PostgreSQL, so losing Redis loses
none.

A job in a queue is a hint, "look for due work", and the same for all work of the queue. A queue holds few of them
however much work there is, and a hint that is lost costs a poll interval.
"""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from itertools import cycle
from typing import Any

import orjson
from arq.connections import ArqRedis

from app.feed.tail import HEAD, RING
from app.valkey import VALKEY_ERRORS, open_client

__all__ = ["HEAD", "RING", "connect", "deserialize", "give_hint", "queue_name", "relay_bell", "serialize"]

MAX_HINTS = 4  # hints in one queue; several, since a hint that is given while another one is taken must not be lost
_hint_ids = cycle(range(MAX_HINTS))


def queue_name(queue: str) -> str:
    return f"polyforge:{queue}"


def serialize(job: dict[str, Any]) -> bytes:
    """Encode a job as JSON. Jobs carry no data, and a pickle would run any code that is put into the queue."""
    return orjson.dumps(job)


def deserialize(data: bytes) -> dict[str, Any]:
    job: dict[str, Any] = orjson.loads(data)
    return job


def connect(url: str) -> ArqRedis:
    """Open arq's client, which connects when it is used."""
    return open_client(url, ArqRedis, job_serializer=serialize, job_deserializer=deserialize)


def relay_bell(redis: ArqRedis) -> Callable[[], Awaitable[None]]:
    """Make the function that hints to the relay that there is something to number. Losing a hint costs a poll
    interval.
    """

    async def ring_relay() -> None:
        with suppress(*VALKEY_ERRORS):
            await redis.publish(RING, b"")

    return ring_relay


async def give_hint(redis: ArqRedis, queue: str) -> None:
    """Hint to the workers of a queue that work is due. Raises VALKEY_ERRORS."""
    await redis.enqueue_job("look", _queue_name=queue_name(queue), _job_id=f"{queue}:{next(_hint_ids)}")
