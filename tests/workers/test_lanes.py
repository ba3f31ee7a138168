"""Leases, shares and circuits of delivery lanes."""

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest

from app.database import Database, database
from app.stores import deliveries, lanes
from app.stores.lanes import Attempt, Lane

SNAPSHOT = """
    select (select jsonb_agg(d order by delivery_id) from deliveries d)::text,
           (select jsonb_agg(a) from delivery_attempts a)::text,
           (select jsonb_agg(l order by lane) from lanes l)::text,
           (select jsonb_agg(c) from circuits c)::text
"""
SENT = Attempt(datetime.now(UTC), 200, 1, None, "")


@pytest.fixture
async def db(database_url: str) -> AsyncIterator[Database]:
    async with database(database_url, 2) as db:
        yield db


async def add_lanes(db: Database, subscription: UUID, *numbers: int) -> None:
    """Add lanes with these numbers and one delivery each; lower numbers have been due for longer."""
    await db.execute(
        """
        with added as (insert into deliveries (subscription_id, lane, seq) select $1, n, 0 from unnest($2::int[]) n)
        insert into lanes (subscription_id, lane, due_at)
        select $1, n, now() - interval '1 hour' + make_interval(secs => n) from unnest($2::int[]) n
        """,
        subscription,
        list(numbers),
    )


async def claim(db: Database, taken: dict[UUID, int] | None = None, share: int = 16, limit: int = 100) -> list[Lane]:
    return await lanes.claim(db, 60.0, taken or {}, share, 5, limit)


WRITES: dict[str, Callable[[Database, Lane, Any], Awaitable[Any]]] = {
    "delivered": lambda db, lane, waiting: lanes.mark_delivered(db, lane, waiting, SENT),
    "suppressed": lambda db, lane, waiting: lanes.mark_suppressed(db, lane, waiting, "why"),
    "failed": lambda db, lane, waiting: lanes.mark_failed(db, lane, waiting, SENT, None, 5, 30.0, 600.0),
    "release idle": lambda db, lane, waiting: lanes.release_idle(db, lane, 1),
    "release": lambda db, lane, waiting: lanes.release(db, lane),
    "abandon": lambda db, lane, waiting: lanes.abandon(db, lane, "why"),
    "renew": lambda db, lane, waiting: lanes.renew(db, 3600.0, [lane]),
}


@pytest.mark.parametrize("write", WRITES)
async def test_a_worker_that_lost_its_lease_writes_nothing(db: Database, write: str) -> None:
    await add_lanes(db, uuid4(), 1)
    [late] = await claim(db)
    waiting = await lanes.list_waiting(db, late, 10)
    assert waiting is not None
    await db.execute("update lanes set lease_until = now() - interval '1 second'")
    [another] = await claim(db)
    before = await db.fetchrow(SNAPSHOT)
    await WRITES[write](db, late, waiting.deliveries[0])
    assert await db.fetchrow(SNAPSHOT) == before
    assert await lanes.list_waiting(db, late, 10) is None
    await WRITES[write](db, another, waiting.deliveries[0])
    assert await db.fetchrow(SNAPSHOT) != before


async def test_a_recreated_lane_rejects_the_token_of_an_earlier_holder(db: Database) -> None:
    subscription = uuid4()
    await add_lanes(db, subscription, 1)
    [late] = await claim(db)
    assert await lanes.release_idle(db, late, 1)
    await add_lanes(db, subscription, 1)
    [another] = await claim(db)
    assert not await lanes.release_idle(db, late, 1)
    assert await lanes.release_idle(db, another, 1)


async def test_a_claim_skips_lanes_that_are_held_or_not_due_or_behind_an_open_circuit(db: Database) -> None:
    held, later, behind_open_circuit = uuid4(), uuid4(), uuid4()
    await add_lanes(db, held, 1)
    assert len(await claim(db)) == 1
    await add_lanes(db, later, 1)
    await db.execute("update lanes set due_at = now() + interval '1 hour' where subscription_id = $1", later)
    await add_lanes(db, behind_open_circuit, 1)
    await db.execute("insert into circuits values ($1, 5, now(), now() + interval '1 hour')", behind_open_circuit)
    assert await claim(db) == []


async def test_a_subscription_gets_no_more_than_its_share_of_lanes(db: Database) -> None:
    many, few = uuid4(), uuid4()
    await add_lanes(db, many, *range(50))
    await add_lanes(db, few, 100)
    claimed = await claim(db, {many: 12})
    assert [lane.lane for lane in claimed if lane.subscription_id == many] == [0, 1, 2, 3]
    assert [lane.lane for lane in claimed if lane.subscription_id == few] == [100]
    assert await claim(db, {many: 16, few: 1}) == []


async def test_a_failing_endpoint_gets_one_lane(db: Database) -> None:
    failing = uuid4()
    await add_lanes(db, failing, *range(5))
    await db.execute("insert into circuits values ($1, 5, now(), now())", failing)
    assert [lane.lane for lane in await claim(db)] == [0]
    assert await claim(db, {failing: 1}) == []


async def test_a_claim_takes_no_more_lanes_than_its_limit(db: Database) -> None:
    for _ in range(5):
        await add_lanes(db, uuid4(), 1)
    assert len(await claim(db, limit=3)) == 3
    assert len(await claim(db, limit=3)) == 2


async def test_the_longest_requested_pause_is_kept(db: Database) -> None:
    """Two deliveries are on their way at once, and the second fails without a requested pause."""
    subscription = uuid4()
    await add_lanes(db, subscription, 1, 2)
    for lane, attempt in zip(
        await claim(db), [Attempt(SENT.at, 429, 1, "status", "", 7000.0), Attempt(SENT.at, 500, 1, "status", "")],
        strict=True,
    ):  # fmt: skip
        waiting = await lanes.list_waiting(db, lane, 1)
        assert waiting is not None
        await lanes.mark_failed(db, lane, waiting.deliveries[0], attempt, 5.0, 5, 30.0, 600.0)
    seconds, failures = await db.fetchrow(  # type: ignore[misc]
        "select extract(epoch from open_until - now())::float, failures from circuits"
    )
    assert 6900 < seconds <= 7000
    assert failures == 1


async def test_a_circuit_opens_once_when_many_lanes_fail_together(db: Database) -> None:
    subscription = uuid4()
    await add_lanes(db, subscription, *range(16))
    for lane in await claim(db):
        waiting = await lanes.list_waiting(db, lane, 1)
        assert waiting is not None
        attempt = Attempt(SENT.at, 500, 1, "status", "")
        await lanes.mark_failed(db, lane, waiting.deliveries[0], attempt, 5.0, 5, 30.0, 600.0)
    seconds = await db.fetchval("select extract(epoch from open_until - now())::float from circuits")
    assert 20 < seconds <= 30


async def test_a_lane_is_not_deleted_if_something_was_added_after_it_was_read(db: Database) -> None:
    subscription = uuid4()
    await add_lanes(db, subscription, 0)
    [lane] = await claim(db)
    waiting = await lanes.list_waiting(db, lane, 10)
    assert waiting is not None
    await lanes.mark_delivered(db, lane, waiting.deliveries[0], SENT)
    await deliveries.ping(db, subscription)
    assert not await lanes.release_idle(db, lane, waiting.news)
    again = await lanes.list_waiting(db, lane, 10)
    assert again is not None
    assert len(again.deliveries) == 1
    assert await lanes.release_idle(db, lane, again.news)
