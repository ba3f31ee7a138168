"""The relay: numbers settled events, stores the work and the deliveries that they cause, wakes workers and waiters.

Any number of relays may run; the one that holds the lease leads. The lease is checked in the transaction that numbers,
so a leader that lost it without noticing numbers nothing.
"""

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from functools import partial

from arq.connections import ArqRedis

import app.dialects.pagure.hooks.envelope  # noqa: F401 - register the format
import workers.commits
import workers.pull_requests
import workers.repositories
import workers.tasks  # noqa: F401 - register their reactions
from app.background import end_task, in_background, repeat
from app.database import Database, is_unavailable
from app.feed.formats import list_unsupported
from app.feed.tail import RING, listen
from app.logs import log
from app.metrics import LEADERSHIPS, RELAY_HEAD, RELAY_LAG
from app.points import Point, reach
from app.stores import deliveries, heartbeats, idempotency_keys, work
from app.stores.deliveries import FANNED_OUT, WAKE, WANTED
from app.valkey import VALKEY_ERRORS
from events import log as record_log
from workers import queue
from workers.reactions import REACTIONS_BY_TYPE

TAKE_LEAD = """
    insert into leases as held (name, holder, until) values ('relay', $1, now() + make_interval(secs => $2))
    on conflict (name) do update
    set    holder = excluded.holder, until = excluded.until,
           token  = held.token + case when held.holder = excluded.holder then 0 else 1 end
    where  held.holder = excluded.holder or held.until < now()
    or     held.until > now() + make_interval(secs => $2)  -- by a clock that has been set back since
    returning token
"""
# One statement numbers events while this relay holds the lease, and stores their work and their deliveries.
NUMBER = record_log.build_numbering_statement(
    allowed="select 1 from leases where name = 'relay' and holder = $2 and until > now() for update",
    also=f""", due as (
        insert into work (position, reaction, queue, project_id)
        select placed.position, reactions.reaction, reactions.queue, coalesce(placed.project_id, 0)
        from   placed
        join   unnest($3::text[], $4::text[], $5::text[], $7::text[]) as reactions (type, reaction, queue, prefix)
               on reactions.type = placed.type and (reactions.prefix = '' or starts_with(placed.ref, reactions.prefix))
        on conflict do nothing
    ), added as (
        insert into deliveries (subscription_id, lane, seq, position)
        select {FANNED_OUT}
        from   placed as numbers
        join   events using (position)
        join   subscriptions on (subscriptions.status in ('active', 'paused')
                                 or subscriptions.gone is not null and events.type = 'project.deleted')
                             and {WANTED.format(silent="$6::text[]")}
        returning subscription_id, lane
    ), woken as ({WAKE.format(due="known.due_at")})""",
)
REACTION_ROWS = [
    (event_type, reaction.name, reaction.queue, reaction.ref_prefix)
    for event_type, reactions in REACTIONS_BY_TYPE.items()
    for reaction in reactions
]
UNSUPPORTED = list_unsupported()

LEASE_SECONDS = 5.0  # seconds until a standby takes over from a leader that stopped renewing
POLL_INTERVAL = 0.25  # seconds between rounds when nothing rings
BUSY_PAUSE = 0.005  # seconds between rounds under load, so that one round numbers many events
SWEEP_INTERVAL = 1.0  # seconds between two sweeps for work that no worker holds
TIDY_INTERVAL = 60.0  # seconds between two cleanups after processes that died
WATCH_SECONDS = 2 * heartbeats.BEAT_SECONDS  # seconds until workers without a heart-beat are judged to be dead
BATCH_SIZE = 1000  # events numbered by one statement


