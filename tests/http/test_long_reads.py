"""Reads that may take long have slots of their own, fewer of one project, and a short queue."""

import asyncio
import threading
from typing import Any

import pytest

from app.git import commits, tree
from app.http import long_reads
from app.http.long_reads import LONG_READS, LongReads
from tests.conftest import Client, Forge


@pytest.fixture
def few(forge: Forge, monkeypatch: pytest.MonkeyPatch) -> LongReads:
    """Four slots, one of them for a project, and two that may wait, one of them of a project."""
    reads = LongReads(4, 4)
    monkeypatch.setitem(forge.app._state, LONG_READS, reads)
    return reads


@pytest.fixture
def searching(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Searches in histories wait until this event is set."""
    found = threading.Event()
    for module in (commits, tree):
        is_reachable = module.is_reachable

        def search(*arguments: Any, is_reachable: Any = is_reachable) -> bool:
            assert found.wait(20)
            return bool(is_reachable(*arguments))

        monkeypatch.setattr(module, "is_reachable", search)
    yield found
    found.set()


async def get_status(client: Client, path: str) -> tuple[int, str | None]:
    async with client.forge.session.get(client.forge.url + path) as answer:
        await answer.read()
        return answer.status, answer.headers.get("Retry-After")


async def start(client: Client, path: str, count: int) -> list[asyncio.Task[Any]]:
    tasks = [asyncio.create_task(get_status(client, path)) for _ in range(count)]
    await asyncio.sleep(0.2)
    return tasks


async def wait_until_all_slots_are_free(reads: LongReads) -> None:
    async with asyncio.timeout(5):  # a slot is held for a moment after its response has been read
        while reads._shares:
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("path", ["/api/0/nethack/c/{}/info", "/api/0/nethack/tree/{}", "/nethack/raw/{}"])
async def test_more_long_reads_than_may_wait_are_told_to_come_back(
    forge: Forge, nethack: Client, few: LongReads, searching: threading.Event, path: str
) -> None:
    branches = (await nethack.pagure("/nethack/git/branches?with_commits=1"))[1]["branches"]
    path = path.format(branches["main"])
    tasks = await start(forge.nobody, path, 2)
    assert await get_status(forge.nobody, path) == (503, long_reads.RETRY_AFTER)
    # What needs no search is served, also of this project.
    assert await get_status(forge.nobody, "/api/0/nethack/tree/main") == (200, None)
    searching.set()
    assert [await task for task in tasks] == [(200, None)] * 2
    await wait_until_all_slots_are_free(few)


async def test_one_project_does_not_take_the_slots_of_another(
    forge: Forge, nethack: Client, few: LongReads, searching: threading.Event
) -> None:
    assert (await nethack.post("/new", name="other", description="d", create_readme="1"))[0] == 200
    paths = []
    for name in ("nethack", "other"):
        branches = (await nethack.pagure(f"/{name}/git/branches?with_commits=1"))[1]["branches"]
        paths.append(f"/api/0/{name}/c/{branches['main']}/info")
    held = await start(forge.nobody, paths[0], 2)
    assert (await get_status(forge.nobody, paths[0]))[0] == 503
    other = await start(forge.nobody, paths[1], 1)
    assert few._shares[next(reversed(few._shares))].waiting == 0
    searching.set()
    assert [await task for task in (*held, *other)] == [(200, None)] * 3


async def test_a_wait_ends(
    forge: Forge, nethack: Client, few: LongReads, searching: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(long_reads, "MAX_WAIT", 0.1)
    branches = (await nethack.pagure("/nethack/git/branches?with_commits=1"))[1]["branches"]
    [held] = await start(forge.nobody, path := f"/api/0/nethack/c/{branches['main']}/info", 1)
    assert await get_status(forge.nobody, path) == (503, long_reads.RETRY_AFTER)
    searching.set()
    assert await held == (200, None)
