"""`polyforge events`, over connections that break."""

import asyncio
import signal
from typing import Any

import pytest
from aiohttp import web

from app.dialects.native import streams
from app.metrics import WAITERS
from tests.cli.command import RunningCommand, describe_problem, run_command, run_flaky_proxy, start_command
from tests.conftest import Client, Forge
from tests.receiver import ReceivedRequest, Receiver

pytestmark = pytest.mark.slow

TASK = "00000000-0000-4000-8000-000000000000"


@pytest.fixture(autouse=True)
def retry_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients that were cut off return at once, to keep these tests short."""
    monkeypatch.setattr(streams, "RETRY", b"retry: 50\n\n")


async def open_issues(client: Client, *titles: str) -> None:
    for title in titles:
        assert (await client.post("/nethack/new_issue", title=title, issue_content="c"))[0] == 200


async def read_titles(command: RunningCommand, count: int) -> list[Any]:
    return [(await command.read_json())["data"]["title"] for _ in range(count)]


async def wait_for_listeners(count: int = 1) -> None:
    """Wait until this many requests are waiting."""
    async with asyncio.timeout(20):
        while WAITERS._value.get() < count:
            await asyncio.sleep(0.02)


async def get_unauthorized(forge: Forge) -> str:
    """Return the line that a command prints for an invalid token."""
    headers = {"Authorization": "token pf_wrong"}
    async with forge.session.get(forge.url + "/v1/events", headers=headers) as answer:
        assert answer.status == 401
        return describe_problem(await answer.json(content_type=None))


async def test_a_page_equals_the_page_of_the_api(forge: Forge, nethack: Client) -> None:
    await open_issues(nethack, "one", "two")
    await forge.numbered()
    _, page = await nethack.get("/v1/events")
    arguments = ("events", "--url", forge.url + "/")
    assert nethack.token is not None
    assert await run_command(*arguments, POLYFORGE_TOKEN=nethack.token) == (0, page["events"], "")
    _, public = await forge.nobody.get("/v1/events")
    assert len(public["events"]) < len(page["events"])
    assert (await run_command(*arguments))[1] == public["events"]


async def test_a_page_is_filtered_and_tells_how_to_continue(forge: Forge, nethack: Client) -> None:
    await open_issues(nethack, "one", "two", "three")
    head = await forge.numbered()
    arguments = ("events", "--url", forge.url, "--types", "issue.*", "--project", "nethack", "--actor", "alice")
    code, [one, two], errors = await run_command(*arguments, "--limit", "2")
    assert (code, one["data"]["title"], two["data"]["title"]) == (0, "one", "two")
    assert errors == f"There are more events: continue with --after {head - 1}.\n"
    code, [three], errors = await run_command(*arguments, "--after", str(head - 1))
    assert (code, three["data"]["title"], errors) == (0, "three", "")
    assert await run_command("events", "--url", forge.url, "--actor", "bob") == (0, [], "")


@pytest.mark.parametrize("follow", [[], ["--follow"]])
async def test_a_refusal_is_printed_as_a_sentence(forge: Forge, nethack: Client, follow: list[str]) -> None:
    arguments = ("events", *follow, "--url", forge.url)
    unauthorized = await get_unauthorized(forge)
    assert await run_command(*arguments, POLYFORGE_TOKEN="pf_wrong") == (1, [], f"{unauthorized}\n")
    for option, value in (("after", "then"), ("project", "angband"), ("types", "isue.*")):
        _, problem = await forge.nobody.get(f"/v1/events?{option}={value}")
        refused = (1, [], f"{describe_problem(problem)}\n")
        assert await run_command(*arguments, f"--{option}", value) == refused


@pytest.mark.parametrize("follow", [[], ["--follow"], ["--follow", "--after", "0"]])
async def test_a_forge_that_never_answered_is_not_retried(follow: list[str]) -> None:
    code, lines, errors = await run_command("events", *follow, "--url", "http://127.0.0.1:1")
    assert (code, lines) == (1, [])
    assert errors.startswith("Error: Cannot reach http://127.0.0.1:1: ")


async def test_a_server_that_is_no_forge_is_reported(forge: Forge) -> None:
    code, _, errors = await run_command("events", "--follow", "--after", "0", "--url", forge.url + "/api/0")
    assert code == 1
    assert errors.startswith("Error: ")


async def test_follow_prints_new_events_and_stops_on_a_signal(forge: Forge, nethack: Client) -> None:
    await open_issues(nethack, "before")
    await forge.numbered()
    for number in (signal.SIGINT, signal.SIGTERM):
        async with start_command("events", "--follow", "--types", "issue.*", "--url", forge.url) as command:
            await wait_for_listeners()
            await open_issues(nethack, "while")
            assert await read_titles(command, 1) == ["while"]
            assert await command.wait(number) == 0
            assert await command.read_line() == ""


async def test_follow_neither_misses_nor_repeats_events_when_connections_are_cut(forge: Forge, nethack: Client) -> None:
    expected = [str(n) for n in range(60)]
    async with run_flaky_proxy(forge.url) as proxy:
        proxy.limit = 4000  # some four events, and a piece of one that is not whole
        arguments = ("events", "--follow", "--after", "0", "--types", "issue.opened", "--url", proxy.url)
        async with start_command(*arguments) as command:
            received = asyncio.create_task(read_titles(command, len(expected)))
            for title in expected:
                await open_issues(nethack, title)
            assert await received == expected
            assert proxy.connections > 5


async def test_follow_from_now_misses_nothing_when_cut_before_the_first_event(forge: Forge, nethack: Client) -> None:
    async with (
        run_flaky_proxy(forge.url) as proxy,
        start_command("events", "-f", "--types", "issue.*", "--url", proxy.url) as command,
    ):
        await wait_for_listeners()
        await proxy.stop()
        assert "(retrying in 0.05 s)" in await command.read_error()
        await open_issues(nethack, "meanwhile")
        await forge.numbered()
        await proxy.start()
        assert await read_titles(command, 1) == ["meanwhile"]


async def test_follow_resumes_after_events_that_were_hidden_from_it(
    forge: Forge, nethack: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bookmark is not printed, but is where the next stream resumes."""
    monkeypatch.setattr(streams, "HEARTBEAT_INTERVAL", 0.2)
    last_ids: list[str] = []
    original = streams.stream_events

    async def record(request: Any, *arguments: Any) -> Any:
        last_ids.append(request.headers.get("Last-Event-ID", ""))
        return await original(request, *arguments)

    monkeypatch.setattr("app.dialects.native.events.stream_events", record)
    async with (
        run_flaky_proxy(forge.url) as proxy,
        start_command("events", "-f", "--types", "project.*", "--url", proxy.url) as command,
    ):
        await wait_for_listeners()
        await open_issues(nethack, "not for them")
        head = await forge.numbered()
        async with asyncio.timeout(20):
            while last_ids[-1] != str(head):  # cut before it has received the bookmark, it is sent another one
                came_back = proxy.connections + 1
                await asyncio.sleep(1)
                proxy.cut()
                while proxy.connections < came_back or len(last_ids) < came_back:
                    await asyncio.sleep(0.02)
        await nethack.post("/new", name="angband", description="d")
        assert (await command.read_json())["type"] == "project.created"
    assert set(last_ids) == {"", str(head)}


