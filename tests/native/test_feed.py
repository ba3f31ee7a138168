"""The event feed: pages, long polls and streams agree, and show only what the reader may see."""

import asyncio
import contextlib
import hashlib
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import orjson
import pytest

from app.dialects.native import streams
from app.dialects.native.streams import STREAM
from tests.conftest import Client, Forge, wait_for_waiters


class Listener:
    """A reader of a stream."""

    def __init__(self, answer: aiohttp.ClientResponse) -> None:
        self.answer = answer

    async def message(self) -> dict[str, str] | None:
        """Return the next message, which may be a comment; None at the end of the stream."""
        fields: dict[str, str] = {}
        while line := (await self.answer.content.readline()).decode():
            if line == "\n" and fields:
                return fields
            name, _, value = line.rstrip("\n").partition(":")
            fields[name] = value.removeprefix(" ")
        return None

    async def event(self) -> Any:
        """Return the next event; None at the end of the stream."""
        while (message := await self.message()) is not None:
            if "data" in message and message["event"] != "bookmark":
                event = orjson.loads(message["data"])
                assert (message["id"], message["event"]) == (str(event["seq"]), event["type"])
                return event
        return None


@asynccontextmanager
async def listen(client: Client, query: str = "", **headers: str) -> AsyncIterator[Listener]:
    headers["Accept"] = "text/event-stream"
    if client.token:
        headers["Authorization"] = f"Bearer {client.token}"
    async with client.forge.session.get(f"{client.forge.url}/v1/events{query}", headers=headers) as answer:
        assert answer.status == 200, await answer.text()
        assert answer.content_type == "text/event-stream"
        assert answer.headers["X-Accel-Buffering"] == "no"
        assert answer.headers["Cache-Control"] == "no-store"
        yield Listener(answer)


async def open_issue(client: Client, title: str = "t") -> None:
    assert (await client.post("/nethack/new_issue", title=title, issue_content="c"))[0] == 200


async def test_a_stream_sends_past_events_and_then_new_ones(forge: Forge, nethack: Client) -> None:
    await forge.numbered()
    _, page = await forge.nobody.get("/v1/events?project=nethack")
    async with listen(forge.nobody, "?project=nethack") as reader, asyncio.timeout(20):
        assert await reader.message() == {"retry": "2000"}
        assert [await reader.event() for _ in page["events"]] == page["events"]
        await open_issue(nethack)
        assert (await reader.event())["type"] == "issue.opened"


async def test_a_reconnecting_reader_continues_after_its_last_event(forge: Forge, nethack: Client) -> None:
    for n in range(4):
        await open_issue(nethack, f"Issue {n}")
    await forge.numbered()
    async with listen(forge.nobody, "?types=issue.*") as reader, asyncio.timeout(20):
        first = await reader.event()
    last_event_id = {"Last-Event-ID": str(first["seq"])}
    async with listen(forge.nobody, "?types=issue.*&after=0", **last_event_id) as reader, asyncio.timeout(20):
        rest = [await reader.event() for _ in range(3)]
    assert [event["data"]["title"] for event in [first, *rest]] == [f"Issue {n}" for n in range(4)]


async def test_a_stream_from_now_on_sends_only_new_events(forge: Forge, nethack: Client) -> None:
    await forge.numbered()
    async with listen(forge.nobody, "?after=now") as reader, asyncio.timeout(20):
        assert await reader.message() == {"retry": "2000"}
        await open_issue(nethack)
        assert (await reader.event())["type"] == "issue.opened"


async def test_a_silent_stream_sends_heartbeats_and_bookmarks(
    forge: Forge, nethack: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "HEARTBEAT_INTERVAL", 0.5)
    head = await forge.numbered()
    async with listen(forge.nobody, "?after=now") as reader, asyncio.timeout(20):
        assert await reader.message() == {"retry": "2000"}
        assert await reader.message() == {"": ""}
        await nethack.post("/nethack/new_issue", title="t", issue_content="c", private="1")
        while (message := await reader.message()) == {"": ""}:
            pass
    assert message == {"id": str(head + 1), "event": "bookmark", "data": f'{{"next":{head + 1}}}'}


