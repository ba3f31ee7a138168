"""The process-wide tail of the log, which wakes waiting requests. A waiter holds no connection and no thread."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from itertools import chain
from typing import TypeAlias
from uuid import UUID

from redis.asyncio import Redis

from app.background import end_task, repeat
from app.database import Database
from app.metrics import WAITERS
from app.queries.feed import FeedFilter
from app.valkey import VALKEY_ERRORS
from events import log as record_log
from events.log import LogEntry

Key: TypeAlias = tuple[tuple[str, ...] | None, str | None]

HEAD = "polyforge:head"
RING = "polyforge:ring"
RING_PAUSE = 0.005  # seconds between two rings; rings in between are merged
LISTEN_TIMEOUT = 30.0  # seconds to wait for one message
POLL_INTERVAL = 1.0  # seconds between polls when nothing rings; bounds the delay from a lost hint
REVOCATION = "token.revoked"  # wakes every waiter, whose own token it may be
MAX_RECENT = 4096  # latest events kept in memory; a waiter that is further behind reads the log


class WaiterGroup:
    """The waiters with the same filter."""

    def __init__(self, wanted: FeedFilter) -> None:
        self.wanted = wanted
        self.waiters: set[asyncio.Future[tuple[bool, int]]] = set()

    def notify(self, found: bool, seq: int) -> None:
        for waiter in self.waiters:
            if not waiter.done():
                waiter.set_result((found, seq))
        self.waiters = set()


class Tail:
    """The tail of the log. `head` is the newest number that this process knows of; all events up to it are readable."""

    def __init__(self, db: Database, redis: Redis) -> None:
        self.db = db
        self.redis = redis
        self.head = 0
        self._commands: dict[UUID, set[asyncio.Event]] = {}
        self._recent: deque[LogEntry] = deque(maxlen=MAX_RECENT)
        # By project, so that an event does not touch the waiters for other projects.
        self._groups: dict[int | None, dict[Key, WaiterGroup]] = {}
        self._woken = asyncio.Event()
        self._ring = asyncio.Event()
        self.closing = False

    def close(self) -> None:
        """Release all waiters because the process is about to end."""
        self.closing = True
        for waiters in self._commands.values():
            for waiter in waiters:
                waiter.set()
        for group in self._list_groups():
            group.notify(False, self.head)

    def ring(self) -> None:
        """Hint to the relay that there is something to number. Losing the hint costs a poll interval."""
        self._ring.set()

    @contextmanager
    def watch_command(self, command_id: UUID) -> Iterator[asyncio.Event]:
        """Yield an asyncio event that is set whenever the log has an event of this command or a revoked token."""
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
        """Wait until an event after `seq` may match the filter; False when the time is up first.

        Also returns the number up to which no event matches: other events wake nobody and cost no statement.
        """
        found, seq = self._scan_recent(seq, wanted)
        if found or self.closing or seconds <= 0:
            return found, seq
        key = (None if wanted.types is None else tuple(wanted.types), wanted.actor)
        group = self._groups.setdefault(wanted.project_id, {}).setdefault(key, WaiterGroup(wanted))
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[tuple[bool, int]] = loop.create_future()
        group.waiters.add(waiter)
        # Not asyncio.timeout: between its expiry and the next step here the head may move past a matching event.
        timer = loop.call_later(seconds, self._expire, waiter)
        WAITERS.inc()
        try:
            found, upto = await waiter
        finally:
            WAITERS.dec()
            timer.cancel()
            group.waiters.discard(waiter)
            self._discard_if_empty(wanted.project_id, key, group)
        return found, max(seq, upto)

    def _expire(self, waiter: asyncio.Future[tuple[bool, int]]) -> None:
        """Answer that nothing matched up to the head; a match would have resolved the waiter already."""
        if not waiter.done():
            waiter.set_result((False, self.head))

    def _discard_if_empty(self, project_id: int | None, key: Key, group: WaiterGroup) -> None:
        """Forget a group without waiters, unless a new group has taken its place."""
        groups = self._groups.get(project_id, {})
        if not group.waiters and groups.get(key) is group:
            del groups[key]
            if not groups:
                del self._groups[project_id]

    def _list_groups(self) -> list[WaiterGroup]:
        return [group for groups in self._groups.values() for group in groups.values()]

    def _wake_groups(self, entry: LogEntry) -> None:
        """Notify the waiters for this event. An event that nobody waits for is cheap, however many wait."""
        if entry.type == REVOCATION:
            candidates = self._list_groups()
        else:
            projects = {None, entry.project_id}
            candidates = [group for project in projects for group in self._groups.get(project, {}).values()]
        for group in candidates:
            if entry.type == REVOCATION or group.wanted.matches(entry):
                group.notify(True, entry.seq - 1)

    def _scan_recent(self, seq: int, wanted: FeedFilter) -> tuple[bool, int]:
        if self.head <= seq:
            return False, seq
        if self.head - seq > len(self._recent):
            return True, seq
        for index in range(len(self._recent) - (self.head - seq), len(self._recent)):
            entry = self._recent[index]
            if entry.type == REVOCATION or wanted.matches(entry):
                return True, entry.seq - 1
        return False, self.head

    async def _follow(self) -> None:
        await repeat("tail", self._advance, POLL_INTERVAL, self._woken)

    async def _advance(self) -> None:
        while entries := await self._read_entries():
            self._recent += entries
            self.head = entries[-1].seq
            for entry in entries:
                self._wake_command(entry)
                self._wake_groups(entry)

    def _wake_command(self, entry: LogEntry) -> None:
        commands = self._commands
        waiters = commands.values() if entry.type == REVOCATION else [commands.get(entry.command_id, ())]
        for waiter in chain.from_iterable(waiters):
            waiter.set()

    async def _read_entries(self) -> list[LogEntry]:
        async with self.db.acquire() as connection:
            return await record_log.read_entries(connection, self.head)

    async def _forward_rings(self) -> None:
        await self._ring.wait()
        self._ring.clear()
        with suppress(*VALKEY_ERRORS):
            await self.redis.publish(RING, b"")


async def listen(redis: Redis, channel: str, rung: asyncio.Event) -> None:
    """Set `rung` whenever something is published to the channel, until cancelled. Reconnects after an outage."""

    async def listen_once() -> None:
        with suppress(*VALKEY_ERRORS):
            async with redis.pubsub() as pubsub:
                await pubsub.subscribe(channel)
                while True:
                    if await pubsub.get_message(timeout=LISTEN_TIMEOUT) is not None:
                        rung.set()

    await repeat(f"listening to {channel}", listen_once, POLL_INTERVAL)


@asynccontextmanager
async def open_tail(db: Database, redis: Redis) -> AsyncIterator[Tail]:
    """Run a tail in the background for the length of a block."""
    tail = Tail(db, redis)
    async with db.acquire() as connection:
        tail.head = await record_log.head(connection)
    rings = repeat("rings", tail._forward_rings, RING_PAUSE)
    jobs = (tail._follow(), rings, listen(redis, HEAD, tail._woken))
    tasks = [asyncio.create_task(job) for job in jobs]
    try:
        yield tail
    finally:
        for task in tasks:
            await end_task(task)
