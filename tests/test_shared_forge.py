"""The shared forge: nothing that a test does to it reaches the next test."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from events.projections.rebuild import rebuild
from tests.conftest import Forge, build_settings, run_forge
from tests.shared_forge import SharedForge


class Sharing:
    """A shared forge that one test opens several times, as several tests would."""

    def __init__(self, shared: SharedForge, postgres_url: str) -> None:
        self.shared = shared
        self.postgres_url = postgres_url

    async def open(self) -> Forge:
        forge: Forge = await self.shared.open(self.postgres_url)
        return forge


@pytest.fixture
async def sharing(services: tuple[str, str]) -> AsyncIterator[Sharing]:
    shared = SharedForge(build_settings, run_forge)
    yield Sharing(shared, services[0])
    await shared.close()


async def work(forge: Forge) -> None:
    alice = await forge.user("alice")
    assert (await alice.post("/new", name="nethack", description="A game", create_readme="1"))[0] == 200


async def count(forge: Forge, table: str) -> int:
    found: int = await forge.db.fetchval(f"select count(*) from {table}")
    return found


async def test_the_next_test_finds_the_administrator_and_nothing_else(sharing: Sharing) -> None:
    forge = await sharing.open()
    await work(forge)
    assert await sharing.shared.empty() is None
    assert await sharing.open() is forge
    assert [await count(forge, table) for table in ("users", "tokens", "projects", "work")] == [1, 1, 0, 0]
    assert {place.name for place in forge.settings.data.rglob("*")} == {"repositories", "attachments", "secrets.key"}
    await work(forge)
    assert await forge.db.fetchval("select project_id from projects") == 1
    assert (await forge.admin.get("/v1/events?after=0&wait=5"))[1]["events"][0]["seq"] == 1


async def test_what_was_begun_is_finished_or_cancelled_first(sharing: Sharing) -> None:
    forge = await sharing.open()
    alice = await forge.user("alice")
    making = asyncio.create_task(alice.post("/new", name="nethack", description="A game", create_readme="1"))
    waiting = asyncio.create_task(forge.admin.get("/v1/events?after=100&wait=20"))
    while not await count(forge, "work"):
        await asyncio.sleep(0.001)
    assert await sharing.shared.empty() is None
    assert making.done()
    assert waiting.done()
    await sharing.open()
    await forge.idle()
    assert await count(forge, "work") == 0
    await work(forge)


async def test_a_connection_forgets_what_a_test_has_set(sharing: Sharing) -> None:
    forge = await sharing.open()
    before = await forge.db.fetchval("show work_mem")
    await forge.db.execute("set work_mem = '64kB'")
    assert await sharing.shared.empty() is None
    await sharing.open()
    assert await forge.db.fetchval("show work_mem") == before
    assert await forge.db.fetchval("show search_path") == "live, public"


async def change_schema(forge: Forge) -> None:
    await forge.db.execute("create table live.more (id int)")


async def end_worker(forge: Forge) -> None:
    forge.worker.cancel()
    await asyncio.wait([forge.worker])


async def close_database(forge: Forge) -> None:
    await forge.db.close()


async def lose_connection(forge: Forge) -> None:
    await forge.db.execute(
        "select pg_terminate_backend(pid) from pg_stat_activity"
        " where datname = current_database() and pid <> pg_backend_pid()"
    )
    await asyncio.sleep(0.1)


@pytest.mark.parametrize("harm", [change_schema, end_worker, close_database, lose_connection])
async def test_a_forge_that_cannot_be_emptied_is_given_to_nobody(
    sharing: Sharing, harm: Callable[[Forge], Awaitable[None]]
) -> None:
    forge = await sharing.open()
    await harm(forge)
    assert await sharing.shared.empty() is not None
    another = await sharing.open()
    assert another is not forge
    await work(another)


async def test_a_rebuild_leaves_a_forge_that_can_be_emptied(sharing: Sharing) -> None:
    forge = await sharing.open()
    await work(forge)
    await rebuild(forge.db)
    assert await sharing.shared.empty() is None
    await work(await sharing.open())