async def test_follow_reports_a_revoked_token(forge: Forge, alice: Client) -> None:
    _, issued = await alice.json("POST", "/v1/users/alice/tokens", {"description": "laptop"})
    arguments = ("events", "--follow", "--types", "issue.*", "--url", forge.url)
    async with start_command(*arguments, POLYFORGE_TOKEN=issued["token"]) as command:
        await wait_for_listeners()
        assert (await alice.json("DELETE", f"/v1/tokens/{issued['id']}"))[0] == 204
        assert await command.read_error() == f"{forge.url} closed the stream (retrying in 0.05 s)"
        assert await command.read_error() == await get_unauthorized(forge)
        assert await command.wait() == 1


async def test_events_larger_than_any_buffer_are_read(forge: Forge, nethack: Client) -> None:
    status, _ = await nethack.post("/nethack/new_issue", title="t", issue_content="x" * 600_000)
    assert status == 200
    async with start_command("events", "-f", "--after", "0", "--types", "issue.*", "--url", forge.url) as command:
        async with asyncio.timeout(20):
            assert len(await command.output.readuntil(b"\n")) > 600_000


async def test_a_closed_output_ends_the_command(forge: Forge, nethack: Client) -> None:
    async with start_command("events", "--follow", "--after", "0", "--url", forge.url) as command:
        await command.read_json()
        command.output._transport.close()  # type: ignore[attr-defined]
        while (await nethack.post("/nethack/new_issue", title="t", issue_content="c"))[0] == 200:
            if command.process.returncode is not None:
                break
        assert await command.wait() == 1
        assert await command.read_error() == ""


async def test_terminal_output_contains_no_control_characters(forge: Forge, nethack: Client) -> None:
    await open_issues(nethack, "Hungry [bold]dog\x1b]0;gotcha\x07\u202e")
    await forge.numbered()
    async with start_command("events", "--types", "issue.*", "--url", forge.url, terminal=True, TERM="dumb") as command:
        line = await command.read_line()
        assert "issue.opened" in line
        assert "alice" in line
        assert line.endswith("nethack issue-1/1 Hungry [bold]dog\ufffd]0;gotcha\ufffd\ufffd")
    async with start_command("events", "--types", "issue.*", "--json", "--url", forge.url, terminal=True) as command:
        assert (await command.read_json())["type"] == "issue.opened"


async def test_json_that_no_forge_sends_is_one_sentence(receiver: Receiver) -> None:
    for command, body in (
        (("events",), "{"),
        (("events", "--follow"), "[]"),
        (("tasks",), "{}"),
        (("tasks", TASK), "1"),
    ):

        async def answer(_: ReceivedRequest, body: str = body) -> web.Response:
            return web.Response(text=body, content_type="application/json")

        receiver.responses.append(answer)
        result = await run_command(*command, "--url", receiver.url, POLYFORGE_TOKEN="t")
        assert result == (1, [], f"Error: {receiver.url} is not a Polyforge API.\n"), command
