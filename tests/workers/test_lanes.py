"""Whoever lost a lane writes nothing, and nobody has more than their share."""

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest

from app.database import Database, database
from app.stores import deliveries, lanes
from app.stores.lanes import Attempt, Lane

ALL = """
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


async def wait_in(db: Database, subscription: UUID, *numbers: int) -> None:
    """One delivery in each of these lanes, due the longer the smaller its number."""
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
    "rest": lambda db, lane, waiting: lanes.release_idle(db, lane, 1),
    "let go": lambda db, lane, waiting: lanes.release(db, lane),
    "give up": lambda db, lane, waiting: lanes.abandon(db, lane, "why"),
    "renew": lambda db, lane, waiting: lanes.renew(db, 3600.0, [lane]),
}


@pytest.mark.parametrize("write", WRITES)
async def test_a_worker_that_lost_its_lease_writes_nothing(db: Database, write: str) -> None:
    await wait_in(db, uuid4(), 1)
    [late] = await claim(db)
    waiting = await lanes.list_waiting(db, late, 10)
    assert waiting is not None
    await db.execute("update lanes set lease_until = now() - interval '1 second'")
    [another] = await claim(db)
    before = await db.fetchrow(ALL)
    await WRITES[write](db, late, waiting.deliveries[0])
    assert await db.fetchrow(ALL) == before
    assert await lanes.list_waiting(db, late, 10) is None
    await WRITES[write](db, another, waiting.deliveries[0])
    assert await db.fetchrow(ALL) != before


async def test_a_lane_that_came_to_rest_knows_no_old_holder(db: Database) -> None:
    """It is another lane now, although it has the same name."""
    subscription = uuid4()
    await wait_in(db, subscription, 1)
    [late] = await claim(db)
    assert await lanes.release_idle(db, late, 1)
    await wait_in(db, subscription, 1)
    [another] = await claim(db)
    assert not await lanes.release_idle(db, late, 1)
    assert await lanes.release_idle(db, another, 1)


async def test_nobody_claims_what_is_held_or_not_due_or_of_an_endpoint_at_rest(db: Database) -> None:
    held, later, resting = uuid4(), uuid4(), uuid4()
    await wait_in(db, held, 1)
    assert len(await claim(db)) == 1
    await wait_in(db, later, 1)
    await db.execute("update lanes set due_at = now() + interval '1 hour' where subscription_id = $1", later)
    await wait_in(db, resting, 1)
    await db.execute("insert into circuits values ($1, 5, now(), now() + interval '1 hour')", resting)
    assert await claim(db) == []


async def test_a_subscription_has_its_share_of_the_places_and_no_more(db: Database) -> None:
    many, few = uuid4(), uuid4()
    await wait_in(db, many, *range(50))
    await wait_in(db, few, 100)
    claimed = await claim(db, {many: 12})
    assert [lane.lane for lane in claimed if lane.subscription_id == many] == [0, 1, 2, 3]
    assert [lane.lane for lane in claimed if lane.subscription_id == few] == [100]
    assert await claim(db, {many: 16, few: 1}) == []


async def test_an_endpoint_that_fails_is_tried_with_one_lane(db: Database) -> None:
    failing = uuid4()
    await wait_in(db, failing, *range(5))
    await db.execute("insert into circuits values ($1, 5, now(), now())", failing)
    assert [lane.lane for lane in await claim(db)] == [0]
    assert await claim(db, {failing: 1}) == []


async def test_there_are_no_more_places_than_there_are(db: Database) -> None:
    for _ in range(5):
        await wait_in(db, uuid4(), 1)
    assert len(await claim(db, limit=3)) == 3
    assert len(await claim(db, limit=3)) == 2


async def test_the_longest_pause_that_was_asked_for_is_kept(db: Database) -> None:
    """Of two that were on their way, the second fails in another way."""
    subscription = uuid4()
    await wait_in(db, subscription, 1, 2)
    for lane, attempt in zip(
        await claim(db), [Attempt(SENT.at, 429, 1, "status", "", 7000.0), Attempt(SENT.at, 500, 1, "status", "")],
        strict=True,
    ):  # fmt: skip
        waiting = await lanes.list_waiting(db, lane, 1)
        assert waiting is not None
        await lanes.mark_failed(db, lane, waiting.deliveries[0], attempt, 5.0, 5, 30.0, 600.0)
    open, failures = await db.fetchrow("select extract(epoch from open_until - now())::float, failures from circuits")  # type: ignore[misc]
    assert 6900 < open <= 7000
    assert failures == 1


async def test_a_circuit_opens_for_longer_with_each_try_not_with_each_lane(db: Database) -> None:
    subscription = uuid4()
    await wait_in(db, subscription, *range(16))
    for lane in await claim(db):
        waiting = await lanes.list_waiting(db, lane, 1)
        assert waiting is not None
        attempt = Attempt(SENT.at, 500, 1, "status", "")
        await lanes.mark_failed(db, lane, waiting.deliveries[0], attempt, 5.0, 5, 30.0, 600.0)
    open = await db.fetchval("select extract(epoch from open_until - now())::float from circuits")
    assert 20 < open <= 30


async def test_a_lane_that_something_was_added_to_does_not_come_to_rest(db: Database) -> None:
    """What was added after the look is not forgotten."""
    subscription = uuid4()
    await wait_in(db, subscription, 0)
    [lane] = await claim(db)
    looked = await lanes.list_waiting(db, lane, 10)
    assert looked is not None
    await lanes.mark_delivered(db, lane, looked.deliveries[0], SENT)
    await deliveries.ping(db, subscription)
    assert not await lanes.release_idle(db, lane, looked.news)
    again = await lanes.list_waiting(db, lane, 10)
    assert again is not None
    assert len(again.deliveries) == 1
    assert await lanes.release_idle(db, lane, again.news)
