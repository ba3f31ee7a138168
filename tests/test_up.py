"""`polyforge up`, as a newcomer starts it: real processes, killed without warning."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from app import embedded
from tests.conftest import commit, git

TOKEN = "a-token-for-this-test-alone"


class Running:
    """A forge in processes of its own."""

    def __init__(self, up: subprocess.Popen[bytes], url: str, session: aiohttp.ClientSession) -> None:
        self.up = up
        self.url = url
        self.session = session

    async def call(self, method: str, path: str, **form: Any) -> tuple[int, Any]:
        headers = {"Authorization": f"token {TOKEN}"}
        async with self.session.request(method, self.url + path, headers=headers, data=form or None) as answer:
            return answer.status, await answer.json(content_type=None)

    async def ready(self) -> None:
        async with asyncio.timeout(40):
            while True:
                try:
                    if (await self.call("GET", "/readyz"))[0] == 200:
                        return
                except aiohttp.ClientError:
                    assert self.up.poll() is None
                await asyncio.sleep(0.05)

    def part(self, name: str) -> int:
        """The process id of one part, such as `serve` or `bin/postgres`."""
        for entry in Path("/proc").iterdir():
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                command = (entry / "cmdline").read_bytes().split(b"\0")
            except (OSError, ValueError, IndexError):
                continue
            if parent == self.up.pid and any(word.split(b" ")[0].endswith(name.encode()) for word in command):
                return int(entry.name)
        raise AssertionError(name)

    async def kill(self, name: str) -> None:
        """SIGKILL the part and wait until `up` has put another in its place."""
        old = self.part(name)
        os.kill(old, signal.SIGKILL)
        async with asyncio.timeout(20):
            while True:
                try:
                    if self.part(name) != old:
                        break
                except AssertionError:
                    pass
                await asyncio.sleep(0.05)
        await self.ready()


@asynccontextmanager
async def started(data: Path) -> AsyncIterator[Running]:
    port = embedded.free_port()
    arguments = [sys.executable, "-m", "app", "up", "--data", str(data), "--port", str(port), "--admin-token", TOKEN]
    up = subprocess.Popen(
        arguments, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env={**os.environ, "POLYFORGE_LEASE": "2"}
    )
    async with aiohttp.ClientSession() as session:
        running = Running(up, f"http://127.0.0.1:{port}", session)
        try:
            await running.ready()
            yield running
        finally:
            up.send_signal(signal.SIGINT)
            output, _ = await asyncio.to_thread(up.communicate, timeout=40)
    assert up.returncode == 0
    assert TOKEN in output.decode()


async def test_its_database_and_its_queue_are_started_again_where_they_were(tmp_path: Path) -> None:
    async with started(tmp_path / "var") as forge:
        parts = [forge.part(name) for name in ("serve", "relay", "work")]
        for n, part in enumerate(("valkey-server", "bin/postgres", "valkey-server")):
            assert (await forge.call("POST", "/api/0/new", name=f"p{n}", description="d", wait="0"))[0] == 200
            await forge.kill(part)
            assert (await forge.call("POST", "/api/0/new", name=f"q{n}", description="d"))[0] == 200
        assert (await forge.call("GET", "/api/0/projects"))[1]["total_projects"] == 6
        created, after = 0, 0
        while created < 6:
            _, feed = await forge.call("GET", f"/v1/events?types=repository.created&wait=20&after={after}")
            assert feed["events"]
            created, after = created + len(feed["events"]), feed["next"]
        assert [forge.part(name) for name in ("serve", "relay", "work")] == parts


async def test_what_was_acknowledged_survives_kills_and_a_restart(tmp_path: Path) -> None:
    data, work = tmp_path / "var", tmp_path / "work"
    async with started(data) as forge:
        assert (await forge.call("POST", "/api/0/new", name="nethack", description="d", create_readme="1"))[0] == 200
        await forge.kill("work")
        _, queued = await forge.call("POST", "/api/0/fork", repo="nethack", wait="0")
        for part in ("work", "relay"):
            await forge.kill(part)
        status, task = await forge.call("GET", f"/v1/tasks/{queued['taskid']}?wait=50")
        assert (status, task["status"]) == (200, "succeeded")

        await git("clone", "-q", f"{forge.url}/nethack.git", str(work))
        head = await commit(work)
        await git("push", "-q", forge.url.replace("//", f"//admin:{TOKEN}@") + "/nethack.git", "HEAD:main", cwd=work)
        async with forge.session.get(forge.url + "/metrics") as answer:
            measured = await answer.text()
        assert 'polyforge_job_duration_seconds_count{outcome="done",reaction="create-repository"}' in measured
        assert "polyforge_relay_leaderships_total" in measured
        assert (await forge.call("POST", "/api/0/nethack/new_issue", title="t", issue_content="c"))[0] == 200
        await forge.kill("serve")

    async with started(data) as forge:
        _, branches = await forge.call("GET", "/api/0/nethack/git/branches?with_commits=1")
        assert branches["branches"] == {"main": head}
        assert (await forge.call("GET", "/api/0/nethack/issue/1"))[1]["title"] == "t"
        assert (await forge.call("GET", "/api/0/projects"))[1]["total_projects"] == 2
        looked = await asyncio.create_subprocess_exec(sys.executable, "-m", "app", "doctor", "--data", str(data))
        assert await looked.wait() == 0
