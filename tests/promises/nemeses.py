"""What can happen to a process at a named point: it dies, freezes, or loses the database or the queue."""

import asyncio
import os
import random
import signal
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeAlias

from redis.asyncio import Redis

from tests.processes import restart_service
from tests.promises.cluster import FROZEN, Cluster, read_stat
from tests.promises.parts import kill, wait_until

AWAY = 0.3  # seconds that the queue is away after the process has gone on
A_MOMENT = 0.05  # seconds
CUT = """
    select count(pg_terminate_backend(pid))
    from   pg_stat_activity
    where  backend_type = 'client backend' and pid <> pg_backend_pid()
"""


@dataclass(frozen=True)
class Stopped:
    """A process that is stopped at a point, and the process of the forge that it is or that has started it."""

    pid: int
    process: Any

    def go_on(self) -> None:
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGCONT)


Nemesis: TypeAlias = Callable[[Cluster, Stopped], Awaitable[None]]
NEMESES: dict[str, Nemesis] = {}


def nemesis(function: Nemesis) -> Nemesis:
    NEMESES[function.__name__] = function
    return function


@nemesis
async def kills(cluster: Cluster, stopped: Stopped) -> None:
    await kill(stopped.process)
    stopped.go_on()  # a hook that its git has left behind
    await cluster.replace_ended()


@nemesis
async def freezes(cluster: Cluster, stopped: Stopped) -> None:
    await asyncio.sleep(FROZEN)
    stopped.go_on()


@nemesis
async def freezes_and_dies(cluster: Cluster, stopped: Stopped) -> None:
    """It goes on after its lease, for a moment, which is enough for a step or two."""
    await freezes(cluster, stopped)
    await asyncio.sleep(random.SystemRandom().uniform(0, A_MOMENT))
    await kills(cluster, stopped)


@nemesis
async def loses_its_connections(cluster: Cluster, stopped: Stopped) -> None:
    await cluster.query(CUT)
    stopped.go_on()


@nemesis
async def loses_the_database(cluster: Cluster, stopped: Stopped) -> None:
    cluster.postgres.process.send_signal(signal.SIGQUIT)
    await asyncio.to_thread(cluster.postgres.process.wait, 20)
    stopped.go_on()
    await restart_service(cluster.postgres)


@nemesis
async def loses_the_queue(cluster: Cluster, stopped: Stopped) -> None:
    cluster.valkey.process.kill()
    await asyncio.to_thread(cluster.valkey.process.wait, 20)
    stopped.go_on()
    await asyncio.sleep(AWAY)
    await restart_service(cluster.valkey)


@nemesis
async def loses_the_hints(cluster: Cluster, stopped: Stopped) -> None:
    async with Redis.from_url(cluster.valkey.url) as redis:
        await redis.flushall()
    stopped.go_on()


def arm(cluster: Cluster, point: str) -> None:
    """Have the next process that reaches this point stop there."""
    (cluster.points / point).touch()


async def wait_for_stop(cluster: Cluster, point: str) -> Stopped:
    """Wait until a process has stopped at the point."""
    reached: list[int] = []

    async def has_stopped() -> bool:
        reached[:] = [int(path.suffix[1:]) for path in cluster.points.glob(f"{point}.*[0-9]")]
        return bool(reached) and read_stat(reached[0])[0] == "T"

    try:
        await wait_until(has_stopped, 15, 0.01)
    except TimeoutError:
        raise AssertionError(f"Nothing has reached {point}.") from None
    return Stopped(reached[0], cluster.find_process(reached[0]))


async def strike(cluster: Cluster, point: str, name: str) -> None:
    """Wait until a process has stopped at the point, and let this happen to it there."""
    await NEMESES[name](cluster, await wait_for_stop(cluster, point))