async def test_a_stream_ends_with_its_token(forge: Forge, alice: Client) -> None:
    _, issued = await alice.json("POST", "/v1/users/alice/tokens", {"description": "laptop"})
    laptop = Client(forge, issued["token"], "alice")
    async with listen(laptop, "?after=now&types=issue.*") as reader, asyncio.timeout(10):
        assert await reader.message() == {"retry": "2000"}
        assert (await alice.json("DELETE", f"/v1/tokens/{issued['id']}"))[0] == 204
        assert await reader.message() is None


async def test_a_poll_ends_with_its_token(forge: Forge, alice: Client) -> None:
    _, issued = await alice.json("POST", "/v1/users/alice/tokens", {"description": "laptop"})
    laptop = Client(forge, issued["token"], "alice")
    poll = asyncio.create_task(laptop.get("/v1/events?after=now&types=issue.*&wait=50"))
    await wait_for_waiters(1)
    assert (await alice.json("DELETE", f"/v1/tokens/{issued['id']}"))[0] == 204
    async with asyncio.timeout(10):
        assert (await poll)[0] == 401


@pytest.mark.parametrize("accept", ["application/json", "text/event-stream"])
async def test_a_wait_ends_when_the_client_hangs_up(forge: Forge, alice: Client, accept: str) -> None:
    url = f"{forge.url}/v1/events?after=now" + ("&wait=50" if accept == "application/json" else "")
    async with aiohttp.ClientSession() as session:
        call = asyncio.create_task(session.get(url, headers={"Accept": accept}))
        await wait_for_waiters(1)
        if accept == "text/event-stream":
            (await call).close()
        call.cancel()
    await wait_for_waiters(0)


@pytest.mark.own_forge
async def test_a_wait_for_a_task_ends_when_the_client_hangs_up(forge: Forge, alice: Client) -> None:
    forge.worker.cancel()
    _, queued = await alice.post("/new", name="nethack", description="d", wait="0")
    async with aiohttp.ClientSession(headers={"Authorization": f"token {alice.token}"}) as session:
        call = asyncio.create_task(session.get(f"{forge.url}/v1/tasks/{queued['taskid']}?wait=50"))
        await wait_for_waiters(1)
        call.cancel()
    await wait_for_waiters(0)


@pytest.mark.own_forge
async def test_waiting_clients_hold_no_connection_and_no_thread(forge: Forge, nethack: Client) -> None:
    """More clients wait than there are database connections and threads; other clients are still answered."""
    await forge.idle()
    await forge.numbered()
    forge.worker.cancel()
    _, queued = await nethack.post("/new", name="angband", description="d", wait="0")
    await forge.numbered()
    waiting = "types=issue.*&after=now"
    headers = {"Authorization": f"token {nethack.token}"}
    async with aiohttp.ClientSession(forge.url, headers=headers, connector=aiohttp.TCPConnector(limit=0)) as session:
        polls = [asyncio.create_task(read_all(session, f"/v1/events?wait=50&{waiting}")) for _ in range(60)]
        tasks = [asyncio.create_task(read_all(session, f"/v1/tasks/{queued['taskid']}?wait=50")) for _ in range(60)]
        heard = [await session.get(f"/v1/events?{waiting}", headers={"Accept": STREAM}) for _ in range(60)]
        await wait_for_waiters(180)
        async with asyncio.timeout(10):
            await asyncio.gather(*(forge.nobody.get("/v1/events?limit=1") for _ in range(20)))
            await asyncio.gather(*(asyncio.to_thread(bool) for _ in range(20)))
        await open_issue(nethack)
        for found in await asyncio.gather(*polls):
            assert [event["type"] for event in found["events"]] == ["issue.opened"]
        for stream in heard:
            assert (await Listener(stream).event())["type"] == "issue.opened"
            stream.close()
        for task in tasks:
            task.cancel()
    await wait_for_waiters(0)


