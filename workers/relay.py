"""The relay: numbers settled events, stores the work and the deliveries that they cause, wakes workers and waiters.

Any number of relays may run; the one that holds the lease leads. The lease is checked in the transaction that numbers,
so a leader that lost it without noticing numbers nothing.
"""

import asyncio
import time
import uuid
from contextlib import suppress

from arq.connections import ArqRedis
from redis.exceptions import RedisError

import app.dialects.pagure.hooks.envelope  # noqa: F401 - register the format
import workers.commits
import workers.pull_requests
import workers.repositories
import workers.tasks  # noqa: F401 - register their reactions
from app.background import in_background
from app.database import DB_ERRORS, Database
from app.feed.formats import list_unsupported
from app.feed.tail import RING, listen
from app.logs import log
from app.metrics import LEADERSHIPS, RELAY_HEAD, RELAY_LAG
from app.stores import deliveries, idempotency_keys, work
from app.stores.deliveries import FANNED_OUT, WAKE, WANTED
from events import log as record_log
from workers import queue
from workers.reactions import REACTIONS_BY_TYPE, Reaction

TAKE_LEAD = """
    insert into leases as held (name, holder, until) values ('relay', $1, now() + make_interval(secs => $2))
    on conflict (name) do update
    set    holder = excluded.holder, until = excluded.until,
           token  = held.token + case when held.holder = excluded.holder then 0 else 1 end
    where  held.holder = excluded.holder or held.until < now()
    returning token
"""
# One statement numbers events while this relay holds the lease, and stores their work and their deliveries.
NUMBER = record_log.build_numbering_statement(
    allowed="select 1 from leases where name = 'relay' and holder = $2 and until > now() for update",
    also=f""", due as (
        insert into work (position, reaction, queue)
        select placed.position, reactions.reaction, reactions.queue
        from   placed
        join   unnest($3::text[], $4::text[], $5::text[]) as reactions (type, reaction, queue) using (type)
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
    (event_type, reaction.name, reaction.queue)
    for event_type, reactions in REACTIONS_BY_TYPE.items()
    for reaction in reactions
]
UNSUPPORTED = list_unsupported()

LEASE_SECONDS = 5.0  # seconds until a standby takes over from a leader that stopped renewing
POLL_INTERVAL = 0.25  # seconds between rounds when nothing rings
BUSY_PAUSE = 0.005  # seconds between rounds under load, so that one round numbers many events
SWEEP_INTERVAL = 1.0  # seconds between two sweeps for work that no worker holds
TIDY_INTERVAL = 60.0  # seconds between two cleanups after processes that died
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

    async def run(self) -> None:
        """Lead or stand by until cancelled. Survives outages of the database and of the queue."""
        try:
            async with in_background(listen(self.redis, RING, self.rung)):
                await self._lead()
        finally:
            with suppress(Exception):
                await self.db.execute("update leases set until = now() where holder = $1", self.holder)

    async def _lead(self) -> None:
        while True:
            try:
                busy = await self._round()
            except (*DB_ERRORS, RedisError) as error:
                log.warning("relay", error=type(error).__name__)
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
            await self.sweep()
            await idempotency_keys.delete_expired(self.db)
            await deliveries.delete_ended(self.db)
            async with self.db.acquire() as connection:
                RELAY_LAG.set(await record_log.oldest_unnumbered(connection))
        if now >= self._tidy_at:
            self._tidy_at = now + TIDY_INTERVAL
            await self.tidy()
        return await self._number() > 0

    async def _elect(self) -> None:
        leads = await self.db.fetchval(TAKE_LEAD, self.holder, LEASE_SECONDS) is not None
        if leads and not self.leading:
            LEADERSHIPS.inc()
            log.info("relay leads", holder=self.holder)
        self.leading = leads

    async def _number(self) -> int:
        async with self.db.acquire() as connection:
            done = await record_log.number_settled(
                connection,
                BATCH_SIZE,
                self.holder,
                *map(list, zip(*REACTION_ROWS, strict=True)),
                UNSUPPORTED,
                statement=NUMBER,
            )
        self.leading = done.allowed
        numbered = done.numbered
        if numbered:
            RELAY_HEAD.set(numbered[-1].seq)
            due = [
                (event.position, reaction) for event in numbered for reaction in REACTIONS_BY_TYPE.get(event.type, [])
            ]
            await self._notify(numbered[-1].seq, due)
        return len(numbered)

    async def _notify(self, head: int, due: list[tuple[int, Reaction]]) -> None:
        """Wake workers and waiters. These are hints; the sweep and the waiters' polling make up for lost ones."""
        try:
            for position, reaction in due:
                await queue.enqueue(self.redis, reaction.queue, position, reaction.name, "0")
            await self.redis.publish(queue.HEAD, str(head))
        except (OSError, RedisError) as error:
            log.warning("relay could not ring", error=type(error).__name__)

    async def sweep(self) -> int:
        """Enqueue work again that is due and that no worker holds. Returns the amount of such work."""
        rows = await work.list_unattended(self.db, SWEEP_INTERVAL)
        bucket = int(time.time() / 5)
        try:
            for row in rows:
                await queue.enqueue(
                    self.redis, row["queue"], row["position"], row["reaction"], f"{row['attempts']}@{bucket}"
                )
        except (OSError, RedisError) as error:
            log.warning("sweep could not ring", error=type(error).__name__)
        return len(rows)

    async def tidy(self) -> None:
        """Repair lanes and delete orphaned endpoints of subscriptions."""
        if repaired := await deliveries.repair_lanes(self.db):
            log.warning("lanes repaired", lanes=repaired)
        await deliveries.delete_orphans(self.db)
