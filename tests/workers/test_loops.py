"""No background loop ends or stalls because a step of it raises an error that nobody expected."""

import asyncio
import uuid
from typing import Any

import pytest
from aiohttp import web

from app.core import pushes
from app.feed.tail import Tail
from app.http.rate_limits import RateLimits
from app.stores import deliveries, heartbeats, idempotency_keys, lanes, mirrors, open_pushes, work
from tests.conftest import Client, Forge
from tests.receiver import Receiver
from tests.subscriptions import open_issue, subscribe
from workers import mirrors as mirror_worker
from workers import queue
from workers.reactions import WorkerContext
from workers.relay import Relay
from workers.slots import Slots

TWICE, ALWAYS = 2, 10**9
# A step of each loop, and how often it fails. What the forge can do without may fail for ever.
STEPS: list[tuple[Any, str, int]] = [
    (Tail, "_read_entries", TWICE),
    (Relay, "_elect", TWICE),
    (Relay, "_number", TWICE),
    (Relay, "sweep", ALWAYS),
    (Relay, "tidy", ALWAYS),
    (Relay, "_measure_lag", ALWAYS),
    (idempotency_keys, "delete_expired", ALWAYS),
    (deliveries, "delete_ended", ALWAYS),
    (queue, "give_hint", ALWAYS),
    (work, "find_due", TWICE),
    (work, "claim", TWICE),
    (lanes, "claim", TWICE),
    (lanes, "list_waiting", 1),  # the lane is due again when its lease ends
    (lanes, "renew", TWICE),
    (open_pushes, "list_due", TWICE),
    (pushes, "_finish_if_unlocked", 1),
    (heartbeats, "beat", TWICE),
    (RateLimits, "_share_counts", ALWAYS),
    (mirrors, "add_missing", TWICE),
    (mirrors, "claim", TWICE),
]


@pytest.fixture
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mirror_worker, "POLL_INTERVAL", 0.1)
    monkeypatch.setattr(heartbeats, "BEAT_INTERVAL", 0.2)
    # Due in each round, so that a chore that kept the relay from numbering would keep it for ever.
    monkeypatch.setattr("workers.relay.TIDY_INTERVAL", 0.0)
    monkeypatch.setattr("workers.relay.SWEEP_INTERVAL", 0.0)


async def wait_until(forge: Forge, condition: str, *arguments: Any) -> None:
    async with asyncio.timeout(20):
        while not await forge.db.fetchval(condition, *arguments):
            await asyncio.sleep(0.02)


async def leave_open_push(forge: Forge) -> None:
    """Leave the row of a push whose process has died, and whose refs have not moved."""
    project_id = await forge.db.fetchval("select project_id from projects")
    await forge.db.execute(
        "insert into open_pushes (push_id, project_id, actor) values ($1, $2, 'alice')", uuid.uuid4(), project_id
    )


async def answer_slowly(_: object) -> web.Response:
    await asyncio.sleep(2.5)  # so that the lease has to be renewed
    return web.Response()


@pytest.mark.slow
@pytest.mark.own_forge
@pytest.mark.usefixtures("short_pauses")
@pytest.mark.parametrize(("owner", "name", "times"), STEPS, ids=[f"{name}" for _, name, _ in STEPS])
async def test_everything_goes_on_although_a_step_raises(
    forge: Forge, receiver: Receiver, monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, times: int
) -> None:
    original, calls = getattr(owner, name), 0

    async def fail(*arguments: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls <= times:
            raise RuntimeError("a bug")
        return await original(*arguments, **options)

    monkeypatch.setattr(owner, name, fail)
    alice: Client = await forge.user("alice")
    status, made = await alice.post("/new", name="nethack", description="d", create_readme="1", wait="0")
    assert status == 200
    await wait_until(forge, "select exists (select 1 from events where type = 'repository.created')")
    receiver.responses = [answer_slowly] * 4 if name == "renew" else []
    await subscribe(alice, receiver, types=["issue.opened"])
    await leave_open_push(forge)
    await open_issue(alice)
    await receiver.wait_for(1)
    await wait_until(forge, "select not exists (select 1 from open_pushes)")
    assert (await alice.post("/nethack/git/branch", branch="dev", from_branch="main"))[0] == 200
    await wait_until(forge, "select exists (select 1 from heartbeats where alive_until > now())")
    async with asyncio.timeout(10):
        while calls <= min(times, TWICE):
            await asyncio.sleep(0.02)
    assert made["taskid"]


class Ended(BaseException):
    """What no loop survives."""


async def end(*_: object) -> None:
    raise Ended


async def test_a_loop_that_ends_by_itself_ends_its_process(forge: Forge, monkeypatch: pytest.MonkeyPatch) -> None:
    redis = queue.connect(forge.settings.required_redis_url())
    monkeypatch.setattr(Slots, "_fill", end)
    monkeypatch.setattr(Relay, "_lead", end)
    async with asyncio.timeout(10):
        with pytest.raises(Ended):
            await Slots(WorkerContext(forge.db, forge.settings, queue.relay_bell(redis)), redis, "git", 1).run()
        with pytest.raises(Ended):
            await Relay(forge.db, redis).run()
