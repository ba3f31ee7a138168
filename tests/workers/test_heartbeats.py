"""Leases of workers that have died are freed by their heart-beat, not by their end."""

import asyncio
from uuid import UUID, uuid4

import pytest

from app.stores import heartbeats, work
from tests.conftest import Client, Forge
from workers import queue
from workers.relay import Relay

LEASE = 3600.0  # seconds; no test waits for its end


async def claim_work(forge: Forge, holder: UUID) -> int:
    """Claim a new piece of work of the git queue, which no worker of the forge has reacted to."""
    position: int = await forge.db.fetchval("select max(position) from events")
    reaction = f"test-{holder}"
    await forge.db.execute(
        "insert into work (position, reaction, queue, project_id) values ($1, $2, 'none', 0)", position, reaction
    )
    assert await work.claim(forge.db, position, reaction, LEASE, holder) == 1
    return position


async def is_held(forge: Forge, holder: UUID) -> bool:
    return bool(await forge.db.fetchval("select lease_until > now() from work where holder = $1", holder))


async def test_the_leases_of_a_worker_whose_heart_beat_has_stopped_are_freed(
    forge: Forge, nethack: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.relay.WATCH_SECONDS", 0.0)
    dead, dead_before_the_clock_was_set_back, living, unknown = [uuid4() for _ in range(4)]
    for holder in (dead, dead_before_the_clock_was_set_back, living, unknown):
        await claim_work(forge, holder)
    await heartbeats.beat(forge.db, dead, 0.05)
    await heartbeats.beat(forge.db, dead_before_the_clock_was_set_back, 3600)
    await heartbeats.beat(forge.db, living, heartbeats.BEAT_SECONDS)
    async with asyncio.timeout(10):
        while await is_held(forge, dead) or await is_held(forge, dead_before_the_clock_was_set_back):
            await asyncio.sleep(0.05)
    assert await is_held(forge, living)
    assert await is_held(forge, unknown)  # it has no row, so nothing is known of it
    for holder in (dead, dead_before_the_clock_was_set_back, living):
        await heartbeats.end(forge.db, holder)
    await forge.db.execute("delete from work where queue = 'none'")


async def test_no_worker_counts_as_dead_before_the_relay_has_watched_for_some_time(
    forge: Forge, nethack: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after an outage of the database, in which living workers could not show that they are."""
    monkeypatch.setattr("workers.relay.WATCH_SECONDS", float("inf"))
    holder = uuid4()
    await claim_work(forge, holder)
    await heartbeats.beat(forge.db, holder, -1)
    await Relay(forge.db, queue.connect(forge.settings.required_redis_url())).sweep()
    assert await is_held(forge, holder)
    await heartbeats.end(forge.db, holder)
    await forge.db.execute("delete from work where queue = 'none'")


async def test_a_gap_in_the_watch_begins_it_anew(forge: Forge, monkeypatch: pytest.MonkeyPatch) -> None:
    watch = heartbeats.Watch()
    assert not await watch.look(forge.db, 0.1)
    await asyncio.sleep(0.15)
    assert await watch.look(forge.db, 0.1)
    monkeypatch.setattr(heartbeats, "MAX_GAP", 0.0)
    assert not await watch.look(forge.db, 0.1)


async def test_the_lease_that_was_freed_has_lost_its_token_to_the_next_holder(forge: Forge, nethack: Client) -> None:
    frozen, other = uuid4(), uuid4()
    position = await claim_work(forge, frozen)
    reaction = f"test-{frozen}"
    await heartbeats.beat(forge.db, frozen, -1)
    await heartbeats.free_leases_of_the_dead(forge.db)
    assert await work.claim(forge.db, position, reaction, LEASE, other) == 2
    assert not await work.renew(forge.db, position, reaction, 1, LEASE)
    assert await forge.db.fetchval("select holder from work where reaction = $1", reaction) == other
    await heartbeats.end(forge.db, frozen)
    await forge.db.execute("delete from work where queue = 'none'")


async def test_the_workers_of_a_forge_show_that_they_are_alive(forge: Forge) -> None:
    async with asyncio.timeout(10):
        while not await forge.db.fetchval("select exists (select 1 from heartbeats where alive_until > now())"):
            await asyncio.sleep(0.05)
