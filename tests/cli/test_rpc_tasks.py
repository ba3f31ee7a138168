"""`polyforge rpc`: waiting for the task that a call has started."""

import asyncio
import json
import re
import signal
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest

from tests.cli.command import RunningCommand, run_flaky_proxy
from tests.cli.rpc import Home, answer_with
from tests.conftest import Client
from tests.receiver import Receiver

pytestmark = pytest.mark.slow

ELSEWHERE = "7d8f7f2e-6f3c-4b52-8b0c-111111111111"
WORDS = ("create_repo", "repo_name:moria", "repo_type:git")


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def start(home: Home, client: Client, *words: str, **options: Any) -> AbstractAsyncContextManager[RunningCommand]:
    assert client.token
    return home.start(*WORDS, "--url", client.forge.url, *words, POLYFORGE_TOKEN=client.token, **options)


async def read_errors(command: RunningCommand, last: str) -> list[str]:
    """Read lines of standard error until one contains `last`."""
    lines = [await command.read_error()]
    while last not in lines[-1]:
        assert lines[-1], lines
        lines.append(await command.read_error())
    return lines


async def read_screen(command: RunningCommand, pattern: str) -> str:
    """Read until a pattern appears at the terminal."""
    screen = ""
    async with asyncio.timeout(20):
        while not re.search(pattern, screen):
            assert not command.output.at_eof(), screen
            screen += (await command.output.read(4096)).decode(errors="replace").replace("\x1b", "")
    return screen


async def test_each_state_of_a_task_is_a_line_until_it_has_succeeded(
    home: Home, alice: Client, gate: asyncio.Event
) -> None:
    async with start(home, alice, "--url", f"{alice.forge.url}/rhodecode") as command:
        result = await command.read_json()
        assert (result["msg"], result["success"]) == ("Created new repository `moria`", True)
        lines = await read_errors(command, "create-project moria: running copy 40%")
        gate.set()
        while line := await command.read_error():
            lines.append(line)
        assert await command.wait() == 0
        assert await command.read_line() == ""
    assert lines[-1].startswith("create-project moria: succeeded")
    assert lines[-1].endswith(" 100%")
    assert len(set(lines)) == len(lines)
    _, task = await alice.get(f"/v1/tasks/{result['task']}")
    assert task["status"] == "succeeded"


async def test_a_task_that_does_not_succeed_exits_with_1(home: Home, alice: Client, gate: asyncio.Event) -> None:
    async with start(home, alice) as command:
        task = (await command.read_json())["task"]
        await read_errors(command, "running")
        assert (await alice.json("POST", f"/v1/tasks/{task}/cancel"))[0] == 202
        lines = []
        while line := await command.read_error():
            lines.append(line)
        assert await command.wait() == 1
    assert lines[-1].startswith("Error: create-project moria: cancelled")


async def test_a_terminal_shows_a_progress_bar_and_the_output_stays_json(
    home: Home, alice: Client, gate: asyncio.Event
) -> None:
    async with start(home, alice, error_terminal=True) as command:
        await read_screen(command, "create-project moria .* 40%.*copy")
        gate.set()
        await read_screen(command, "create-project moria .*100%.*succeeded")
        assert await command.wait() == 0
        assert command.process.stdout is not None
        assert json.loads(await command.process.stdout.read())["success"] is True


async def test_without_waiting_the_call_alone_counts(home: Home, alice: Client, gate: asyncio.Event) -> None:
    async with start(home, alice, "--no-wait") as command:
        task = (await command.read_json())["task"]
        assert (await command.wait(), await command.read_error()) == (0, "")
    _, state = await alice.get(f"/v1/tasks/{task}")
    assert state["status"] in ("queued", "running")


async def test_interrupted_waiting_exits_with_130(home: Home, alice: Client, gate: asyncio.Event) -> None:
    async with start(home, alice) as command:
        await read_errors(command, "running")
        assert await command.wait(signal.SIGINT) == 130


async def test_waiting_goes_on_after_the_connection_is_lost(home: Home, alice: Client, gate: asyncio.Event) -> None:
    async with run_flaky_proxy(alice.forge.url) as proxy, start(home, alice, "--url", proxy.url) as command:
        await read_errors(command, "copy")
        await proxy.stop()
        assert "(retrying in 2 s)" in await command.read_error()
        gate.set()
        await proxy.start()
        await read_errors(command, "succeeded")
        assert await command.wait() == 0


async def test_the_other_dialect_waits_itself_and_names_no_task(home: Home, alice: Client) -> None:
    made = await home.ask(alice, *WORDS, "--dialect", "kallithea")
    assert made["repo"]["repo_name"] == "moria"


@pytest.mark.parametrize(
    ("task", "fault"),
    [
        ('"../users"', "Error: The call has started a task that cannot be watched.\n"),
        (f'"{ELSEWHERE}"', f"Error: {{url}}/v1/tasks/{ELSEWHERE} returned 404 Not Found\n"),
    ],
)
async def test_a_task_that_another_server_keeps_to_itself_is_reported(
    home: Home, receiver: Receiver, task: str, fault: str
) -> None:
    receiver.responses += [answer_with(f'{{"id": ID, "result": {{"task": {task}}}, "error": null}}'), 404]
    code, output, errors = await home.send(receiver)
    assert (code, errors) == (1, fault.replace("{url}", receiver.url))
    assert json.loads(output) == {"task": json.loads(task)}


@pytest.mark.parametrize("result", ['{"task": null}', '["task"]'])
async def test_results_without_a_task_end_the_command(home: Home, receiver: Receiver, result: str) -> None:
    receiver.responses.append(answer_with(f'{{"id": ID, "result": {result}, "error": null}}'))
    assert await home.send(receiver) == (0, f"{result}\n", "")