async def read_all(session: aiohttp.ClientSession, path: str) -> Any:
    async with session.get(path) as answer:
        assert answer.status == 200
        return await answer.json()


async def test_a_reader_that_does_not_read_is_disconnected(
    forge: Forge, nethack: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "SEND_TIMEOUT", 0.5)
    send, cut = streams._send, asyncio.Event()

    async def watched(*arguments: Any) -> None:
        try:
            await send(*arguments)
        except ConnectionResetError:
            cut.set()
            raise

    monkeypatch.setattr(streams, "_send", watched)
    for _ in range(12):
        status, _ = await nethack.post("/nethack/new_issue", title="t", issue_content="x" * 1_000_000)
        assert status == 200
    await forge.numbered()
    host, port = forge.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port), limit=1024)
    writer.write(b"GET /v1/events HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n\r\n")
    taken = 0
    async with asyncio.timeout(20):
        await cut.wait()
        with contextlib.suppress(ConnectionResetError):
            while chunk := await reader.read(1 << 16):
                taken += len(chunk)
    writer.close()
    assert 0 < taken < 12_000_000


async def test_events_that_a_filter_excludes_cost_waiting_clients_no_statement(
    forge: Forge, nethack: Client, statements: list[str]
) -> None:
    head = await forge.numbered()
    poll = asyncio.create_task(forge.nobody.get("/v1/events?after=now&types=project.created&wait=2"))
    await wait_for_waiters(1)
    statements.clear()
    for _ in range(3):
        await open_issue(nethack)
    _, page = await poll
    assert (page["events"], page["next"], page["head"]) == ([], head + 3, head + 3)
    assert not [sql for sql in statements if "caused" in sql]


@pytest.mark.parametrize("accept", ["application/json", "text/event-stream"])
async def test_unknown_types_of_events_are_refused(forge: Forge, nethack: Client, accept: str) -> None:
    for types, unknown in (
        ("isue.opened", "isue.opened"), ("issue.opened,isue.*", "isue.*"), ("issue", "issue"), ("*", "*"),
    ):  # fmt: skip
        status, problem = await forge.nobody.get(f"/v1/events?types={types}", headers={"Accept": accept})
        assert (status, problem["errors"]) == (
            422,
            [{"pointer": "?types", "detail": f"Unknown event type: {unknown}."}],
        )
        status, refused = await nethack.json(
            "POST", "/v1/subscriptions", {"url": forge.url, "project": "nethack", "types": types.split(",")}
        )
        assert (status, refused["detail"]) == (422, problem["detail"])


async def test_the_digest_matches_the_events_of_the_feed(forge: Forge, nethack: Client) -> None:
    await open_issue(nethack)
    await nethack.post("/nethack/new_issue", title="t", issue_content="c", private="1")
    head = await forge.numbered()
    for reader in (forge.nobody, nethack, forge.admin):
        _, page = await reader.get("/v1/events?limit=1000")
        ids = "".join(f"{event['id']}\n" for event in page["events"])
        wanted = {
            "from": 1,
            "to": head,
            "count": len(page["events"]),
            "sha256": hashlib.sha256(ids.encode()).hexdigest(),
        }
        assert await reader.get(f"/v1/events/digest?from=1&to={head}") == (200, wanted)
        assert await reader.get("/v1/events/digest") == (200, wanted)
    _, some = await forge.admin.get(f"/v1/events/digest?from={head}&to={head}")
    assert some["count"] == 1


@pytest.mark.parametrize("query", ["from=0", "from=2&to=1", "to=99999", "from=99999", "from=x", "color=1"])
async def test_a_digest_of_unknown_events_is_refused(forge: Forge, nethack: Client, query: str) -> None:
    assert (await forge.nobody.get(f"/v1/events/digest?{query}"))[0] == 422


