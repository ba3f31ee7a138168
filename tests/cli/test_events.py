"""`polyforge events`, over connections that break."""

import asyncio
import signal
from typing import Any

import pytest

from app.dialects.native import streams
from app.metrics import WAITERS
from tests.cli.command import Command, run, running, wired
from tests.conftest import Client, Forge

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever was cut off comes back at once, or nobody would wait for these tests."""
    monkeypatch.setattr(streams, "RETRY", b"retry: 50\n\n")


async def open_issues(client: Client, *titles: str) -> None:
    for title in titles:
        assert (await client.post("/nethack/new_issue", title=title, issue_content="c"))[0] == 200


async def titles(command: Command, count: int) -> list[Any]:
    return [(await command.json())["data"]["title"] for _ in range(count)]


async def listening(count: int = 1) -> None:
    """Wait until so many wait."""
    async with asyncio.timeout(20):
        while WAITERS._value.get() < count:
            await asyncio.sleep(0.02)


async def test_a_page_is_what_the_feed_says(forge: Forge, nethack: Client) -> None:
    await open_issues(nethack, "one", "two")
    await forge.numbered()
    _, page = await nethack.get("/v1/events")
    asked = ("events", "--url", forge.url + "/")
    assert nethack.token is not None
    assert await run(*asked, POLYFORGE_TOKEN=nethack.token) == (0, page["events"], "")
    _, public = await forge.nobody.get("/v1/events")
    assert len(public["events"]) < len(page["events"])
    assert (await run(*asked))[1] == public["events"]


async def test_a_page_is_narrowed_and_says_where_to_go_on(forge: Forge, nethack: Client) -> None:
    await open_issues(nethack, "one", "two", "three")
    head = await forge.numbered()
    asked = ("events", "--url", forge.url, "--types", "issue.*", "--project", "nethack", "--actor", "alice")
    code, [one, two], said = await run(*asked, "--limit", "2")
    assert (code, one["data"]["title"], two["data"]["title"]) == (0, "one", "two")
    assert said == f"Go on with --after {head - 1}.\n"
    code, [three], said = await run(*asked, "--after", str(head - 1))
    assert (code, three["data"]["title"], said) == (0, "three", "")
    assert await run("events", "--url", forge.url, "--actor", "bob") == (0, [], "")


@pytest.mark.parametrize("follow", [[], ["--follow"]])
async def test_a_refusal_is_a_sentence(forge: Forge, nethack: Client, follow: list[str]) -> None:
    asked = ("events", *follow, "--url", forge.url)
    assert await run(*asked, "--token", "pf_wrong") == (1, [], "No: A valid token is needed.\n")
    number = "No: ?after: `after` must be a number from 0 to 4,611,686,018,427,387,904.\n"
    assert await run(*asked, "--after", "then") == (1, [], number)
    missing = (1, [], "No: There is no such project, or you may not see it.\n")
    assert await run(*asked, "--project", "angband") == missing


@pytest.mark.parametrize("follow", [[], ["--follow"], ["--follow", "--after", "0"]])
async def test_a_forge_that_never_answers_is_not_waited_for(follow: list[str]) -> None:
    code, lines, said = await run("events", *follow, "--url", "http://127.0.0.1:1")
    assert (code, lines) == (1, [])
    assert said.startswith("No: http://127.0.0.1:1 cannot be reached")


async def test_what_is_no_forge_is_said_to_be_none(forge: Forge) -> None:
    code, _, said = await run("events", "--follow", "--after", "0", "--url", forge.url + "/api/0")
    assert code == 1
    assert said.startswith("No: ")


async def test_a_follower_hears_what_happens_and_stops_when_told(forge: Forge, nethack: Client) -> None:
    await open_issues(nethack, "before")
    await forge.numbered()
    for told in (signal.SIGINT, signal.SIGTERM):
        async with running("events", "--follow", "--types", "issue.*", "--url", forge.url) as command:
            await listening()
            await open_issues(nethack, "while")
            assert await titles(command, 1) == ["while"]
            assert await command.end(told) == 0
            assert await command.line() == ""


async def test_a_follower_misses_nothing_and_hears_nothing_twice_over_cuts(forge: Forge, nethack: Client) -> None:
    wanted = [str(n) for n in range(60)]
    async with wired(forge.url) as wire:
        wire.limit = 4000  # some four events, and a piece of one that is not whole
        asked = ("events", "--follow", "--after", "0", "--types", "issue.opened", "--url", wire.url)
        async with running(*asked) as command:
            heard = asyncio.create_task(titles(command, len(wanted)))
            for title in wanted:
                await open_issues(nethack, title)
            assert await heard == wanted
            assert wire.connections > 5


async def test_a_follower_from_now_on_misses_nothing_when_cut_before_the_first_event(
    forge: Forge, nethack: Client
) -> None:
    async with wired(forge.url) as wire, running("events", "-f", "--types", "issue.*", "--url", wire.url) as command:
        await listening()
        await wire.down()
        assert "(again in 0.05 s)" in await command.warning()
        await open_issues(nethack, "meanwhile")
        await forge.numbered()
        await wire.up()
        assert await titles(command, 1) == ["meanwhile"]


async def test_a_follower_goes_on_behind_what_was_hidden_from_it(
    forge: Forge, nethack: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bookmark is not printed, and counts."""
    monkeypatch.setattr(streams, "HEARTBEAT_INTERVAL", 0.2)
    asked: list[str] = []
    original = streams.stream_events

    async def noted(request: Any, *arguments: Any) -> Any:
        asked.append(request.headers.get("Last-Event-ID", ""))
        return await original(request, *arguments)

    monkeypatch.setattr("app.dialects.native.events.stream_events", noted)
    async with wired(forge.url) as wire, running("events", "-f", "--types", "project.*", "--url", wire.url) as command:
        await listening()
        await open_issues(nethack, "not for them")
        head = await forge.numbered()
        async with asyncio.timeout(20):
            while asked[-1] != str(head):  # cut before it has heard of it, it is told once more
                came_back = wire.connections + 1
                await asyncio.sleep(1)
                wire.cut()
                while wire.connections < came_back or len(asked) < came_back:
                    await asyncio.sleep(0.02)
        await nethack.post("/new", name="angband", description="d")
        assert (await command.json())["type"] == "project.created"
    assert set(asked) == {"", str(head)}


