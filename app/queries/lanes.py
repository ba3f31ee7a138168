"""Lanes of deliveries: claimed under a lease, sent in order, postponed when an endpoint fails.

A lane's token is the fencing token: whoever lost the lease to another worker writes nothing more.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from app.database import Database, Row

CLAIM = """
    update lanes
    set    lease_until = now() + make_interval(secs => $1), token = lanes.token + 1
    where  (subscription_id, lane) in (
        select   due.subscription_id, due.lane
        from     lanes as due left join circuits using (subscription_id)
        where    due.due_at <= now()
        and      (due.lease_until is null or due.lease_until < now())
        and      (circuits.open_until is null or circuits.open_until <= now())
        and      due.subscription_id <> all ($2)
        order by due.due_at
        limit    $3
        for update of due skip locked)
    returning subscription_id, lane, token, news
"""
WAITING = """
    select   deliveries.delivery_id, deliveries.seq, deliveries.position, deliveries.attempts, deliveries.created_at
    from     deliveries
    where    subscription_id = $1 and lane = $2 and status = 'waiting'
    order by seq, delivery_id
    limit    $3
"""
HELD = """
    update lanes
    set    lease_until = now() + make_interval(secs => $4)
    where  subscription_id = $1 and lane = $2 and token = $3
    returning 1
"""
TRIED = """
    insert into delivery_attempts (delivery_id, at, status, duration_ms, error, excerpt)
    select $5, $6, $7, $8, $9, $10 from held
"""
DELIVERED = f"""
    with held as ({HELD}), tried as ({TRIED}), closed as (
        delete from circuits using held where subscription_id = $1
    )
    update deliveries
    set    status = 'delivered', attempts = attempts + 1, ended_at = now()
    from   held
    where  delivery_id = $5
    returning 1
"""
SUPPRESSED = f"""
    with held as ({HELD})
    update deliveries
    set    status = 'suppressed', reason = $6, ended_at = now()
    from   held
    where  delivery_id = $5
    returning 1
"""
# $4: nothing was added. $11: seconds until the next attempt, null when it was the last one; $12: failures in a row
# that open the circuit; $13, $14: seconds that it stays open at first and at most; $15: seconds for which the endpoint
# wants no more.
FAILED = f"""
    with held as (
        update lanes
        set    lease_until = null, due_at = now() + make_interval(secs => coalesce($11, 0)), news = news + $4
        where  subscription_id = $1 and lane = $2 and token = $3
        returning 1
    ), tried as ({TRIED}), counted as (
        insert into circuits as known (subscription_id, failures, failing_since, open_until)
        select $1, 1, now(), now() + make_interval(secs => $15) from held
        on conflict (subscription_id) do update
        set    failures = known.failures + 1,
               open_until = greatest(excluded.open_until, case when known.failures + 1 >= $12::int then
                   now() + make_interval(secs => least($13 * 2 ^ least(known.failures + 1 - $12, 20), $14)) end)
        returning failing_since
    ), ended as (
        update deliveries
        set    attempts = attempts + 1, status = case when $11::float is null then 'failed' else 'waiting' end,
               ended_at = case when $11::float is null then now() end
        from   held
        where  delivery_id = $5
    )
    select failing_since from counted
"""
REST = """
    update lanes
    set    lease_until = null, due_at = $5
    where  subscription_id = $1 and lane = $2 and token = $3 and news = $4
    returning 1
"""
LET_GO = "update lanes set lease_until = null where subscription_id = $1 and lane = $2 and token = $3"
GIVEN_UP = """
    update deliveries
    set    status = 'suppressed', reason = $3, ended_at = now()
    where  subscription_id = $1 and lane = $2 and status = 'waiting'
"""
ENDPOINT = """
    select subscriptions.*, kept.url, kept.secret, kept.headers,
           case when kept.previous_until > now() then kept.previous_secret end as previous_secret
    from   subscriptions
    left join subscription_endpoints as kept using (subscription_id)
    where  subscription_id = $1
"""


@dataclass(frozen=True)
class Lane:
    """One that this worker has claimed. `news` is how much had been added to it then."""

    subscription_id: UUID
    lane: int
    token: int
    news: int

    @property
    def held(self) -> tuple[UUID, int, int]:
        return self.subscription_id, self.lane, self.token


@dataclass(frozen=True)
class Attempt:
    """What came of sending. `error` is a class of failure, `again` the seconds for which the endpoint wants no more."""

    at: datetime
    status: int | None
    duration_ms: int
    error: str | None
    excerpt: str | None
    again: float = 0.0

    @property
    def delivered(self) -> bool:
        return self.error is None and self.status is not None and 200 <= self.status < 300


async def claim(db: Database, lease: float, full: list[UUID], limit: int) -> list[Lane]:
    """Lanes that are due and that nobody is at, but none of subscriptions that have `full` use of this worker."""
    return [Lane(*row) for row in await db.fetch(CLAIM, lease, full, limit)]


async def waiting(db: Database, lane: Lane, limit: int) -> list[Row]:
    return await db.fetch(WAITING, lane.subscription_id, lane.lane, limit)


async def endpoint(db: Database, subscription_id: UUID) -> Row | None:
    return await db.fetchrow(ENDPOINT, subscription_id)


async def delivered(db: Database, lane: Lane, lease: float, delivery: Row, attempt: Attempt) -> bool:
    """False when the lane is another worker's by now."""
    return await db.fetchval(DELIVERED, *lane.held, lease, delivery["delivery_id"], *_told(attempt)) is not None


async def suppressed(db: Database, lane: Lane, lease: float, delivery: Row, reason: str) -> bool:
    return await db.fetchval(SUPPRESSED, *lane.held, lease, delivery["delivery_id"], reason) is not None


async def failed(
    db: Database, lane: Lane, delivery: Row, attempt: Attempt, after: float | None, *circuit: Any
) -> datetime | None:
    """Since when the endpoint has been failing; the lane is let go. `after` None: that was the last attempt."""
    since: datetime | None = await db.fetchval(
        FAILED, *lane.held, 0, delivery["delivery_id"], *_told(attempt), after, *circuit, attempt.again
    )
    return since


def _told(attempt: Attempt) -> tuple[Any, ...]:
    return attempt.at, attempt.status, attempt.duration_ms, attempt.error, attempt.excerpt


async def rest(db: Database, lane: Lane, due_at: datetime | None = None) -> bool:
    """Nothing is waiting, or not before `due_at`. False when something has been added meanwhile."""
    return await db.fetchval(REST, *lane.held, lane.news, due_at) is not None


async def let_go(db: Database, lane: Lane) -> None:
    await db.execute(LET_GO, *lane.held)


async def give_up(db: Database, lane: Lane, reason: str) -> None:
    """Nothing that waits here is sent any more, and each says why."""
    await db.execute(GIVEN_UP, lane.subscription_id, lane.lane, reason)
