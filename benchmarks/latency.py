"""Latencies on an idle forge: tasks, wake-ups, streams, deliveries, forks."""

import asyncio
import random
import time

import aiohttp

from benchmarks.forge import Forge
from benchmarks.receiver import Receiver

SETTLE = 0.1  # seconds for a long poll to reach the forge and wait there


async def measure_tasks(forge: Forge, times: int) -> list[float]:
    """Measure the milliseconds from POST /new to its reply, which comes when the repository exists."""
    taken = []
    async with _open_session(forge) as session:
        for number in range(times):
            body = {"name": f"task-{number}", "description": "Measured"}
            taken.append(await _time_post(session, "/api/0/new", body))
            await asyncio.sleep(random.uniform(0, 0.1))
    return taken


async def measure_wake_ups(forge: Forge, project: str, times: int) -> tuple[list[float], list[float]]:
    """Measure the milliseconds until a long poll answers with a new issue, since the POST and since its reply."""
    since_post, since_reply = [], []
    async with _open_session(forge) as session:
        for _ in range(times):
            poll = asyncio.create_task(_poll_for_issue(session))
            await asyncio.sleep(SETTLE + random.uniform(0, 0.3))
            begun, replied = await _post_issue(session, project)
            received = await poll
            since_post.append((received - begun) * 1000)
            since_reply.append(max(0.0, received - replied) * 1000)
            await asyncio.sleep(SETTLE)
    return since_post, since_reply


async def measure_stream(forge: Forge, project: str, times: int) -> tuple[list[float], list[float]]:
    """Measure the milliseconds until a stream sends a new issue, since the POST and since its reply."""
    since_post, since_reply = [], []
    headers = {"Accept": "text/event-stream"}
    async with (
        _open_session(forge) as session,
        session.get("/v1/events?after=now&types=issue.*", headers=headers) as stream,
    ):
        await stream.content.readuntil(b"\n\n")  # the `retry` field
        for _ in range(times):
            await asyncio.sleep(random.uniform(0.05, 0.3))
            begun, replied = await _post_issue(session, project)
            await stream.content.readuntil(b"\n\n")
            received = time.perf_counter()
            since_post.append((received - begun) * 1000)
            since_reply.append(max(0.0, received - replied) * 1000)
    return since_post, since_reply


async def measure_deliveries(
    forge: Forge, project: str, receiver: Receiver, times: int, endpoints: int = 1
) -> tuple[list[float], list[float]]:
    """Measure the milliseconds until each endpoint of the receiver gets a new issue, since the POST and since its
    reply.
    """
    since_post, since_reply = [], []
    before = len(await receiver.wait_for_arrivals(0))
    async with _open_session(forge) as session:
        for number in range(times):
            await asyncio.sleep(random.uniform(0.05, 0.3))
            begun, replied = await _post_issue(session, project)
            seen = before + number * endpoints
            for arrived in (await receiver.wait_for_arrivals(seen + endpoints))[seen:]:
                since_post.append((arrived - begun) * 1000)
                since_reply.append(max(0.0, arrived - replied) * 1000)
    return since_post, since_reply


async def _post_issue(session: aiohttp.ClientSession, project: str) -> tuple[float, float]:
    """Post an issue. Returns the times of the request and of the reply."""
    begun = time.perf_counter()
    await _time_post(session, f"/api/0/{project}/new_issue", {"title": "Wake", "issue_content": "up"})
    return begun, time.perf_counter()


async def measure_forks(forge: Forge, project: str, tokens: list[str]) -> list[float]:
    """Measure the milliseconds from POST /fork to its reply, once per user, since each can fork a project once."""
    taken = []
    async with _open_session(forge) as session:
        for token in tokens:
            taken.append(await _time_post(session, "/api/0/fork", {"repo": project}, token))
            await asyncio.sleep(random.uniform(0, 0.1))
    return taken


def _open_session(forge: Forge) -> aiohttp.ClientSession:
    headers = {"Authorization": f"token {forge.token}"}
    return aiohttp.ClientSession(forge.url, headers=headers, timeout=aiohttp.ClientTimeout(60))


async def _time_post(
    session: aiohttp.ClientSession, path: str, body: dict[str, str], token: str | None = None
) -> float:
    headers = {"Authorization": f"token {token}"} if token else None
    begun = time.perf_counter()
    async with session.post(path, json=body, headers=headers) as answer:
        text = await answer.text()
        if answer.status != 200:
            raise SystemExit(f"{path} answered {answer.status}: {text[:300]}")
    return (time.perf_counter() - begun) * 1000


async def _poll_for_issue(session: aiohttp.ClientSession) -> float:
    """Long-poll for a new issue. Returns the time of the answer."""
    async with session.get("/v1/events?after=now&wait=10&types=issue.*") as answer:
        page = await answer.json()
        if not page["events"]:
            raise SystemExit("A long poll ended without the event it waited for.")
    return time.perf_counter()