async def test_a_follower_whose_token_ends_is_told_so(forge: Forge, alice: Client) -> None:
    _, issued = await alice.json("POST", "/v1/users/alice/tokens", {"description": "laptop"})
    asked = ("events", "--follow", "--types", "issue.*", "--url", forge.url, "--token", issued["token"])
    async with running(*asked) as command:
        await listening()
        assert (await alice.json("DELETE", f"/v1/tokens/{issued['id']}"))[0] == 204
        assert await command.warning() == f"{forge.url} ended the stream (again in 0.05 s)"
        assert await command.warning() == "No: A valid token is needed."
        assert await command.end() == 1


async def test_events_larger_than_any_buffer_are_read(forge: Forge, nethack: Client) -> None:
    status, _ = await nethack.post("/nethack/new_issue", title="t", issue_content="x" * 600_000)
    assert status == 200
    async with running("events", "-f", "--after", "0", "--types", "issue.*", "--url", forge.url) as command:
        async with asyncio.timeout(20):
            assert len(await command.output.readuntil(b"\n")) > 600_000


async def test_nobody_has_to_read_to_the_end(forge: Forge, nethack: Client) -> None:
    async with running("events", "--follow", "--after", "0", "--url", forge.url) as command:
        await command.json()
        command.output._transport.close()  # type: ignore[attr-defined]
        while (await nethack.post("/nethack/new_issue", title="t", issue_content="c"))[0] == 200:
            if command.process.returncode is not None:
                break
        assert await command.end() == 1
        assert await command.warning() == ""


async def test_people_at_a_terminal_get_a_line_that_steers_nothing(forge: Forge, nethack: Client) -> None:
    await open_issues(nethack, "Hungry [bold]dog\x1b]0;gotcha\x07\u202e")
    await forge.numbered()
    async with running("events", "--types", "issue.*", "--url", forge.url, terminal=True, TERM="dumb") as command:
        line = await command.line()
        assert "issue.opened" in line
        assert "alice" in line
        assert line.endswith("nethack issue-1/1 Hungry [bold]dog\ufffd]0;gotcha\ufffd\ufffd")
    async with running("events", "--types", "issue.*", "--json", "--url", forge.url, terminal=True) as command:
        assert (await command.json())["type"] == "issue.opened"
