"""The real retry schedule; the tests shift the stored times instead of waiting."""

import asyncio
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from aiohttp import web

from app.stores import lanes
from tests.conftest import Client, Forge
from tests.receiver import Answer, ReceivedRequest, Receiver
from tests.subscriptions import list_deliveries, open_issue, subscribe, wait_for_delivery
from workers import delivery

pytestmark = pytest.mark.usefixtures("sent_at_once")
DAY = 86_400.0
LATER = """
    with moved as (
        update circuits
        set    failing_since = failing_since - make_interval(secs => $1),
               open_until = open_until - make_interval(secs => $1)
    )
    update lanes set due_at = due_at - make_interval(secs => $1)
"""
# In seconds since an attempt began: when its lane is due, when the circuit closes, and the current time.
AFTER = """
    select extract(epoch from lanes.due_at - $1)::float as due,
           extract(epoch from circuits.open_until - $1)::float as open,
           extract(epoch from now() - $1)::float as now
    from   lanes join circuits using (subscription_id)
"""


async def pass_time(forge: Forge, seconds: float) -> None:
    """Shift all due times, as if so many seconds had passed."""
    await forge.db.execute(LATER, seconds)


async def wait_for_attempts(forge: Forge, count: int) -> datetime:
    """Wait until so many attempts are recorded and none is running; return when the last one began."""
    async with asyncio.timeout(20):
        while True:
            row = await forge.db.fetchrow("select count(*) as count, max(at) as at from delivery_attempts")
            held = await forge.db.fetchval("select count(*) from lanes where lease_until is not null")
            assert row is not None
            assert row["count"] <= count
            if row["count"] == count and not held:
                at: datetime = row["at"]
                return at
            await asyncio.sleep(0.01)


async def has_nothing_to_send(forge: Forge) -> bool:
    """Whether a worker finds no lane to send."""
    return (
        await lanes.claim(
            forge.db, 60.0, {}, delivery.MAX_LANES_PER_SUBSCRIPTION, delivery.FAILURES_TO_OPEN, delivery.MAX_LANES
        )
        == []
    )


async def wait_for_subscription(client: Client, subscription: Any, **wanted: Any) -> Any:
    async with asyncio.timeout(20):
        while True:
            _, found = await client.get(f"/v1/subscriptions/{subscription['id']}")
            if all(found[name] == value for name, value in wanted.items()):
                return found
            await asyncio.sleep(0.02)


def ask_to_retry_after(header: str) -> Answer:
    async def answer(got: ReceivedRequest) -> web.StreamResponse:
        return web.Response(status=429, headers={"Retry-After": header})

    return answer


async def test_attempts_follow_the_whole_schedule(forge: Forge, nethack: Client, receiver: Receiver) -> None:
    """Each attempt is postponed as scheduled, give or take a fifth, and until the circuit closes."""
    subscription = await subscribe(nethack, receiver, types=["issue.*"])
    receiver.responses = [503] * 11
    await open_issue(nethack)
    minutes, schedule = 60, (5, 30, 120, 600, 1800, 7200, 18_000, 36_000, 86_400, 118_800)
    opened = (0, 0, 0, 0, 30, minutes, 2 * minutes, 4 * minutes, 8 * minutes, 10 * minutes, 10 * minutes)
    spread = []
    for n, (pause, open_for) in enumerate(zip(schedule, opened, strict=False), 1):
        at = await wait_for_attempts(forge, n)
        after = await forge.db.fetchrow(AFTER, at)
        assert after is not None
        assert pause * 0.8 <= after["due"] <= pause * 1.2 + after["now"]
        spread.append(after["due"] / pause)
        assert open_for <= after["open"] <= open_for + after["now"]
        [waiting] = await list_deliveries(nethack, subscription)
        shown = datetime.fromisoformat(waiting["next_attempt_at"]) - at
        assert abs(shown.total_seconds() - max(after["due"], after["open"])) < 0.01
        await pass_time(forge, max(after["due"], after["open"]) - after["now"] - 1)
        assert await has_nothing_to_send(forge)
        await pass_time(forge, 1)
    assert (
        max(abs(each - 1) for each in spread[-5:]) > 0.01
    )  # with jitter, so that many failed deliveries are not retried at once
    row = await wait_for_delivery(nethack, subscription, status="failed")
    assert (len(row["attempts"]), len({got.id for got in receiver.received}), row["next_attempt_at"]) == (11, 1, None)
    await pass_time(forge, 10 * minutes)
    await open_issue(nethack)
    await wait_for_delivery(nethack, subscription, status="delivered")


