"""docs/webhooks.md: its session is run, its programs receive, its example verifies, its numbers are the program's."""

import asyncio
import re
import subprocess
import sys
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import orjson
import pytest

from app.core import subscriptions as rules
from app.feed import formats, signing
from app.ops import embedded
from app.outgoing import client
from tests.conftest import Client
from tests.docs.test_readme import ROOT, Reader, Step, run_process, session
from tests.processes import TIED
from tests.receiver import Receiver
from workers import delivery, messages

PAGE = (ROOT / "docs" / "webhooks.md").read_text()
SECRET = "whsec_cG9seWZvcmdlIHNpZ25zIHdlYmhvb2tz"
SECONDS = {"s": 1, "min": 60, "h": 3600}


def programs(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, flags=re.DOTALL | re.MULTILINE)


def example() -> tuple[dict[str, str], bytes]:
    """The headers and the body of the page's delivery."""
    [text] = programs("http")
    head, _, body = text.rstrip("\n").partition("\n\n")
    pairs = (line.split(": ", 1) for line in head.splitlines()[1:])
    return {name.lower(): value for name, value in pairs}, body.encode()


def shape(value: Any) -> Any:
    """Which keys there are, at every depth."""
    return {name: shape(each) for name, each in value.items()} if isinstance(value, dict) else None


async def subscribe(client: Client, url: str, **command: Any) -> Any:
    body = {"url": url, "project": "nethack", "secret": SECRET, **command}
    status, made = await client.json("POST", "/v1/subscriptions", body)
    assert status == 201, made
    return made


async def open_issue(client: Client, title: str = "Hungry dog") -> None:
    assert (await client.post("/nethack/new_issue", title=title, issue_content="Feed it."))[0] == 200


async def comes_true(reader: Reader, step: Step) -> None:
    """What the page says comes about within moments, such as a delivery."""
    output = await reader.run(reader.translate(step.command))
    for _ in range(100):
        try:
            return reader.check(step, output)
        except AssertionError:
            if "heard" not in step.command and "/deliveries" not in step.command:
                raise
        await asyncio.sleep(0.2)
        output = await reader.run(reader.translate(step.command))
    return reader.check(step, output)


@pytest.mark.slow
async def test_the_session_goes_as_the_page_says(tmp_path: Path, var: Path) -> None:
    (tmp_path / ".curlrc").write_text("no-progress-meter\n")
    (tmp_path / ".venv").symlink_to(ROOT / ".venv")
    ports = {"8173": str(embedded.free_port()), "8174": str(embedded.free_port())}
    reader = Reader({"/tmp/hooks": str(var), **ports}, tmp_path)
    steps = session(PAGE)
    assert len(steps) > 10
    async with AsyncExitStack() as stack:
        for step in steps:
            if step.command.endswith("&"):
                process = reader.start(reader.translate(step.command.removesuffix("&")))
                sign = "is ready" if "polyforge up" in step.command else "Listening"
                reader.check(step, await stack.enter_async_context(run_process(process, sign)))
            else:
                await comes_true(reader, step)


async def test_the_example_is_what_arrives(nethack: Client, receiver: Receiver) -> None:
    headers, body = example()
    await subscribe(nethack, receiver.url, types=["issue.*"])
    await open_issue(nethack)
    [got] = await receiver.wait_for(1)
    assert list(got.headers) == list(headers)
    same = ("content-type", "user-agent", "accept", "connection")
    assert [got.headers[name] for name in same] == [headers[name] for name in same]
    assert shape(got.json) == shape(orjson.loads(body))
    assert headers["content-length"] == str(len(body))


def test_the_examples_signature_is_right(tmp_path: Path) -> None:
    headers, body = example()
    signing.verify(SECRET, headers, body, float(headers["webhook-timestamp"]))
    [shell] = programs("sh")
    (tmp_path / "body").write_bytes(body)
    known = {"SECRET": SECRET, "ID": headers["webhook-id"], "TIMESTAMP": headers["webhook-timestamp"]}
    printed = subprocess.check_output(["bash", "-c", shell], cwd=tmp_path, env={"PATH": "/usr/bin:/bin", **known})
    assert "v1," + printed.decode().strip() == headers["webhook-signature"]