class Relay:
    """A relay, which leads or stands by."""

    def __init__(self, db: Database, redis: ArqRedis) -> None:
        self.db = db
        self.redis = redis
        self.holder = uuid.uuid4().hex
        self.leading = False
        self.rung = asyncio.Event()
        self._renew_at = 0.0
        self._sweep_at = 0.0
        self._tidy_at = 0.0
        self._watch = heartbeats.Watch()
        self._hints = asyncio.Event()
        self._queues: set[str] = set()
        self._head: int | None = None

    async def run(self) -> None:
        """Lead or stand by until cancelled. Survives outages of the database and of the queue."""
        try:
            hints = repeat("hints", self._give_hints, 0.0)
            async with in_background(listen(self.redis, RING, self.rung)), in_background(hints):
                leading = asyncio.create_task(self._lead())
                try:
                    await asyncio.wait([leading])
                finally:
                    await end_task(leading)
                leading.result()  # which ended by itself, so there is an error
        finally:
            with suppress(Exception):
                await self.db.execute("update leases set until = now() where holder = $1", self.holder)

    async def _lead(self) -> None:
        while True:
            try:
                busy = await self._round()
            except Exception as error:
                log.warning("relay", error=type(error).__name__, exc_info=not is_unavailable(error))
                self.leading = False
                await asyncio.sleep(POLL_INTERVAL)
                continue
            if busy:
                await asyncio.sleep(BUSY_PAUSE)
            else:
                # Not wait_for, which before Python 3.12 can lose a cancellation that arrives together with a ring.
                with suppress(TimeoutError):
                    async with asyncio.timeout(POLL_INTERVAL):
                        await self.rung.wait()
                self.rung.clear()

    async def _round(self) -> bool:
        """Run one round; True if there may be more to do at once."""
        now = time.monotonic()
        if now >= self._renew_at:
            await self._elect()
            self._renew_at = now + LEASE_SECONDS / 5
        if not self.leading:
            return False
        if now >= self._sweep_at:
            self._sweep_at = now + SWEEP_INTERVAL
            await self._do_chores(
                self.sweep,
                partial(idempotency_keys.delete_expired, self.db),
                partial(deliveries.delete_ended, self.db),
                self._measure_lag,
            )
        if now >= self._tidy_at:
            self._tidy_at = now + TIDY_INTERVAL
            await self._do_chores(self.tidy)
        return await self._number() > 0

    async def _do_chores(self, *chores: Callable[[], Awaitable[object]]) -> None:
        """Do each chore. A bug in one keeps neither the others nor the numbering from being done."""
        for chore in chores:
            try:
                await chore()
            except Exception as error:
                if is_unavailable(error):
                    raise
                log.exception("relay chore failed", chore=getattr(chore, "func", chore).__name__)

    async def _measure_lag(self) -> None:
        async with self.db.acquire() as connection:
            RELAY_LAG.set(await record_log.oldest_unnumbered(connection))

    async def _elect(self) -> None:
        leads = await self.db.fetchval(TAKE_LEAD, self.holder, LEASE_SECONDS) is not None
        if leads and not self.leading:
            LEADERSHIPS.inc()
            log.info("relay leads", holder=self.holder)
        self.leading = leads

    async def _number(self) -> int:
        types, names, queues, prefixes = map(list, zip(*REACTION_ROWS, strict=True))
        reach(Point.RELAY_NUMBERING)
        async with self.db.acquire() as connection:
            done = await record_log.number_settled(
                connection, BATCH_SIZE, self.holder, types, names, queues, UNSUPPORTED, prefixes, statement=NUMBER
            )
        self.leading = done.allowed
        numbered = done.numbered
        if numbered:
            reach(Point.RELAY_NUMBERED)
            RELAY_HEAD.set(numbered[-1].seq)
            asked = {reaction.queue for event in numbered for reaction in REACTIONS_BY_TYPE.get(event.type, [])}
            self._hint(asked, head=numbered[-1].seq)
        return len(numbered)

    def _hint(self, queues: Iterable[str], head: int | None = None) -> None:
        """Have workers and waiters woken. Lost hints cost a poll interval."""
        self._queues |= set(queues)
        self._head = head if head is not None else self._head
        self._hints.set()

    async def _give_hints(self) -> None:
        """Wake waiters and workers once. This loop alone waits for Redis, so numbering goes on while that is frozen."""
        await self._hints.wait()
        self._hints.clear()
        queues, head = self._queues, self._head
        self._queues, self._head = set(), None
        try:
            if head is not None:
                await self.redis.publish(queue.HEAD, str(head))
            for name in sorted(queues):
                await queue.give_hint(self.redis, name)
        except VALKEY_ERRORS as error:
            log.warning("hints were not given", error=type(error).__name__)
            await asyncio.sleep(POLL_INTERVAL)

    async def sweep(self) -> list[str]:
        """Hint again to the queues with work that is due and that no worker holds. Returns their names."""
        await self._free_leases_of_the_dead()
        queues = await work.list_unattended_queues(self.db, SWEEP_INTERVAL)
        if queues:
            self._hint(queues)
        return queues

    async def _free_leases_of_the_dead(self) -> None:
        if not await self._watch.look(self.db, WATCH_SECONDS):
            return
        if freed := await heartbeats.free_leases_of_the_dead(self.db):
            log.warning("leases of dead workers freed", leases=freed)

    async def tidy(self) -> None:
        """Repair lanes and delete orphaned endpoints of subscriptions."""
        if repaired := await deliveries.repair_lanes(self.db):
            log.warning("lanes repaired", lanes=repaired)
        await deliveries.delete_orphans(self.db)
