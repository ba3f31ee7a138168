"""`polyforge tasks`: listing and watching."""

import asyncio
import re
from contextlib import AbstractAsyncContextManager
from typing import Any
from uuid import uuid4

import pytest

from tests.cli.command import RunningCommand, describe_problem, run_command, run_flaky_proxy, start_command
from tests.conftest import Client, Forge

pytestmark = pytest.mark.slow


async def create(client: Client, name: str) -> str:
    status, queued = await client.post("/new", name=name, description="d", wait="0")
    assert status == 200
    return str(queued["taskid"])


def start_tasks(
    client: Client, *arguments: str, terminal: bool = False, **environment: str
) -> AbstractAsyncContextManager[RunningCommand]:
    assert client.token
    command = ("tasks", *arguments, "--url", client.forge.url)
    return start_command(*command, terminal=terminal, POLYFORGE_TOKEN=client.token, **environment)


async def run_tasks(client: Client, *arguments: str) -> tuple[int, list[Any], str]:
    assert client.token
    return await run_command("tasks", *arguments, "--url", client.forge.url, POLYFORGE_TOKEN=client.token)


async def test_tasks_are_printed_as_in_the_api(nethack: Client) -> None:
    task = await create(nethack, "angband")
    _, found = await nethack.get(f"/v1/tasks/{task}?wait=20")
    assert await run_tasks(nethack, task) == (0, [found], "")
    assert await run_tasks(nethack, task, "--watch") == (0, [found], "")
    _, page = await nethack.get("/v1/tasks")
    assert len(page["tasks"]) == 2
    assert await run_tasks(nethack) == (0, page["tasks"], "")
    assert (await run_tasks(nethack, "--project", "angband", "--status", "succeeded"))[1] == [found]
    assert await run_tasks(nethack, "--kind", "fork-project") == (0, [], "")


async def test_a_task_is_watched_until_it_succeeds_though_connections_are_cut(
    alice: Client, gate: asyncio.Event
) -> None:
    task = await create(alice, "nethack")
    async with run_flaky_proxy(alice.forge.url) as proxy:
        assert alice.token
        async with start_command("tasks", "--watch", task, "--url", proxy.url, POLYFORGE_TOKEN=alice.token) as command:
            seen = [await command.read_json()]
            while (seen[-1]["stage"], seen[-1]["percent"]) != ("copy", 40):
                seen.append(await command.read_json())
            await proxy.stop()
            assert "(retrying in 2 s)" in await command.read_error()
            gate.set()
            await proxy.start()
            seen.append(await command.read_json())
            assert await command.wait() == 0
    assert {state["id"] for state in seen} == {task}
    assert len({state["seq"] for state in seen}) == len(seen)
    assert (seen[-1]["status"], seen[-1]["percent"]) == ("succeeded", 100)


async def test_watching_a_task_that_does_not_succeed_exits_with_1(alice: Client, gate: asyncio.Event) -> None:
    """Even if it had ended before."""
    task = await create(alice, "nethack")
    async with start_tasks(alice, task, "-w") as command:
        assert (await command.read_json())["id"] == task
        assert (await alice.json("POST", f"/v1/tasks/{task}/cancel"))[0] == 202
        while (state := await command.read_json())["status"] != "cancelled":
            assert state["status"] in ("queued", "running")
        assert await command.wait() == 1
    code, [state], _ = await run_tasks(alice, task, "-w")
    assert (code, state["status"]) == (1, "cancelled")
    assert (await run_tasks(alice, task))[0] == 0


async def test_all_tasks_of_the_user_are_watched_at_once(forge: Forge, nethack: Client, gate: asyncio.Event) -> None:
    bob = await forge.user("bob")
    bobs, own = await create(bob, "moria"), {await create(nethack, name) for name in ("angband", "larn")}
    async with start_tasks(nethack, "--watch") as command:
        assert {(await command.read_json())["id"], (await command.read_json())["id"]} == own
        gate.set()
        ended = set()
        while line := await command.read_line():
            assert bobs not in line
            ended |= {task for task in own if f'"id":"{task}"' in line and '"status":"succeeded"' in line}
        assert (ended, await command.wait()) == (own, 0)
    assert await run_tasks(nethack, "--watch") == (0, [], "")


async def test_interrupted_watching_exits_with_130(alice: Client, gate: asyncio.Event) -> None:
    task = await create(alice, "nethack")
    async with start_tasks(alice, task, "--watch") as command:
        await command.read_json()
        assert await command.wait(2) == 130


async def test_terminal_output_shows_progress(alice: Client, gate: asyncio.Event) -> None:
    task = await create(alice, "nethack")
    async with start_tasks(alice, task, "--watch", terminal=True) as command:
        screen = ""
        while "40%" not in screen or "copy" not in screen:
            async with asyncio.timeout(20):
                screen += (await command.output.read(4096)).decode(errors="replace")
        gate.set()
        while "succeeded" not in screen:
            async with asyncio.timeout(20):
                screen += (await command.output.read(4096)).decode(errors="replace")
        assert await command.wait() == 0
    assert re.search("create-project nethack .*100%", screen.replace("\x1b", ""))


async def test_a_listing_at_a_terminal_is_never_cut(alice: Client) -> None:
    task = await create(alice, "nethack")
    _, found = await alice.get(f"/v1/tasks/{task}?wait=20")
    async with start_tasks(alice, terminal=True, COLUMNS="40") as command:
        names, row = [await command.read_line() for _ in range(2)]
    assert names.split() == ["id", "kind", "project", "actor", "state", "created_at"]
    assert row.split() == [task, "create-project", "nethack", "alice", "succeeded", found["created_at"]]


@pytest.mark.parametrize("watch", [[], ["--watch"]])
async def test_a_missing_task_is_reported(alice: Client, watch: list[str]) -> None:
    missing = str(uuid4())
    _, problem = await alice.get(f"/v1/tasks/{missing}")
    expected = (1, [], f"{describe_problem(problem)}\n")
    assert await run_tasks(alice, missing, *watch) == expected
    assert (await run_command("tasks", "--watch", "--url", alice.forge.url))[0] == 1
