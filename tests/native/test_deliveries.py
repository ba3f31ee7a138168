"""What becomes of deliveries when much happens at once, with real receivers and workers."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from aiohttp import web

from app import embedded, webhooks
from app.outgoing.client import client
from app.outgoing.guard import Guard
from app.queries import lanes, subscriptions
from tests.conftest import Client, Forge
from tests.native.test_subscriptions import deliveries, open_issue, subscribed, until
from tests.receiver import Got, Receiver, receiving
from workers import delivery, queue
from workers.delivery import Deliverer
from workers.reactions import Hands
from workers.relay import Relay

LEFT = """
    select (select count(*) from lanes), (select count(*) from circuits), (select count(*) from subscription_endpoints),
           (select count(*) from deliveries where status = 'waiting')
"""
FORGOTTEN = """
    select count(*)
    from   deliveries
    left join lanes using (subscription_id, lane)
    left join subscriptions using (subscription_id)
    where  deliveries.status = 'waiting' and lanes.due_at is null and subscriptions.status is distinct from 'inactive'
"""


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as receiver:
        yield receiver


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "POLL", 0.05)


@asynccontextmanager
async def another_worker(forge: Forge) -> AsyncIterator[Deliverer]:
    redis = await queue.connect(forge.settings.required_redis_url())
    async with client(Guard(tuple(forge.settings.webhook_allow))) as made:
        deliverer = Deliverer(Hands(forge.db, forge.settings, queue.bell(redis)), redis, made)
        running = asyncio.create_task(deliverer.run())
        try:
            yield deliverer
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            await redis.aclose()


async def so(is_so: Callable[[], Any]) -> None:
    async with asyncio.timeout(20):
        while True:
            found = is_so()
            if found if isinstance(found, bool) else await found:
                return
            await asyncio.sleep(0.02)


class Dead:
    """An endpoint that takes connections and does what it does to them; `open` are those it has at the moment."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.port = embedded.free_port()
        self.url = f"http://127.0.0.1:{self.port}/"
        self.open = 0
        self.most = 0
        self.seen = 0
        self.transports: set[asyncio.WriteTransport] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open, self.seen = self.open + 1, self.seen + 1
        self.most = max(self.most, self.open)
        self.transports.add(writer.transport)
        try:
            await reader.readuntil(b"\r\n\r\n")
            if self.kind == "resets":
                writer.transport.abort()
            elif self.kind == "drips":
                for byte in b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n":
                    writer.write(bytes([byte]))
                    await asyncio.sleep(1)
            elif self.kind == "never ends":
                writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
                while not writer.is_closing():
                    writer.write(b"x" * 4096)
                    await writer.drain()
            while await reader.read(65536):
                pass
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            self.open -= 1
            self.transports.discard(writer.transport)
            writer.close()


@asynccontextmanager
async def dead(kind: str) -> AsyncIterator[Dead]:
    endpoint = Dead(kind)
    if kind == "refuses":
        yield endpoint
        return
    server = await asyncio.start_server(endpoint.serve, "127.0.0.1", endpoint.port)
    try:
        yield endpoint
    finally:
        server.close()
        for transport in list(endpoint.transports):
            transport.abort()


@pytest.mark.parametrize("kind", ["never answers", "drips", "resets", "refuses", "never ends"])
async def test_a_dead_endpoint_holds_up_none_of_the_others(nethack: Client, receiver: Receiver, kind: str) -> None:
    """They have everything while the dead one's first attempt is still open, or waits for its next."""
    async with dead(kind) as endpoint:
        made = await subscribed(nethack, receiver, url=endpoint.url, types=["issue.*"])
        for n in range(19):
            await subscribed(nethack, receiver, url=f"{receiver.url}/{n}", types=["issue.*"])
        for _ in range(3):
            await open_issue(nethack)
        got = await receiver.until(19 * 3)
        assert {path: [each.path for each in got].count(path) for path in {each.path for each in got}} == {
            f"/hook/{n}": 3 for n in range(19)
        }
        if kind in ("never answers", "drips"):
            assert (endpoint.open, endpoint.seen) == (1, 1)
            assert [row["attempts"] for row in await deliveries(nethack, made)] == [[], [], []]
        elif kind == "never ends":
            told = await until(nethack, made, status="delivered")
            assert len(told["attempts"][0]["response_excerpt"]) == delivery.EXCERPT
            await so(lambda: endpoint.open == 0)
        else:
            await so(lambda: _tried(nethack, made))
            errors = {tried["error"] for row in await deliveries(nethack, made) for tried in row["attempts"]}
            assert errors == {"reset" if kind == "resets" else "unreachable"}