async def test_an_event_can_be_read_by_its_number(forge: Forge, nethack: Client) -> None:
    await nethack.post("/nethack/new_issue", title="t", issue_content="c", private="1")
    head = await forge.numbered()
    _, page = await nethack.get("/v1/events")
    for event in page["events"]:
        assert await nethack.get(f"/v1/events/{event['seq']}") == (200, event)
    assert page["events"][-1]["seq"] == head
    assert (await forge.nobody.get(f"/v1/events/{head}"))[0] == 404
    for seq in ("0", str(head + 1), "9" * 30):
        assert (await forge.admin.get(f"/v1/events/{seq}"))[0] == 404


async def test_an_event_can_be_read_as_a_cloudevent(forge: Forge, nethack: Client) -> None:
    _, page = await nethack.get("/v1/events?project=nethack&limit=1")
    [event] = page["events"]
    accept = {"Accept": "application/cloudevents+json"}
    status, event_body = await nethack.get(f"/v1/events/{event['seq']}", headers=accept)
    assert (status, nethack.headers["Content-Type"]) == (200, "application/cloudevents+json; charset=utf-8")
    assert event_body == {
        "specversion": "1.0",
        "id": event["id"],
        "source": forge.url,
        "type": "project.created",
        "subject": event["subject"],
        "time": event["at"],
        "datacontenttype": "application/json",
        "sequence": f"{event['seq']:020}",
        "data": event,
    }


async def test_deleted_events_are_reported_as_gone(forge: Forge, nethack: Client) -> None:
    head = await forge.numbered()
    await forge.db.execute("delete from numbers where seq <= 2")
    status, problem = await forge.nobody.get("/v1/events?after=1")
    assert (status, problem["type"]) == (410, "/problems/gone")
    assert problem["title"] == "Events before number 3 have been deleted."
    assert (await forge.nobody.get("/v1/events?after=2"))[1]["next"] == head
    assert (await forge.nobody.get("/v1/events"))[1]["next"] == head
    late = {"Accept": "text/event-stream", "Last-Event-ID": "1"}
    assert (await forge.nobody.get("/v1/events?after=2", headers=late))[0] == 410


async def read_pages(reader: Client, after: int, last: int, query: str) -> dict[int, str]:
    """Read the ids of all events up to `last`, by number, page by page."""
    seen: dict[int, str] = {}
    while after < last:
        _, page = await reader.get(f"/v1/events?after={after}&{query}")
        seen |= {event["seq"]: event["id"] for event in page["events"]}
        after = page["next"]
    return seen


async def read_streams(reader: Client, after: int, last: int) -> dict[int, str]:
    """Read the same from streams that break again and again, also in the middle of a message."""
    seen: dict[int, str] = {}
    while after < last:
        async with listen(reader, **{"Last-Event-ID": str(after)}) as stream:
            for _ in range(min(random.randint(1, 30), last - after)):
                event = await stream.event()
                assert event["seq"] > after  # each event once, over all connections
                seen[event["seq"]], after = event["id"], event["seq"]
            if after < last:
                await stream.answer.content.read(random.randint(1, 100))
    return seen


async def test_pages_polls_and_streams_agree_while_many_clients_write(forge: Forge, nethack: Client) -> None:
    head = await forge.numbered()
    last = head + 16 * 12

    async def write() -> None:
        for _ in range(12):
            await open_issue(nethack)

    async with asyncio.timeout(60):
        *_, one, other, third = await asyncio.gather(
            *(write() for _ in range(16)),
            read_pages(forge.admin, head, last, "limit=7"),
            read_pages(forge.admin, head, last, "limit=1000&wait=20"),
            read_streams(forge.admin, head, last),
        )
    assert one == other == third
    assert list(one) == list(other) == list(third) == list(range(head + 1, last + 1))
    _, digest = await forge.admin.get(f"/v1/events/digest?from={head + 1}&to={last}")
    ids = "".join(f"{event_id}\n" for event_id in third.values())
    assert (digest["count"], digest["sha256"]) == (len(third), hashlib.sha256(ids.encode()).hexdigest())
