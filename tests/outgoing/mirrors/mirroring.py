"""Helpers for tests of mirrors: create one, have it pulled, stop it half way."""

import asyncio
import os
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import web

from tests.conftest import Client, Forge
from tests.outgoing.conftest import Authority, Remote, run_site


async def create_mirror(client: Client, url: str, name: str = "mirror", **form: str) -> tuple[int, Any]:
    return await client.post("/new", name=name, description="d", mirrored_from=url, **form)


async def list_branches(client: Client, name: str = "mirror") -> dict[str, str]:
    form = {"params": {"with_commits": "1"}}
    return dict((await client.get(f"/api/0/{name}/git/branches", **form))[1]["branches"])


async def pull_again(forge: Forge) -> None:
    """Make the only mirror due, and wait until it has been pulled."""
    async with asyncio.timeout(20):
        while not (await forge.db.execute("update mirrors set due_at = now() where token is null")).endswith("1"):
            await asyncio.sleep(0.02)
        while not await forge.db.fetchval("select due_at > now() and token is null from mirrors"):
            await asyncio.sleep(0.02)
    await forge.idle()


async def list_events(forge: Forge, event_type: str) -> list[dict[str, Any]]:
    rows = await forge.db.fetch("select actor, data from events where type = $1 order by position", event_type)
    return [{"actor": row["actor"], **row["data"]} for row in rows]


def add_large_commits(repo_path: Path) -> None:
    """Add a branch of incompressible commits."""
    lines: list[bytes] = []
    for mark in range(1, 121):
        content = os.urandom(1 << 13).hex().encode()
        lines += [b"commit refs/heads/crowd", b"mark :%d" % mark, b"committer Al <al@example.org> 1700000000 +0000"]
        lines += [b"data 2", b"hi", b"M 644 inline f%d" % mark, b"data %d" % len(content), content]
    subprocess.run(["git", "fast-import", "--quiet"], cwd=repo_path, input=b"\n".join(lines), check=True)


class SlowRemote:
    """Serves a repository, but stops in the middle of a pack until `go` is set."""

    def __init__(self, remote: Remote) -> None:
        self.remote = remote
        self.go = asyncio.Event()
        self.gone = asyncio.Event()

    async def serve(self, request: web.Request) -> web.StreamResponse:
        answer = await self.remote.smart(request)
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
async def start_slow_mirror(
    alice: Client, remote: Remote, authority: Authority
) -> AsyncIterator[tuple[str, SlowRemote]]:
    """Create a mirror and yield, once half of it has arrived, its task and the server of the rest."""
    add_large_commits(remote.folder)
    slow = SlowRemote(remote)
    async with run_site(slow.serve, authority.serving) as url:
        task = (await create_mirror(alice, url, wait="0"))[1]["taskid"]
        async with asyncio.timeout(20):
            while (await alice.get(f"/v1/tasks/{task}"))[1]["stage"] != "receive":
                await asyncio.sleep(0.02)
        yield task, slow
        slow.go.set()