async def _tried(client: Client, made: Any) -> bool:
    return any(row["attempts"] for row in await deliveries(client, made))


async def test_a_dead_endpoint_with_many_lanes_has_its_share_and_no_more(
    nethack: Client, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "LANES", 3)
    monkeypatch.setattr(delivery, "SHARE", 2)
    async with dead("never answers") as endpoint:
        await subscribed(nethack, receiver, url=endpoint.url, types=["issue.*"], ordered=False)
        for _ in range(6):
            await open_issue(nethack)
        await so(lambda: endpoint.open == 2)
        for n in range(3):
            await subscribed(nethack, receiver, url=f"{receiver.url}/{n}", types=["issue.*"])
        for _ in range(3):
            await open_issue(nethack)
        await receiver.until(9)
        assert (endpoint.open, endpoint.seen, endpoint.most) == (2, 2, 2)


async def test_two_workers_never_send_one_lane_at_once(forge: Forge, nethack: Client, receiver: Receiver) -> None:
    """The endpoint takes longer than a lease lasts, and the first worker lives."""
    await subscribed(nethack, receiver, types=["issue.*"])
    at_once = most = 0

    async def slow(got: Got) -> web.StreamResponse:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        await asyncio.sleep(2.5 * forge.settings.lease)
        at_once -= 1
        return web.Response()

    receiver.answers = [slow, slow]
    async with another_worker(forge):
        await open_issue(nethack)
        await open_issue(nethack)
        await receiver.until(2)
    assert most == 1
    assert len({got.id for got in receiver.got}) == 2


