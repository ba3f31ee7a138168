"""One tail of the log per process: whoever waits for an event waits here, holding no connection and no thread."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from itertools import chain
from typing import TypeAlias
from uuid import UUID

from redis.asyncio import Redis
from redis.exceptions import RedisError

from app.database import TROUBLE, Database
from app.logs import log
from app.metrics import WAITERS
from app.queries.feed import FeedFilter
from events import log as record_log
from events.log import Passed

Key: TypeAlias = tuple[tuple[str, ...] | None, str | None]

HEAD = "polyforge:head"
RING = "polyforge:ring"
PACE = 0.005  # seconds between two rings; those in between are one
POLL = 1.0  # seconds until a look without having been woken; bounds what a lost hint costs
ENDS = "token.revoked"  # whoever waits looks up for this too: it may be theirs
REMEMBERED = 4096  # events that went by last; whoever has been away for longer asks the log


class Crowd:
    """Those who wait for the same events, and what these are."""

    def __init__(self, wanted: FeedFilter) -> None:
        self.wanted = wanted
        self.waiters: set[asyncio.Future[tuple[bool, int]]] = set()

    def tell(self, found: bool, seq: int) -> None:
        for waiter in self.waiters:
            if not waiter.done():
                waiter.set_result((found, seq))
        self.waiters = set()


class Tail:
    """`head` is the newest number this process knows of; everything up to it may be read."""

    def __init__(self, db: Database, redis: Redis) -> None:
        self.db = db
        self.redis = redis
        self.head = 0
        self._commands: dict[UUID, set[asyncio.Event]] = {}
        self._recent: deque[Passed] = deque(maxlen=REMEMBERED)
        # By project, so that an event asks nobody who waits for another project's.
        self._crowds: dict[int | None, dict[Key, Crowd]] = {}
        self._woken = asyncio.Event()
        self._ring = asyncio.Event()
        self.closing = False

    def close(self) -> None:
        """The process is about to end: whoever waits here is answered with how things stand."""
        self.closing = True
        for waiters in self._commands.values():
            for waiter in waiters:
                waiter.set()
        for crowd in self._all():
            crowd.tell(False, self.head)

    def ring(self) -> None:
        """Tell the relay that there is something to number. A hint: losing it costs a poll interval."""
        self._ring.set()

    @contextmanager
    def about(self, command_id: UUID) -> Iterator[asyncio.Event]:
        """An event that is set whenever the log says something about this command, or that a token has ended."""
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

    async def past(self, seq: int, seconds: float, wanted: FeedFilter) -> tuple[bool, int]:
        """Wait until something wanted may have gone past this number; False when the time is up first.

        Also says up to where nothing wanted is: events that are not wanted wake nobody, and cost no statement.
        """
        found, seq = self._look(seq, wanted)
        if found or self.closing or seconds <= 0:
            return found, seq
        key = (None if wanted.types is None else tuple(wanted.types), wanted.actor)
        crowd = self._crowds.setdefault(wanted.project_id, {}).setdefault(key, Crowd(wanted))
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[tuple[bool, int]] = loop.create_future()
        crowd.waiters.add(waiter)
        # No asyncio.timeout: between its end and the next step here the head may move over what is wanted.
        clock = loop.call_later(seconds, self._time_is_up, waiter)
        WAITERS.inc()
        try:
            found, upto = await waiter
        finally:
            WAITERS.dec()
            clock.cancel()
            crowd.waiters.discard(waiter)
            self._tidy(wanted.project_id, key, crowd)
        return found, max(seq, upto)

    def _time_is_up(self, waiter: asyncio.Future[tuple[bool, int]]) -> None:
        """Nothing that is wanted has come up to here, or it would have been told."""
        if not waiter.done():
            waiter.set_result((False, self.head))

    def _tidy(self, project_id: int | None, key: Key, crowd: Crowd) -> None:
        """A crowd that has gone home is forgotten, unless another has gathered in its place."""
        crowds = self._crowds.get(project_id, {})
        if not crowd.waiters and crowds.get(key) is crowd:
            del crowds[key]
            if not crowds:
                del self._crowds[project_id]

    def _all(self) -> list[Crowd]:
        return [crowd for crowds in self._crowds.values() for crowd in crowds.values()]

    def _wake(self, passed: Passed) -> None:
        """Those who wait for this. What nobody wants costs next to nothing, however many wait."""
        if passed.type == ENDS:
            concerned = self._all()
        else:
            places = {None, passed.project_id}
            concerned = [crowd for place in places for crowd in self._crowds.get(place, {}).values()]
        for crowd in concerned:
            if passed.type == ENDS or crowd.wanted.takes(passed):
                crowd.tell(True, passed.seq - 1)

    def _look(self, seq: int, wanted: FeedFilter) -> tuple[bool, int]:
        if self.head <= seq:
            return False, seq
        if self.head - seq > len(self._recent):
            return True, seq
        for n in range(len(self._recent) - (self.head - seq), len(self._recent)):
            passed = self._recent[n]
            if passed.type == ENDS or wanted.takes(passed):
                return True, passed.seq - 1
        return False, self.head

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
        while passed := await self._passed():
            self._recent += passed
            self.head = passed[-1].seq
            for each in passed:
                concerned = self._commands.values() if each.type == ENDS else [self._commands.get(each.command_id, ())]
                for waiter in chain.from_iterable(concerned):
                    waiter.set()
                self._wake(each)

    async def _passed(self) -> list[Passed]:
        async with self.db.acquire() as connection:
            return await record_log.passed_after(connection, self.head)

    async def _ringing(self) -> None:
        while True:
            await self._ring.wait()
            self._ring.clear()
            with suppress(OSError, RedisError):
                await self.redis.publish(RING, b"")
            await asyncio.sleep(PACE)


async def listen(redis: Redis, channel: str, rung: asyncio.Event) -> None:
    """Set `rung` whenever something is published there, until cancelled. A queue that is away is asked again."""
    while True:
        try:
            async with redis.pubsub() as heard:
                await heard.subscribe(channel)
                async for _ in heard.listen():
                    rung.set()
        except (OSError, RedisError):
            await asyncio.sleep(POLL)


@asynccontextmanager
async def following(db: Database, redis: Redis) -> AsyncIterator[Tail]:
    tail = Tail(db, redis)
    async with db.acquire() as connection:
        tail.head = await record_log.head(connection)
    jobs = (tail._follow(), tail._ringing(), listen(redis, HEAD, tail._woken))
    tasks = [asyncio.create_task(job) for job in jobs]
    try:
        yield tail
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
