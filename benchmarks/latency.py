"""How long one thing takes on an idle forge: a task, a wake-up, a fork."""

import asyncio
import random
import time

import aiohttp

from benchmarks.forge import Forge
from benchmarks.receiver import Receiver

SETTLE = 0.1  # seconds for a long poll to reach the forge and wait there


async def tasks(forge: Forge, times: int) -> list[float]:
    """Milliseconds from POST /new to its reply, which comes once the repository is there."""
    taken = []
    async with _session(forge) as session:
        for n in range(times):
            body = {"name": f"task-{n}", "description": "Measured"}
            taken.append(await _timed(session, "/api/0/new", body))
            await asyncio.sleep(random.uniform(0, 0.1))
    return taken


async def wake_ups(forge: Forge, project: str, times: int) -> tuple[list[float], list[float]]:
    """Milliseconds until a long poll answers with a posted issue: since the POST was sent, and since its reply."""
    sent, replied = [], []
    async with _session(forge) as session:
        for _ in range(times):
            poll = asyncio.create_task(_polled(session))
            await asyncio.sleep(SETTLE + random.uniform(0, 0.3))
            begun = time.perf_counter()
            await _timed(session, f"/api/0/{project}/new_issue", {"title": "Wake", "issue_content": "up"})
            answered = time.perf_counter()
            heard = await poll
            sent.append((heard - begun) * 1000)
            replied.append(max(0.0, heard - answered) * 1000)
            await asyncio.sleep(SETTLE)
    return sent, replied


async def streamed(forge: Forge, project: str, times: int) -> tuple[list[float], list[float]]:
    """Milliseconds until a stream tells of a posted issue: since the POST was sent, and since its reply."""
    sent, replied = [], []
    headers = {"Accept": "text/event-stream"}
    async with _session(forge) as session, session.get("/v1/events?after=now&types=issue.*", headers=headers) as stream:
        await stream.content.readuntil(b"\n\n")  # how soon to come back
        for _ in range(times):
            await asyncio.sleep(random.uniform(0.05, 0.3))
            begun, answered = await _opened(session, project)
            await stream.content.readuntil(b"\n\n")
            heard = time.perf_counter()
            sent.append((heard - begun) * 1000)
            replied.append(max(0.0, heard - answered) * 1000)
    return sent, replied


async def sent(
    forge: Forge, project: str, receiver: Receiver, times: int, each: int = 1
) -> tuple[list[float], list[float]]:
    """Milliseconds until each of so many endpoints of a receiver has been sent a posted issue: since the POST was sent,
    and since its reply.
    """
    sent, replied = [], []
    before = len(await receiver.came(0))
    async with _session(forge) as session:
        for n in range(times):
            await asyncio.sleep(random.uniform(0.05, 0.3))
            begun, answered = await _opened(session, project)
            seen = before + n * each
            for came in (await receiver.came(seen + each))[seen:]:
                sent.append((came - begun) * 1000)
                replied.append(max(0.0, came - answered) * 1000)
    return sent, replied


async def _opened(session: aiohttp.ClientSession, project: str) -> tuple[float, float]:
    """When an issue was posted, and when the reply had come."""
    begun = time.perf_counter()
    await _timed(session, f"/api/0/{project}/new_issue", {"title": "Wake", "issue_content": "up"})
    return begun, time.perf_counter()


async def forks(forge: Forge, project: str, tokens: list[str]) -> list[float]:
    """Milliseconds from POST /fork to its reply; each user can fork a project once."""
    taken = []
    async with _session(forge) as session:
        for token in tokens:
            taken.append(await _timed(session, "/api/0/fork", {"repo": project}, token))
            await asyncio.sleep(random.uniform(0, 0.1))
    return taken


def _session(forge: Forge) -> aiohttp.ClientSession:
    headers = {"Authorization": f"token {forge.token}"}
    return aiohttp.ClientSession(forge.url, headers=headers, timeout=aiohttp.ClientTimeout(60))


async def _timed(session: aiohttp.ClientSession, path: str, body: dict[str, str], token: str | None = None) -> float:
    headers = {"Authorization": f"token {token}"} if token else None
    begun = time.perf_counter()
    async with session.post(path, json=body, headers=headers) as answer:
        text = await answer.text()
        if answer.status != 200:
            raise SystemExit(f"{path} answered {answer.status}: {text[:300]}")
    return (time.perf_counter() - begun) * 1000


async def _polled(session: aiohttp.ClientSession) -> float:
    """When a long poll for new issues has answered."""
    async with session.get("/v1/events?after=now&wait=10&types=issue.*") as answer:
        found = await answer.json()
        if not found["events"]:
            raise SystemExit("A long poll ended without the event it waited for.")
    return time.perf_counter()