@pytest.mark.parametrize(
    ("header", "least", "most"),
    [("7000", 7000, 7000), ("9" * 30, DAY, DAY), ("date", 6990, 7000), ("soon", 0, 0), ("-5", 0, 0)],
)
async def test_an_endpoint_may_ask_for_a_pause(
    forge: Forge, nethack: Client, receiver: Receiver, header: str, least: float, most: float
) -> None:
    """In seconds or as a date, at most a day, and for all of its lanes."""
    if header == "date":
        header = format_datetime(datetime.now(UTC) + timedelta(seconds=7000), usegmt=True)
    subscription = await subscribe(nethack, receiver, types=["issue.*"], ordered=False)
    receiver.responses = [ask_to_retry_after(header)]
    await open_issue(nethack)
    at = await wait_for_attempts(forge, 1)
    after = await forge.db.fetchrow(AFTER, at)
    assert after is not None
    assert least <= after["open"] <= most + after["now"]
    assert max(least, 4) <= after["due"] <= max(most, 6) + after["now"]
    if least:
        await open_issue(nethack)
        await forge.numbered()
        assert await has_nothing_to_send(forge)
        newest, oldest = await list_deliveries(nethack, subscription)
        assert newest["next_attempt_at"] == oldest["next_attempt_at"]


async def test_a_failing_endpoint_opens_the_circuit_for_a_while(
    forge: Forge, nethack: Client, receiver: Receiver
) -> None:
    """After several failures in a row nothing is sent, and no attempt counted, until the circuit closes."""
    subscription = await subscribe(nethack, receiver, types=["issue.*"])
    receiver.responses = [503] * 5
    await open_issue(nethack)
    for n in range(1, 6):
        await wait_for_attempts(forge, n)
        await forge.db.execute("update lanes set due_at = now()")
    assert await has_nothing_to_send(forge)
    [waiting] = await list_deliveries(nethack, subscription)
    assert len(waiting["attempts"]) == 5
    await pass_time(forge, 30)
    assert len((await wait_for_delivery(nethack, subscription, status="delivered"))["attempts"]) == 6


async def test_a_subscription_is_paused_after_days_of_failures_and_can_be_resumed(
    forge: Forge, nethack: Client, receiver: Receiver
) -> None:
    subscription = await subscribe(nethack, receiver, types=["issue.*"])
    receiver.responses = [503] * 1000
    await open_issue(nethack)
    await wait_for_attempts(forge, 1)
    await pass_time(forge, 5 * DAY - 60)
    await wait_for_attempts(forge, 2)
    assert (await nethack.get(f"/v1/subscriptions/{subscription['id']}"))[1]["status"] == "active"
    await pass_time(forge, 120)
    found = await wait_for_subscription(nethack, subscription, status="paused")
    assert (found["active"], found["reason"]) == (
        True,
        "The endpoint has failed for five days; it is tried once a day.",
    )
    await forge.numbered()
    _, feed = await nethack.get("/v1/events?types=subscription.changed")
    assert feed["events"][-1]["data"]["changed"]["status"] == "paused"
    await open_issue(nethack, title="meanwhile")
    receiver.responses = []
    assert (await nethack.json("PATCH", f"/v1/subscriptions/{subscription['id']}", {"active": True}))[0] == 200
    await wait_for_delivery(nethack, subscription, status="delivered")
    assert (await nethack.get(f"/v1/subscriptions/{subscription['id']}"))[1]["status"] == "active"
    assert receiver.received[-1].json["data"]["data"]["title"] == "meanwhile"


async def test_a_paused_endpoint_is_tried_daily_and_ended_after_thirty_days(
    forge: Forge, nethack: Client, receiver: Receiver
) -> None:
    """This does not depend on the number of its lanes."""
    subscription = await subscribe(nethack, receiver, types=["issue.*"], ordered=False)
    receiver.responses = [503] * 1000
    for _ in range(3):
        await open_issue(nethack)
    await wait_for_attempts(forge, 3)
    await pass_time(forge, 5 * DAY)
    await wait_for_attempts(forge, 6)
    await pass_time(forge, DAY)
    for n in range(1, 30):
        await wait_for_attempts(forge, 6 + n)
        assert (await nethack.get(f"/v1/subscriptions/{subscription['id']}"))[1]["status"] == "paused"
        await pass_time(forge, DAY - 60)
        assert await has_nothing_to_send(forge)
        await pass_time(forge, 60)
    found = await wait_for_subscription(nethack, subscription, status="ended")
    assert (found["active"], found["reason"]) == (False, "The endpoint has failed for 35 days.")
    async with asyncio.timeout(20):
        while {each["status"] for each in await list_deliveries(nethack, subscription)} != {"suppressed"}:
            await asyncio.sleep(0.02)
    assert {each["reason"] for each in await list_deliveries(nethack, subscription)} == {found["reason"]}
    assert len(receiver.received) == 6 + 30
