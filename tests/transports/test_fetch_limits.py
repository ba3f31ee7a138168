"""Limits of fetches: how many at a time, and how large their requests may be."""

import asyncio
import gzip
import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from app.config import Settings
from app.transports.fetch_slots import Fetch, FetchSlots, NoFreeSlot, SlotLimits
from app.transports.smart_http import FETCH_SLOTS
from tests.conftest import Client, Forge, git

MEDIA = "application/x-git-upload-pack-request"


def limits(**changed: Any) -> SlotLimits:
    return SlotLimits(**{"total": 9, "per_project": 9, "per_address": 9, "wait": 0.3, "waiting": 9, **changed})


@pytest.fixture
def settings(own_settings: Settings) -> Settings:
    return own_settings.model_copy(update={"max_fetch_request_bytes": 1 << 16, "fetch_wait": 0.3})


@asynccontextmanager
async def hold(slots: FetchSlots, *fetches: Fetch) -> AsyncIterator[None]:
    """Hold slots as unfinished fetches do."""
    slots._running.update(fetches)
    yield
    slots._running.difference_update(fetches)
    slots._give_slots()


def fetch(project_id: int = 0, address: str = "192.0.2.1") -> Fetch:
    return Fetch(project_id, address, stalled_for=lambda: 0.0, end=lambda: None)


async def fetch_refs(client: Client, path: str, **headers: str) -> tuple[int, str, Any]:
    url = f"{client.forge.url}/{path}.git/info/refs?service=git-upload-pack"
    async with client.forge.session.get(url, headers=headers) as answer:
        return answer.status, await answer.text(), answer.headers


async def test_a_fetch_that_finds_no_free_slot_is_told_to_come_again(forge: Forge, nethack: Client) -> None:
    slots = forge.app[FETCH_SLOTS]
    slots.limits = limits(total=1)
    async with hold(slots, fetch()):
        status, text, headers = await fetch_refs(forge.nobody, "nethack")
        assert (status, headers["Retry-After"]) == (503, "10")
        assert "Too many fetches" in text
        url = f"{forge.url}/nethack.git/git-upload-pack"
        async with forge.session.post(url, data=b"0000", headers={"Content-Type": MEDIA}) as answer:
            assert (answer.status, answer.headers["Retry-After"]) == (503, "10")
    assert (await fetch_refs(forge.nobody, "nethack"))[0] == 200


async def test_a_fetch_waits_for_its_turn(forge: Forge, nethack: Client, tmp_path: Path) -> None:
    slots = forge.app[FETCH_SLOTS]
    slots.limits = limits(total=1, wait=20)
    async with hold(slots, fetch()):
        cloning = asyncio.create_task(git("clone", "-q", forge.nobody.git_url("nethack"), str(tmp_path / "work")))
        while not slots._waiting:
            await asyncio.sleep(0.01)
    await cloning
    assert (tmp_path / "work" / "README.md").exists()
    assert not slots._running


async def test_the_fetches_of_one_project_leave_room_for_another(forge: Forge, nethack: Client) -> None:
    await nethack.post("/new", name="tiny", description="d", create_readme="1")
    project_id = (await nethack.pagure("/nethack"))[1]["id"]
    slots = forge.app[FETCH_SLOTS]
    slots.limits = limits(per_project=1)
    async with hold(slots, fetch(project_id)):
        assert (await fetch_refs(forge.nobody, "nethack"))[0] == 503
        assert (await fetch_refs(forge.nobody, "tiny"))[0] == 200


async def test_the_fetches_of_one_address_leave_room_for_another(forge: Forge, nethack: Client) -> None:
    slots = forge.app[FETCH_SLOTS]
    slots.limits = limits(per_address=1)
    async with hold(slots, fetch(address="127.0.0.1"), fetch(address="198.51.100.7"), fetch(address="2001:db8::/64")):
        statuses = [
            (await fetch_refs(forge.nobody, "nethack", **({"X-Forwarded-For": given} if given else {})))[0]
            for given in ("", "198.51.100.7", "198.51.100.8", "1.2.3.4, 198.51.100.7", "2001:db8::7", "2001:db8:0:1::7")
        ]
    assert statuses == [503, 503, 200, 503, 503, 200]


async def test_a_client_that_does_nothing_loses_its_slot_to_one_that_waits() -> None:
    slots = FetchSlots(limits(total=1, wait=20))
    ended = asyncio.Event()
    stalled = Fetch(1, "192.0.2.1", stalled_for=lambda: 6.0, end=ended.set)

    async def stall() -> None:
        async with slots.hold(stalled):
            await ended.wait()

    stalling = asyncio.create_task(stall())
    await asyncio.sleep(0)
    assert not ended.is_set()
    async with asyncio.timeout(5), slots.hold(fetch()):
        assert ended.is_set()
    await stalling


async def test_a_full_queue_refuses_the_one_that_has_waited_longest() -> None:
    slots = FetchSlots(limits(total=1, wait=20, waiting=2))
    order: list[str] = []

    async def take(name: str) -> None:
        try:
            async with slots.hold(fetch()):
                order.append(name)
        except NoFreeSlot:
            order.append(f"{name} refused")

    async with hold(slots, fetch()):
        tasks = []
        for name in ("first", "second", "third"):
            tasks.append(asyncio.create_task(take(name)))
            await asyncio.sleep(0)
        await tasks[0]
    await asyncio.gather(*tasks)
    assert order == ["first refused", "third", "second"]
    assert not slots._running


async def test_a_client_that_hangs_up_while_it_waits_leaves_no_slot_in_use(forge: Forge, nethack: Client) -> None:
    slots = FetchSlots(limits(total=1, wait=20))
    async with hold(slots, fetch()):
        waiting = asyncio.create_task(slots.hold(fetch()).__aenter__())
        await asyncio.sleep(0)
        slots._running.clear()
        slots._give_slots()
        waiting.cancel()
        await asyncio.wait([waiting])
    assert not slots._running
    assert not slots._waiting


@pytest.mark.parametrize("compressed", [False, True])
async def test_a_fetch_that_asks_for_too_much_is_refused_before_git_reads_it(
    forge: Forge, nethack: Client, compressed: bool
) -> None:
    body = b"0032have " + b"0" * 40 + b"\n"
    body *= (1 << 16) // len(body) + 1
    headers = {"Content-Type": MEDIA, **({"Content-Encoding": "gzip"} if compressed else {})}
    url = f"{forge.url}/nethack.git/git-upload-pack"
    data = io.BytesIO(gzip.compress(body) if compressed else body)
    async with forge.session.post(url, data=data, headers=headers) as answer:
        assert (answer.status, await answer.text()) == (413, "The request of a fetch may have 65,536 bytes at most.\n")
