"""Lanes of deliveries: claimed under a lease, sent in order, postponed when an endpoint fails.

A lane has a row while deliveries wait in it. Each claim sets a new fencing token, so a worker that lost its lease to
another one cannot write any more.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson

from app.database import Database, Row
from app.stores.sealed import build_context

MAX_CANDIDATES = 256  # due lanes that one claim considers
ABANDON_BATCH = 1000  # deliveries given up by one statement

# $1: lease in seconds. $2: subscriptions that already hold their share of lanes. $3, $4: other subscriptions and the
# number of lanes that they hold. $5: lanes that a subscription may hold; only one if it failed $6 times in a row.
# $7: maximum number of lanes to claim. $8: the worker process.
CLAIM = f"""
    with due as materialized (
        select    lanes.subscription_id, lanes.lane, lanes.due_at,
                  case when circuits.failures >= $6 then 1 else $5 end as share
        from      lanes left join circuits using (subscription_id)
        where     lanes.due_at <= now()
        and       (lanes.lease_until is null or lanes.lease_until < now())
        and       (circuits.open_until is null or circuits.open_until <= now())
        and       lanes.subscription_id <> all ($2)
        order by  lanes.due_at
        limit     {MAX_CANDIDATES}
    ), placed as materialized (
        select    due.*, coalesce(taken.count, 0) + row_number() over (
                      partition by due.subscription_id order by due.due_at) as place
        from      due left join unnest($3::uuid[], $4::int[]) as taken (subscription_id, count) using (subscription_id)
    ), mine as materialized (
        select    lanes.subscription_id, lanes.lane
        from      placed join lanes using (subscription_id, lane)
        where     placed.place <= placed.share
        and       lanes.due_at <= now() and (lanes.lease_until is null or lanes.lease_until < now())
        order by  placed.due_at
        limit     $7
        for update of lanes skip locked
    )
    update lanes
    set    lease_until = now() + make_interval(secs => $1), token = gen_random_uuid(), holder = $8
    from   mine
    where  lanes.subscription_id = mine.subscription_id and lanes.lane = mine.lane
    returning lanes.subscription_id, lanes.lane, lanes.token, lanes.due_at
"""
# Lanes that are locked at the moment are skipped and renewed the next time, which prevents deadlocks.
RENEW = """
    update lanes
    set    lease_until = now() + make_interval(secs => $1)
    from   (select subscription_id, lane from lanes
            join   unnest($2::uuid[], $3::bigint[], $4::uuid[]) as mine (subscription_id, lane, token)
                   using (subscription_id, lane, token)
            for no key update of lanes skip locked) as held
    where  lanes.subscription_id = held.subscription_id and lanes.lane = held.lane
    returning lanes.token
"""
LIST_WAITING = """
    select    lanes.news, next.*
    from      lanes
    left join lateral (
        select   delivery_id, seq, position, attempts, parts, created_at
        from     deliveries
        where    deliveries.subscription_id = $1 and deliveries.lane = $2 and status = 'waiting'
        order by seq, delivery_id
        limit    $4) as next on true
    where     lanes.subscription_id = $1 and lanes.lane = $2 and lanes.token = $3
    order by  next.seq, next.delivery_id
"""
STILL_HELD = """
    select 1 from lanes
    where  subscription_id = $1 and lane = $2 and token = $3
    for no key update
"""
RECORD_ATTEMPT = """
    insert into delivery_attempts (delivery_id, at, status, duration_ms, error, excerpt)
    select $4, $5, $6, $7, $8, $9 from held
"""
# $10: this was the delivery's last message.
MARK_DELIVERED = f"""
    with held as ({STILL_HELD}), tried as ({RECORD_ATTEMPT}), closed as (
        delete from circuits using held where subscription_id = $1
    )
    update deliveries
    set    parts = parts + 1, status = case when $10::boolean then 'delivered' else status end,
           attempts = attempts + case when $10::boolean then 1 else 0 end,
           ended_at = case when $10::boolean then now() end
    from   held
    where  delivery_id = $4
    returning 1
"""
MARK_SUPPRESSED = f"""
    with held as ({STILL_HELD})
    update deliveries
    set    status = 'suppressed', reason = $5, ended_at = now()
    from   held
    where  delivery_id = $4
    returning 1
