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

from app.database import DB_ERRORS, Database
from app.logs import log
from app.metrics import WAITERS
from app.queries.feed import FeedFilter
from events import log as record_log
from events.log import LogEntry

Key: TypeAlias = tuple[tuple[str, ...] | None, str | None]

HEAD = "polyforge:head"
RING = "polyforge:ring"
RING_PAUSE = 0.005  # seconds between two rings; those in between are one
POLL_INTERVAL = 1.0  # seconds until a look without having been woken; bounds what a lost hint costs
REVOCATION = "token.revoked"  # whoever waits looks up for this too: it may be theirs
MAX_RECENT = 4096  # events that went by last; whoever has been away for longer asks the log


class WaiterGroup:
    """Those who wait for the same events, and what these are."""

    def __init__(self, wanted: FeedFilter) -> None:
        self.wanted = wanted
        self.waiters: set[asyncio.Future[tuple[bool, int]]] = set()

    def notify(self, found: bool, seq: int) -> None:
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
        self._recent: deque[LogEntry] = deque(maxlen=MAX_RECENT)
        # By project, so that an event asks nobody who waits for another project's.
        self._groups: dict[int | None, dict[Key, WaiterGroup]] = {}
        self._woken = asyncio.Event()
        self._ring = asyncio.Event()
        self.closing = False

    def close(self) -> None:
        """The process is about to end: whoever waits here is answered with how things stand."""
        self.closing = True
        for waiters in self._commands.values():
            for waiter in waiters:
                waiter.set()
        for group in self._all():
            group.notify(False, self.head)

    def ring(self) -> None:
        """Tell the relay that there is something to number. A hint: losing it costs a poll interval."""
        self._ring.set()

    @contextmanager
    def watch_command(self, command_id: UUID) -> Iterator[asyncio.Event]:
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

    async def wait_past(self, seq: int, seconds: float, wanted: FeedFilter) -> tuple[bool, int]:
        """Wait until something wanted may have gone past this number; False when the time is up first.

        Also says up to where nothing wanted is: events that are not wanted wake nobody, and cost no statement.
        """
        found, seq = self._scan_recent(seq, wanted)
        if found or self.closing or seconds <= 0:
            return found, seq
        key = (None if wanted.types is None else tuple(wanted.types), wanted.actor)
        group = self._groups.setdefault(wanted.project_id, {}).setdefault(key, WaiterGroup(wanted))
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[tuple[bool, int]] = loop.create_future()
        group.waiters.add(waiter)
        # No asyncio.timeout: between its end and the next step here the head may move over what is wanted.
        clock = loop.call_later(seconds, self._time_is_up, waiter)
        WAITERS.inc()
        try:
            found, upto = await waiter
        finally:
            WAITERS.dec()
            clock.cancel()
            group.waiters.discard(waiter)
            self._discard_if_empty(wanted.project_id, key, group)
        return found, max(seq, upto)

    def _time_is_up(self, waiter: asyncio.Future[tuple[bool, int]]) -> None:
        """Nothing that is wanted has come up to here, or it would have been told."""
        if not waiter.done():
            waiter.set_result((False, self.head))

    def _discard_if_empty(self, project_id: int | None, key: Key, group: WaiterGroup) -> None:
        """A group that has gone home is forgotten, unless another has gathered in its place."""
        groups = self._groups.get(project_id, {})
        if not group.waiters and groups.get(key) is group:
            del groups[key]
            if not groups:
                del self._groups[project_id]

    def _all(self) -> list[WaiterGroup]:
        return [group for groups in self._groups.values() for group in groups.values()]

    def _wake(self, passed: LogEntry) -> None:
        """Those who wait for this. What nobody wants costs next to nothing, however many wait."""
        if passed.type == REVOCATION:
            concerned = self._all()
        else:
            places = {None, passed.project_id}
            concerned = [group for place in places for group in self._groups.get(place, {}).values()]
        for group in concerned:
            if passed.type == REVOCATION or group.wanted.takes(passed):
                group.notify(True, passed.seq - 1)

    def _scan_recent(self, seq: int, wanted: FeedFilter) -> tuple[bool, int]:
        if self.head <= seq:
            return False, seq
        if self.head - seq > len(self._recent):
            return True, seq
        for n in range(len(self._recent) - (self.head - seq), len(self._recent)):
            passed = self._recent[n]
            if passed.type == REVOCATION or wanted.takes(passed):
                return True, passed.seq - 1
        return False, self.head

    async def _follow(self) -> None:
        while True:
            try:
                await self._advance()
            except DB_ERRORS as error:
                log.warning("tail", error=type(error).__name__)
            with suppress(TimeoutError):
                async with asyncio.timeout(POLL_INTERVAL):
                    await self._woken.wait()
            self._woken.clear()

    async def _advance(self) -> None:
        while passed := await self._passed():
            self._recent += passed
            self.head = passed[-1].seq
            for each in passed:
                concerned = (
                    self._commands.values() if each.type == REVOCATION else [self._commands.get(each.command_id, ())]
                )
                for waiter in chain.from_iterable(concerned):
                    waiter.set()
                self._wake(each)

    async def _passed(self) -> list[LogEntry]:
        async with self.db.acquire() as connection:
            return await record_log.read_entries(connection, self.head)

    async def _ringing(self) -> None:
        while True:
            await self._ring.wait()
            self._ring.clear()
            with suppress(OSError, RedisError):
                await self.redis.publish(RING, b"")
            await asyncio.sleep(RING_PAUSE)


async def listen(redis: Redis, channel: str, rung: asyncio.Event) -> None:
    """Set `rung` whenever something is published there, until cancelled. A queue that is away is asked again."""
    while True:
        try:
            async with redis.pubsub() as heard:
                await heard.subscribe(channel)
                async for _ in heard.listen():
                    rung.set()
        except (OSError, RedisError):
            await asyncio.sleep(POLL_INTERVAL)


@asynccontextmanager
async def open_tail(db: Database, redis: Redis) -> AsyncIterator[Tail]:
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
