"""`polyforge tasks`: work is watched until it ends."""

import asyncio
import re
from collections.abc import AsyncIterator
from uuid import uuid4

import pytest

from events.event import StoredEvent
from events.record import NewEvent
from tests.cli.command import run, running, wired
from tests.conftest import Client, Forge
from workers.reactions import REACTIONS, WorkerContext

pytestmark = pytest.mark.slow


@pytest.fixture
async def held() -> AsyncIterator[asyncio.Event]:
    """The making of repositories, which begins and does not end before this is set."""
    reaction, go_on = REACTIONS["create-repository"], asyncio.Event()
    original = reaction.work

    async def work(ctx: WorkerContext, cause: StoredEvent) -> list[NewEvent]:
        ctx.progress.report("copy", 40)
        await go_on.wait()
        return await original(ctx, cause)

    object.__setattr__(reaction, "work", work)
    yield go_on
    go_on.set()
    object.__setattr__(reaction, "work", original)


async def create(client: Client, name: str) -> str:
    status, queued = await client.post("/new", name=name, description="d", wait="0")
    assert status == 200
    return str(queued["taskid"])


def asked(client: Client, *arguments: str) -> tuple[str, ...]:
    assert client.token
    return ("tasks", *arguments, "--url", client.forge.url, "--token", client.token)


async def test_a_task_is_shown_as_the_forge_shows_it(nethack: Client) -> None:
    task = await create(nethack, "angband")
    _, found = await nethack.get(f"/v1/tasks/{task}?wait=20")
    assert await run(*asked(nethack, task)) == (0, [found], "")
    assert await run(*asked(nethack, task, "--watch")) == (0, [found], "")
    _, page = await nethack.get("/v1/tasks")
    assert len(page["tasks"]) == 2
    assert await run(*asked(nethack)) == (0, page["tasks"], "")
    assert (await run(*asked(nethack, "--project", "angband", "--status", "succeeded")))[1] == [found]
    assert await run(*asked(nethack, "--kind", "fork-project")) == (0, [], "")


async def test_a_task_is_watched_over_cuts_until_it_has_succeeded(alice: Client, held: asyncio.Event) -> None:
    task = await create(alice, "nethack")
    async with wired(alice.forge.url) as wire:
        assert alice.token
        async with running("tasks", "--watch", task, "--url", wire.url, "--token", alice.token) as command:
            seen = [await command.json()]
            while (seen[-1]["stage"], seen[-1]["percent"]) != ("copy", 40):
                seen.append(await command.json())
            await wire.down()
            assert "(again in 2 s)" in await command.warning()
            held.set()
            await wire.up()
            seen.append(await command.json())
            assert await command.end() == 0
    assert {each["id"] for each in seen} == {task}
    assert len({each["seq"] for each in seen}) == len(seen)
    assert (seen[-1]["status"], seen[-1]["percent"]) == ("succeeded", 100)


async def test_watching_what_does_not_succeed_ends_with_1(alice: Client, held: asyncio.Event) -> None:
    """Also when it had ended before."""
    task = await create(alice, "nethack")
    async with running(*asked(alice, task, "-w")) as command:
        assert (await command.json())["id"] == task
        assert (await alice.json("POST", f"/v1/tasks/{task}/cancel"))[0] == 202
        while (said := await command.json())["status"] != "cancelled":
            assert said["status"] in ("queued", "running")
        assert await command.end() == 1
    code, [said], _ = await run(*asked(alice, task, "-w"))
    assert (code, said["status"]) == (1, "cancelled")
    assert (await run(*asked(alice, task)))[0] == 0


async def test_ones_own_tasks_are_watched_all_at_once(forge: Forge, nethack: Client, held: asyncio.Event) -> None:
    bob = await forge.user("bob")
    theirs, mine = await create(bob, "moria"), {await create(nethack, name) for name in ("angband", "larn")}
    async with running(*asked(nethack, "--watch")) as command:
        assert {(await command.json())["id"], (await command.json())["id"]} == mine
        held.set()
        ended = set()
        while line := await command.line():
            assert theirs not in line
            ended |= {task for task in mine if f'"id":"{task}"' in line and '"status":"succeeded"' in line}
        assert (ended, await command.end()) == (mine, 0)
    assert await run(*asked(nethack, "--watch")) == (0, [], "")


async def test_whoever_stops_watching_has_not_seen_it_succeed(alice: Client, held: asyncio.Event) -> None:
    task = await create(alice, "nethack")
    async with running(*asked(alice, task, "--watch")) as command:
        await command.json()
        assert await command.end(2) == 130


async def test_people_at_a_terminal_see_how_far_it_is(alice: Client, held: asyncio.Event) -> None:
    task = await create(alice, "nethack")
    async with running(*asked(alice, task, "--watch"), terminal=True) as command:
        drawn = ""
        while "40%" not in drawn or "copy" not in drawn:
            async with asyncio.timeout(20):
                drawn += (await command.output.read(4096)).decode(errors="replace")
        held.set()
        while "succeeded" not in drawn:
            async with asyncio.timeout(20):
                drawn += (await command.output.read(4096)).decode(errors="replace")
        assert await command.end() == 0
    assert re.search("create-project nethack .*100%", drawn.replace("\x1b", ""))
    async with running(*asked(alice), terminal=True) as command:
        table = [await command.line() for _ in range(4)]
    assert task in table[3]
    assert "succeeded" in table[3]


@pytest.mark.parametrize("watch", [[], ["--watch"]])
async def test_a_task_that_is_not_there_is_said_not_to_be(alice: Client, watch: list[str]) -> None:
    missing = "No: There is no such task, or you may not see it.\n"
    assert await run(*asked(alice, str(uuid4()), *watch)) == (1, [], missing)
    assert (await run("tasks", "--watch", "--url", alice.forge.url))[0] == 1