async def test_the_library_verifies_what_arrives(
    nethack: Client, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET", SECRET)
    known: dict[str, Any] = {}
    exec(programs("python")[0], known)
    made = await subscribe(nethack, receiver.url, types=["issue.*"])
    status, _ = await nethack.json("POST", f"/v1/subscriptions/{made['id']}/secret", {})
    assert status == 200
    await open_issue(nethack)
    [got] = await receiver.wait_for(1)
    assert known["event_of"](got.headers, got.body) == got.json["data"]
    assert known["event_of"](got.headers, got.body + b" ") is None
    assert known["event_of"]({**got.headers, "webhook-signature": "nonsense"}, got.body) is None
    assert known["event_of"](*example()) is None


async def wait_until_listening(port: str) -> None:
    async with asyncio.timeout(20):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except ConnectionError:
                await asyncio.sleep(0.05)
            else:
                writer.close()
                return


async def test_the_receiver_receives(
    nethack: Client, tmp_path: Path, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = str(embedded.free_port())
    (tmp_path / "receiver.py").write_text(programs("python")[1])
    process = await asyncio.create_subprocess_exec(
        *TIED, sys.executable, "receiver.py", cwd=tmp_path, env={"SECRET": SECRET, "HOOKS": port},
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    monkeypatch.setattr(delivery, "SCHEDULE", (0.2,) * 10)
    monkeypatch.setattr(delivery, "FAILURES_TO_OPEN", 100)
    await wait_until_listening(port)  # deliveries are given up after ten attempts
    made = await subscribe(nethack, f"http://127.0.0.1:{port}/", types=["issue.*"])
    other = await subscribe(nethack, f"http://127.0.0.1:{port}/", types=["issue.*"], secret="another-secret-of-mine")
    try:
        await open_issue(nethack)
        assert process.stdout is not None
        async with asyncio.timeout(20):
            assert await process.stdout.readline() == b"issue.opened issue-1/1\n"
            await nethack.json("POST", f"/v1/subscriptions/{made['id']}/replay", {"after": 0})
            await nethack.json("DELETE", f"/v1/subscriptions/{other['id']}")
            await open_issue(nethack)
            assert await process.stdout.readline() == b"issue.opened issue-1/2\n"
            while True:
                _, page = await nethack.get(f"/v1/subscriptions/{made['id']}/deliveries?status=delivered")
                if len(page["deliveries"]) == 3:
                    break
                await asyncio.sleep(0.05)
    finally:
        process.kill()
        rest, _ = await process.communicate()
    assert rest == b""


async def test_the_receiver_believes_only_what_is_signed(
    nethack: Client, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET", SECRET)
    known: dict[str, Any] = {"__name__": "receiver"}
    exec(programs("python")[1], known)
    await subscribe(nethack, receiver.url, types=["issue.*"])
    await open_issue(nethack)
    [got] = await receiver.wait_for(1)
    verified = known["verified"]
    assert verified(got.headers, got.body)
    assert not verified(got.headers, got.body + b" ")
    assert not verified({**got.headers, "webhook-id": "another"}, got.body)
    assert not verified({**got.headers, "webhook-timestamp": "soon"}, got.body)
    assert not verified({}, got.body)
    assert not verified(*example())


async def test_the_digest_proves_that_a_receiver_has_everything(nethack: Client, receiver: Receiver) -> None:
    known: dict[str, Any] = {}
    exec(programs("python")[2], known)
    bound = await nethack.limited(project="nethack")
    first = await nethack.forge.numbered() + 1
    made = await subscribe(bound, receiver.url)
    for n in range(3):
        await open_issue(nethack, str(n))
    await nethack.json("PATCH", f"/v1/subscriptions/{made['id']}", {"ordered": False})
    last = await nethack.forge.numbered()
    got = await receiver.wait_for(3)
    events = {each.json["data"]["seq"]: each.json["data"] for each in got}
    _, page = await bound.get(f"/v1/events?types=subscription.*&after={first - 1}")
    assert len(page["events"]) == 2
    events |= {event["seq"]: event for event in page["events"]}
    _, wanted = await bound.get(f"/v1/events/digest?from={first}&to={last}")
    assert (known["digest"](events), len(events)) == (wanted["sha256"], wanted["count"])
    assert len(events) == last - first + 1


def test_the_numbers_of_the_page_are_the_programs() -> None:
    [row] = re.findall(r"^\| (5 s \| .*) \|$", PAGE, flags=re.MULTILINE)
    waits = [int(wait.split()[0]) * SECONDS[wait.split()[1]] for wait in row.split(" | ")]
    assert waits == list(delivery.SCHEDULE)
    for sentence, number in {
        "each longer or shorter by up to a fifth": delivery.JITTER == 1 / 5,
        "five failures in a row": delivery.FAILURES_TO_OPEN == 5,
        "for 30 seconds, then for a minute, up to ten": (delivery.OPEN_SECONDS, delivery.MAX_OPEN_SECONDS) == (30, 600),
        "24 hours at most": messages.MAX_PAUSE == 24 * 3600,
        "failures only, for five days": delivery.FAILURE_GRACE.days == 5,
        "ends it after 30 more days": delivery.PROBE_GRACE.days == 30,
        "of your answer are read, and 2,000 characters kept": messages.MAX_EXCERPT == 2000,
        "Up to 16 KiB of your": client.MAX_BODY == 16 * 1024,
        "Nobody has more than 100 of them": rules.MAX_SUBSCRIPTIONS == 100,
        "A body of more than 256 KiB": formats.MAX_BODY == 256 * 1024,
        "older than five minutes": signing.TOLERANCE == 300,
    }.items():
        assert sentence in " ".join(PAGE.split())
        assert number, sentence