async def test_what_is_on_its_way_is_cut_off_when_its_lease_ends(
    nethack: Client, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when the database cannot be reached for so long; then somebody else may be sending it."""

    async def unreachable(*_: Any) -> set[Any]:
        raise OSError

    monkeypatch.setattr(lanes, "renew", unreachable)
    async with dead("never answers") as endpoint:
        await subscribed(nethack, receiver, url=endpoint.url, types=["issue.*"])
        await open_issue(nethack)
        await so(lambda: endpoint.seen >= 2)
        assert endpoint.most == 1


async def test_a_worker_that_ends_finishes_what_is_on_its_way_and_lets_go(
    forge: Forge, nethack: Client, receiver: Receiver
) -> None:
    made = await subscribed(nethack, receiver, types=["issue.*"])
    in_hand, done = asyncio.Event(), asyncio.Event()

    async def held(got: Got) -> web.StreamResponse:
        in_hand.set()
        await done.wait()
        return web.Response()

    receiver.answers = [held]
    for _ in range(5):
        await open_issue(nethack)
    await in_hand.wait()
    await forge.numbered()
    forge.worker.cancel()
    await asyncio.sleep(0.1)
    done.set()
    await asyncio.wait([forge.worker])
    statuses = [row["status"] for row in await deliveries(nethack, made)]
    assert statuses.count("delivered") == len(receiver.got) == 1
    assert await forge.db.fetchval("select lease_until from lanes") is None
    async with another_worker(forge):
        await receiver.until(5)


async def test_a_busy_lane_makes_room_for_another(
    forge: Forge, nethack: Client, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "LANES", 1)
    monkeypatch.setattr(delivery, "BATCH", 2)
    await subscribed(nethack, receiver, url=receiver.url + "/busy", types=["issue.*"])
    await subscribed(nethack, receiver, url=receiver.url + "/other", types=["issue.*"])
    forge.worker.cancel()
    await asyncio.wait([forge.worker])
    for _ in range(6):
        await open_issue(nethack)
    await forge.numbered()
    async with another_worker(forge):
        await receiver.until(12)
    assert {got.path for got in receiver.got[:4]} == {"/hook/busy", "/hook/other"}


async def test_what_is_changed_counts_for_a_busy_lane_too(
    nethack: Client, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "FRESH", 0.0)
    made = await subscribed(nethack, receiver, types=["issue.*"])

    async def stop(got: Got) -> web.StreamResponse:
        status, _ = await nethack.json("PATCH", f"/v1/subscriptions/{made['id']}", {"active": False})
        assert status == 200
        return web.Response()

    gate = asyncio.Event()

    async def wait(got: Got) -> web.StreamResponse:
        await gate.wait()
        return await stop(got)

    receiver.answers = [wait]
    for _ in range(3):
        await open_issue(nethack)
    await nethack.forge.numbered()
    gate.set()
    await until(nethack, made, status="waiting", next_attempt_at=None)
    assert len(receiver.got) == 1
    assert (await nethack.json("PATCH", f"/v1/subscriptions/{made['id']}", {"active": True}))[0] == 200
    await receiver.until(3)


async def test_sending_again_counts_although_an_attempt_is_failing(
    nethack: Client, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither is it put off, nor is the last attempt the last."""
    monkeypatch.setattr(delivery, "SCHEDULE", (0.1,))
    made = await subscribed(nethack, receiver, types=["issue.*"])

    async def again(got: Got) -> web.StreamResponse:
        monkeypatch.setattr(delivery, "SCHEDULE", ())
        assert (await nethack.json("POST", f"/v1/deliveries/{got.id}/redeliver"))[0] == 202
        return web.Response(status=500)

    receiver.answers = [500, again]
    await open_issue(nethack)
    told = await until(nethack, made, status="delivered")
    assert [tried["status"] for tried in told["attempts"]] == [500, 500, 200]

    monkeypatch.setattr(delivery, "SCHEDULE", (1000.0, 1000.0))

    async def press(got: Got) -> web.StreamResponse:
        assert (await nethack.json("POST", f"/v1/deliveries/{got.id}/redeliver"))[0] == 202
        return web.Response(status=500)

    receiver.answers = [press]
    await open_issue(nethack)
    await receiver.until(5)
    told = await until(nethack, made, status="delivered")
    assert [tried["status"] for tried in told["attempts"]] == [500, 200]


async def test_a_subscription_that_is_deleted_while_it_is_sent_leaves_nothing(
    forge: Forge, nethack: Client, receiver: Receiver
) -> None:
    made = await subscribed(nethack, receiver, types=["issue.*"])

    async def delete(got: Got) -> web.StreamResponse:
        await nethack.forge.numbered()
        assert (await nethack.json("DELETE", f"/v1/subscriptions/{made['id']}"))[0] == 204
        return web.Response(status=500)

    gate = asyncio.Event()

    async def wait(got: Got) -> web.StreamResponse:
        await gate.wait()
        return await delete(got)

    receiver.answers = [wait]
    for _ in range(3):
        await open_issue(nethack)
    gate.set()
    await so(lambda: _ended(forge))
    relay = Relay(forge.db, await queue.connect(forge.settings.required_redis_url()))
    await relay.tidy()
    await relay.redis.aclose()
    assert tuple(await forge.db.fetchrow(LEFT) or ()) == (0, 0, 0, 0)
    reasons = await forge.db.fetch("select status, reason from deliveries")
    assert {tuple(row) for row in reasons} == {("suppressed", "The subscription is gone.")}
    assert len(receiver.got) == 1


async def _ended(forge: Forge) -> bool:
    row = await forge.db.fetchrow(
        "select count(*) filter (where status = 'waiting') as n, count(*) as m from deliveries"
    )
    return row is not None and (row["n"], row["m"]) == (0, 3)


async def test_deleting_ends_what_waits_for_an_inactive_subscription(
    forge: Forge, nethack: Client, receiver: Receiver
) -> None:
    made = await subscribed(nethack, receiver, active=False)
    assert (await nethack.json("POST", f"/v1/subscriptions/{made['id']}/ping"))[0] == 202
    await so(lambda: _no_lanes(forge))
    assert (await deliveries(nethack, made))[0]["status"] == "waiting"
    assert (await nethack.json("DELETE", f"/v1/subscriptions/{made['id']}"))[0] == 204
    async with asyncio.timeout(20):
        while await forge.db.fetchval("select status from deliveries") != "suppressed":
            await asyncio.sleep(0.02)


async def _no_lanes(forge: Forge) -> bool:
    return bool(await forge.db.fetchval("select count(*) from lanes") == 0)


async def test_lanes_leave_nothing_behind(forge: Forge, nethack: Client, receiver: Receiver) -> None:
    await subscribed(nethack, receiver, types=["issue.*"], ordered=False)
    await subscribed(nethack, receiver, types=["issue.*"])
    for _ in range(5):
        await open_issue(nethack)
    await receiver.until(10)
    await so(lambda: _no_lanes(forge))


async def test_while_the_read_tables_are_made_anew_nothing_is_given_up(
    forge: Forge, nethack: Client, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "AWHILE", 0.1)
    made = await subscribed(nethack, receiver, types=["issue.*"])
    receiver.answers = [503]
    await open_issue(nethack)
    await receiver.until(1)
    await forge.db.execute("create table aside as select * from subscriptions; delete from subscriptions")
    await forge.db.execute("update circuits set open_until = now(); update lanes set due_at = now()")
    relay = Relay(forge.db, await queue.connect(forge.settings.required_redis_url()))
    await relay.tidy()
    await relay.redis.aclose()
    await asyncio.sleep(0.5)
    assert await forge.db.fetchval("select status from deliveries") == "waiting"
    await forge.db.execute("insert into subscriptions select * from aside; drop table aside")
    await forge.db.execute("update circuits set open_until = now(); update lanes set due_at = now()")
    await until(nethack, made, status="delivered")


async def test_a_lane_that_was_left_behind_is_found_again(
    forge: Forge, nethack: Client, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process that made the subscription active died before it woke what waits."""
    made = await subscribed(nethack, receiver, active=False)
    await nethack.json("POST", f"/v1/subscriptions/{made['id']}/ping")
    await so(lambda: _no_lanes(forge))

    async def died(*_: Any) -> None:
        pass

    with monkeypatch.context() as patch:
        patch.setattr(subscriptions, "wake", died)
        assert (await nethack.json("PATCH", f"/v1/subscriptions/{made['id']}", {"active": True}))[0] == 200
    assert await forge.db.fetchval(FORGOTTEN) == 1
    relay = Relay(forge.db, await queue.connect(forge.settings.required_redis_url()))
    await relay.tidy()
    await relay.redis.aclose()
    await until(nethack, made, status="delivered")
    assert await forge.db.fetchval(FORGOTTEN) == 0


async def test_an_endpoint_that_never_came_about_is_forgotten(forge: Forge, nethack: Client) -> None:
    async with receiving() as receiver:
        await subscribed(nethack, receiver)
    await forge.db.execute("""
        insert into subscription_endpoints (subscription_id, url, secret, kept_at)
        values (gen_random_uuid(), 'http://dead/', 's', now() - interval '2 hours'),
               (gen_random_uuid(), 'http://being-made/', 's', now())
    """)
    await forge.db.execute(
        "update subscription_endpoints set kept_at = now() - interval '2 hours' where url like '%/hook'"
    )
    await subscriptions.forget_gone(forge.db)
    left = {row["url"] for row in await forge.db.fetch("select url from subscription_endpoints")}
    assert left == {"http://being-made/", receiver.url}


async def test_what_ended_long_ago_is_forgotten(
    forge: Forge, nethack: Client, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subscriptions, "FORGOTTEN", 1)
    made = await subscribed(nethack, receiver, types=["issue.*"])
    for _ in range(3):
        await open_issue(nethack)
    await until(nethack, made, status="delivered")
    newest, *older = [row["id"] for row in await deliveries(nethack, made)]
    age = "update deliveries set ended_at = now() - $2::interval where delivery_id = any ($1)"
    await forge.db.execute(age, older, timedelta(days=30, hours=1))
    await forge.db.execute(age, [newest], timedelta(days=29))
    async with asyncio.timeout(20):
        while len(found := await deliveries(nethack, made)) > 1:
            await asyncio.sleep(0.05)
    assert [row["id"] for row in found] == [newest]
    assert await forge.db.fetchval("select count(*) from delivery_attempts") == 1


async def test_a_replay_of_too_many_is_refused_and_leaves_nothing(
    nethack: Client, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subscriptions, "MOST", 3)
    monkeypatch.setattr(subscriptions, "SPAN", 2)
    for n in range(5):
        await open_issue(nethack, title=str(n))
    await nethack.forge.numbered()
    made = await subscribed(nethack, receiver, types=["issue.*"])
    _, feed = await nethack.get("/v1/events?types=issue.*")
    seqs = [event["seq"] for event in feed["events"]]
    here = f"/v1/subscriptions/{made['id']}/replay"
    status, problem = await nethack.json("POST", here, {"after": seqs[0]})
    assert (status, [error["pointer"] for error in problem["errors"]]) == (422, ["/after"])
    assert await deliveries(nethack, made) == []
    assert await nethack.json("POST", here, {"after": seqs[1]}) == (202, {"count": 3})
    assert [got.said["data"]["seq"] for got in await receiver.until(3)] == seqs[2:]


async def test_a_mistake_of_ours_is_a_failure_like_any_other(
    nethack: Client, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "SCHEDULE", (0.1,) * 10)
    made = await subscribed(nethack, receiver, types=["issue.*"])

    def mistaken(*_: Any) -> webhooks.Message:
        raise ZeroDivisionError

    with monkeypatch.context() as patch:
        patch.setattr(webhooks, "message", mistaken)
        await open_issue(nethack)
        await so(lambda: _tried(nethack, made))
    told = await until(nethack, made, status="delivered")
    tried = [(each["status"], each["error"]) for each in told["attempts"]]
    assert (tried[0], tried[-1]) == ((None, "internal"), (200, None))


async def test_an_endpoint_that_recovers_is_sent_what_waits_in_every_lane(
    forge: Forge, nethack: Client, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One probe a day is for one lane; when it succeeds, the others do not wait for theirs."""
    made = await subscribed(nethack, receiver, types=["issue.*"], ordered=False)
    receiver.answers = [503] * 3
    for _ in range(3):
        await open_issue(nethack)
    await receiver.until(3)
    await so(lambda: _all_tried(forge, 3))
    monkeypatch.setattr(delivery, "OPENING", 1)
    await forge.db.execute("update circuits set failing_since = now() - interval '121 hours', open_until = now()")
    receiver.answers = [503]
    await forge.db.execute("update lanes set due_at = now() + interval '1 day'")
    await forge.db.execute("update lanes set due_at = now() where lane = (select min(lane) from lanes)")
    async with asyncio.timeout(20):
        while (await nethack.get(f"/v1/subscriptions/{made['id']}"))[1]["status"] != "paused":
            await asyncio.sleep(0.02)
    await forge.db.execute("update circuits set open_until = now()")
    await forge.db.execute("update lanes set due_at = now() where lane = (select min(lane) from lanes)")
    await receiver.until(7)
    await so(lambda: _no_lanes(forge))


async def _all_tried(forge: Forge, count: int) -> bool:
    return bool(await forge.db.fetchval("select count(*) from deliveries where attempts > 0") == count)


async def press_some_button(dice: random.Random, nethack: Client, made: Any) -> None:
    here = f"/v1/subscriptions/{made['id']}"
    match dice.randrange(5):
        case 0:
            await nethack.json("POST", here + "/ping")
        case 1:
            for row in (await deliveries(nethack, made))[:3]:
                await nethack.json("POST", f"/v1/deliveries/{row['id']}/redeliver")
        case 2:
            await nethack.json("POST", here + "/replay", {"after": dice.randrange(20)})
        case 3:
            await nethack.json("PATCH", here, {"active": dice.random() < 0.5})
        case 4:
            await open_issue(nethack, dice.choice(["nethack", "angband"]))


async def test_in_any_storm_nothing_is_forgotten(
    forge: Forge, nethack: Client, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two workers, an endpoint in a bad mood, and a keeper who presses every button there is."""
    for name, value in (("SCHEDULE", (0.02,) * 10), ("OPEN", 0.02), ("LONGEST_OPEN", 0.05), ("BATCH", 3)):
        monkeypatch.setattr(delivery, name, value)
    dice = random.Random(7)
    await nethack.post("/new", name="angband", description="d")
    mades = [await subscribed(nethack, receiver, project=name, ordered=ordered, types=["issue.*"])
             for name in ("nethack", "angband") for ordered in (True, False)]  # fmt: skip

    async def moody(got: Got) -> web.StreamResponse:
        await asyncio.sleep(dice.random() * 0.05)
        return web.Response(status=dice.choice([200, 200, 500]))

    async with another_worker(forge):
        for _ in range(30):
            receiver.answers += [moody] * 10
            await asyncio.gather(*(press_some_button(dice, nethack, made) for made in mades))
            assert await forge.db.fetchval(FORGOTTEN) == 0
        receiver.answers.clear()
        for made in mades:
            status, _ = await nethack.json("PATCH", f"/v1/subscriptions/{made['id']}", {"active": True})
            assert status == 200
            await subscriptions.wake(forge.db, UUID(made["id"]))
        await forge.numbered()
        await so(lambda: _no_lanes(forge))
    assert await forge.db.fetchval("select count(*) from deliveries where status not in ('delivered', 'failed')") == 0
