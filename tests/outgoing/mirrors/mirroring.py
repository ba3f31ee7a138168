"""What tests of mirrors do: make one, have it looked at, stop it half way."""

import asyncio
import os
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import web

from tests.conftest import Client, Forge
from tests.outgoing.conftest import Authority, Away, site


async def new(client: Client, url: str, name: str = "mirror", **form: str) -> tuple[int, Any]:
    return await client.post("/new", name=name, description="d", mirrored_from=url, **form)


async def branches(client: Client, name: str = "mirror") -> dict[str, str]:
    form = {"params": {"with_commits": "1"}}
    return dict((await client.get(f"/api/0/{name}/git/branches", **form))[1]["branches"])


async def look_again(forge: Forge) -> None:
    """Let the only mirror be due, and wait until it has been looked at."""
    async with asyncio.timeout(20):
        while not (await forge.db.execute("update mirrors set due_at = now() where token is null")).endswith("1"):
            await asyncio.sleep(0.02)
        while not await forge.db.fetchval("select due_at > now() and token is null from mirrors"):
            await asyncio.sleep(0.02)
    await forge.idle()


async def events(forge: Forge, type: str) -> list[dict[str, Any]]:
    rows = await forge.db.fetch("select actor, data from events where type = $1 order by position", type)
    return [{"actor": row["actor"], **row["data"]} for row in rows]


def crowd(repo_path: Path) -> None:
    """Commits that no packing makes small."""
    lines: list[bytes] = []
    for mark in range(1, 121):
        content = os.urandom(1 << 13).hex().encode()
        lines += [b"commit refs/heads/crowd", b"mark :%d" % mark, b"committer Al <al@example.org> 1700000000 +0000"]
        lines += [b"data 2", b"hi", b"M 644 inline f%d" % mark, b"data %d" % len(content), content]
    subprocess.run(["git", "fast-import", "--quiet"], cwd=repo_path, input=b"\n".join(lines), check=True)


class Slow:
    """The repository there, whose packs stop in their middle until they are let go."""

    def __init__(self, away: Away) -> None:
        self.away = away
        self.go = asyncio.Event()
        self.gone = asyncio.Event()

    async def serve(self, request: web.Request) -> web.StreamResponse:
        answer = await self.away.smart(request)
        body = answer.body if isinstance(answer, web.Response) else None
        if not isinstance(body, bytes) or len(body) < 1 << 20:
            return answer
        response = web.StreamResponse(headers={"Content-Type": answer.content_type})
        await response.prepare(request)
        await response.write(body[: len(body) // 2])
        closing = asyncio.create_task(self._until_gone(request))
        await self.go.wait()
        closing.cancel()
        await response.write(body[len(body) // 2 :])
        return response

    async def _until_gone(self, request: web.Request) -> None:
        while request.transport is not None and not request.transport.is_closing():
            await asyncio.sleep(0.02)
        self.gone.set()


@asynccontextmanager
async def half_way(alice: Client, away: Away, authority: Authority) -> AsyncIterator[tuple[str, Slow]]:
    """The task of a mirror of which half has come, and who serves the rest."""
    crowd(away.folder)
    slow = Slow(away)
    async with site(slow.serve, authority.serving) as url:
        task = (await new(alice, url, wait="0"))[1]["taskid"]
        async with asyncio.timeout(20):
            while (await alice.get(f"/v1/tasks/{task}"))[1]["stage"] != "receive":
                await asyncio.sleep(0.02)
        yield task, slow
        slow.go.set()
