"""One tail of the log per process: whoever waits for an event waits here, holding no connection and no thread."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from uuid import UUID

from redis.asyncio import Redis
from redis.exceptions import RedisError

from app.database import TROUBLE, Database
from app.logs import log
from app.metrics import WAITERS
from events import log as record_log

HEAD = "polyforge:head"
RING = "polyforge:ring"
PACE = 0.005  # seconds between two rings; those in between are one
POLL = 1.0  # seconds until a look without having been woken; bounds what a lost hint costs


class Tail:
    """`head` is the newest number this process knows of; everything up to it may be read."""

    def __init__(self, db: Database, redis: Redis) -> None:
        self.db = db
        self.redis = redis
        self.head = 0
        self._commands: dict[UUID, set[asyncio.Event]] = {}
        self._moved = asyncio.Event()
        self._woken = asyncio.Event()
        self._ring = asyncio.Event()
        self.closing = False

    def close(self) -> None:
        """The process is about to end: whoever waits here is answered with how things stand."""
        self.closing = True
        for waiters in self._commands.values():
            for waiter in waiters:
                waiter.set()
        self._moved.set()

    def ring(self) -> None:
        """Tell the relay that there is something to number. A hint: losing it costs a poll interval."""
        self._ring.set()

    @contextmanager
    def about(self, command_id: UUID) -> Iterator[asyncio.Event]:
        """An event that is set whenever the log says something about this command."""
        waiter = asyncio.Event()
        self._commands.setdefault(command_id, set()).add(waiter)
        WAITERS.inc()
        try:
            yield waiter
        finally:
            WAITERS.dec()
            waiters = self._commands[command_id]
            waiters.discard(waiter)
            if not waiters:
                del self._commands[command_id]

    async def past(self, seq: int, seconds: float) -> bool:
        """Wait until the log has gone past this number; False when the time is up first."""
        WAITERS.inc()
        try:
            async with asyncio.timeout(seconds):
                while self.head <= seq and not self.closing:
                    await self._moved.wait()
        except TimeoutError:
            return False
        finally:
            WAITERS.dec()
        return self.head > seq

    async def _follow(self) -> None:
        while True:
            try:
                await self._advance()
            except TROUBLE as trouble:
                log.warning("tail", trouble=type(trouble).__name__)
            with suppress(TimeoutError):
                async with asyncio.timeout(POLL):
                    await self._woken.wait()
            self._woken.clear()

    async def _advance(self) -> None:
        while passed := await self._commands_after_head():
            self.head = passed[-1][0]
            for _, command_id in passed:
                for waiter in self._commands.get(command_id, ()):
                    waiter.set()
            moved, self._moved = self._moved, asyncio.Event()
            moved.set()

    async def _commands_after_head(self) -> list[tuple[int, UUID]]:
        async with self.db.acquire() as connection:
            return await record_log.commands_after(connection, self.head)

    async def _listen(self) -> None:
        while True:
            try:
                async with self.redis.pubsub() as channel:
                    await channel.subscribe(HEAD)
                    async for _ in channel.listen():
                        self._woken.set()
            except (OSError, RedisError):
                await asyncio.sleep(POLL)

    async def _ringing(self) -> None:
        while True:
            await self._ring.wait()
            self._ring.clear()
            with suppress(OSError, RedisError):
                await self.redis.publish(RING, b"")
            await asyncio.sleep(PACE)


@asynccontextmanager
async def following(db: Database, redis: Redis) -> AsyncIterator[Tail]:
    tail = Tail(db, redis)
    async with db.acquire() as connection:
        tail.head = await record_log.head(connection)
    tasks = [asyncio.create_task(job()) for job in (tail._follow, tail._listen, tail._ringing)]
    try:
        yield tail
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