"""
# $10: due time of the lane when it was claimed; if it has changed, the lane was woken and stays due. $11: seconds until
# the next attempt, null if there is none. $12: attempts before this one; a redelivery meanwhile resets them, and then
# the delivery does not fail. $13: failures in a row that open the circuit. $14, $15: seconds that the circuit stays
# open at first and at most. $16: seconds for which the endpoint asked for no requests. A failure while the circuit is
# open is not counted, since that request was already on its way when the circuit opened.
MARK_FAILED = f"""
    with held as (
        update lanes
        set    lease_until = null, token = null,
               due_at = case when due_at = $10 then now() + make_interval(secs => coalesce($11, 0)) else due_at end
        where  subscription_id = $1 and lane = $2 and token = $3
        returning 1
    ), tried as ({RECORD_ATTEMPT}), counted as (
        insert into circuits as known (subscription_id, failures, failing_since, open_until)
        select $1, 1, now(), now() + make_interval(secs => $16) from held
        on conflict (subscription_id) do update
        set    failures = known.failures + case when known.open_until > now() then 0 else 1 end,
               open_until = greatest(known.open_until, excluded.open_until,
                   case when known.open_until <= now() and known.failures + 1 >= $13::int then
                   now() + make_interval(secs => least($14 * 2 ^ least(known.failures + 1 - $13, 20), $15)) end)
        returning failing_since
    ), ended as (
        update deliveries
        set    attempts = attempts + 1,
               status = case when $11::float is null and attempts >= $12 then 'failed' else 'waiting' end,
               ended_at = case when $11::float is null and attempts >= $12 then now() end
        from   held
        where  delivery_id = $4
    )
    select failing_since from counted
"""
RELEASE_IDLE = "delete from lanes where subscription_id = $1 and lane = $2 and token = $3 and news = $4 returning 1"
RELEASE = """
    update lanes
    set    lease_until = null, token = null, due_at = now() + make_interval(secs => $4)
    where  subscription_id = $1 and lane = $2 and token = $3
"""
# $5: keep the delivery of project.deleted.
MARK_ABANDONED = f"""
    with held as ({STILL_HELD}), next as (
        select   delivery_id
        from     deliveries
        where    subscription_id = $1 and lane = $2 and status = 'waiting'
        and      not ($5::boolean and exists (select 1 from events
                                              where  events.position = deliveries.position
                                              and    events.type = 'project.deleted'))
        order by seq, delivery_id
        limit    {ABANDON_BATCH}
    )
    update deliveries
    set    status = 'suppressed', reason = $4, ended_at = now()
    from   held, next
    where  deliveries.delivery_id = next.delivery_id
    returning 1
"""
ENDPOINT = """
    select subscriptions.*, kept.url, kept.secret, kept.headers,
           case when kept.previous_until > now() then kept.previous_secret end as previous_secret,
           tokens.expires_at <= now() as expired
    from   subscriptions
    left join subscription_endpoints as kept using (subscription_id)
    left join tokens using (token_id)
    where  subscription_id = $1
"""


SEALED = {"url": "url", "secret": "secret", "previous_secret": "secret", "headers": "headers"}  # column: label


@dataclass(frozen=True)
class Lane:
    """A lane that this worker has claimed, with its due time at that moment."""

    subscription_id: UUID
    lane: int
    token: UUID
    due_at: datetime

    @property
    def held(self) -> tuple[UUID, int, UUID]:
        return self.subscription_id, self.lane, self.token


@dataclass(frozen=True)
class Attempt:
    """The outcome of sending a message. `error` is a class of failure; `again` is the number of seconds for which the
    endpoint asked for no requests.
    """

    at: datetime
    status: int | None
    duration_ms: int
    error: str | None
    excerpt: str | None
    again: float = 0.0

    @property
    def delivered(self) -> bool:
        return self.error is None and self.status is not None and 200 <= self.status < 300


@dataclass(frozen=True)
class WaitingDeliveries:
    """The first waiting deliveries of a lane, with the lane's `news` counter at that moment."""

    news: int
    deliveries: list[Row]


async def claim(
    db: Database,
    lease: float,
    taken: Mapping[UUID, int],
    share: int,
    failing: int,
    limit: int,
    holder: UUID | None = None,
) -> list[Lane]:
    """Claim due lanes that no worker holds, the longest due first.

    `taken` is the number of lanes that this worker holds for each subscription, `share` the maximum; a subscription
    that failed at least `failing` times in a row may hold only one.
    """
    full = [subscription for subscription, count in taken.items() if count >= share]
    return [
        Lane(*row)
        for row in await db.fetch(CLAIM, lease, full, list(taken), list(taken.values()), share, failing, limit, holder)
    ]


async def renew(db: Database, lease: float, held: list[Lane]) -> set[UUID]:
    """Renew the leases of these lanes. Returns the tokens of the renewed ones."""
    columns = zip(*(lane.held for lane in held), strict=True)
    return {row["token"] for row in await db.fetch(RENEW, lease, *map(list, columns))}


async def list_waiting(db: Database, lane: Lane, limit: int) -> WaitingDeliveries | None:
    """List the first waiting deliveries of a lane; None if another worker holds the lane by now."""
    rows = await db.fetch(LIST_WAITING, *lane.held, limit)
    return WaitingDeliveries(rows[0]["news"], [row for row in rows if row["delivery_id"]]) if rows else None


async def find_endpoint(db: Database, subscription_id: UUID) -> dict[str, Any] | None:
    """Find a subscription with its URL, secrets and headers, which are None if it has none. Raises KeyringError."""
    row = await db.fetchrow(ENDPOINT, subscription_id)
    if row is None:
        return None
    opened = {
        name: db.keyring.open(row[name], build_context("subscription_endpoints", label, subscription_id))
        for name, label in SEALED.items()
        if row[name] is not None
    }
    return {**row, **opened, "headers": orjson.loads(opened.get("headers", "{}"))}


async def mark_delivered(db: Database, lane: Lane, delivery: Row, attempt: Attempt, *, whole: bool = True) -> bool:
    """Record that the endpoint accepted a message. `whole`: it was the delivery's last one. False if another worker
    holds the lane by now.
    """
    return (
        await db.fetchval(MARK_DELIVERED, *lane.held, delivery["delivery_id"], *_attempt_arguments(attempt), whole)
        is not None
    )


async def mark_suppressed(db: Database, lane: Lane, delivery: Row, reason: str) -> bool:
    """Record that a delivery is not sent. False if another worker holds the lane by now."""
    return await db.fetchval(MARK_SUPPRESSED, *lane.held, delivery["delivery_id"], reason) is not None


async def mark_failed(
    db: Database, lane: Lane, delivery: Row, attempt: Attempt, after: float | None, *circuit: Any
) -> datetime | None:
    """Record a failed attempt and release the lane. Returns the time since which the endpoint has been failing.

    `after` is the number of seconds until the next attempt, None if this was the last one. `circuit` are the failures
    in a row that open the circuit, and the seconds that it stays open at first and at most.
    """
    since: datetime | None = await db.fetchval(
        MARK_FAILED,
        *lane.held,
        delivery["delivery_id"],
        *_attempt_arguments(attempt),
        lane.due_at,
        after,
        delivery["attempts"],
        *circuit,
        attempt.again,
    )
    return since


def _attempt_arguments(attempt: Attempt) -> tuple[Any, ...]:
    return attempt.at, attempt.status, attempt.duration_ms, attempt.error, attempt.excerpt


async def release_idle(db: Database, lane: Lane, news: int) -> bool:
    """Delete an empty lane. False if something was added since `news` or another worker holds the lane by now."""
    return await db.fetchval(RELEASE_IDLE, *lane.held, news) is not None


async def release(db: Database, lane: Lane, after: float = 0.0) -> None:
    """Release a lane, which becomes due after this number of seconds."""
    await db.execute(RELEASE, *lane.held, after)


async def abandon(db: Database, lane: Lane, reason: str, *, keep_deletion: bool = False) -> bool:
    """Suppress the first waiting deliveries of a lane with this reason. True if there may be more.

    `keep_deletion`: keep the delivery of the event that the project was deleted, which is still to be sent.
    """
    return len(await db.fetch(MARK_ABANDONED, *lane.held, reason, keep_deletion)) == ABANDON_BATCH
