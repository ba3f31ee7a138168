"""`polyforge up` with real processes, which are killed without warning."""

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
import pytest
from cryptography.fernet import Fernet

from app.ops import embedded
from tests.cli.command import start_command
from tests.conftest import commit, git
from tests.processes import TIED

pytestmark = pytest.mark.slow

TOKEN = "a-token-for-this-test-alone"


class Running:
    """A forge started by `polyforge up`."""

    def __init__(self, up: subprocess.Popen[bytes], url: str, session: aiohttp.ClientSession) -> None:
        self.up = up
        self.url = url
        self.session = session

    async def call(self, method: str, path: str, **form: Any) -> tuple[int, Any]:
        headers = {"Authorization": f"token {TOKEN}"}
        async with self.session.request(method, self.url + path, headers=headers, data=form or None) as answer:
            return answer.status, await answer.json(content_type=None)

    async def read_metrics(self) -> str:
        async with self.session.get(self.url + "/metrics", headers={"Authorization": f"token {TOKEN}"}) as answer:
            return await answer.text()

    async def wait_until_ready(self) -> None:
        async with asyncio.timeout(40):
            while True:
                try:
                    if (await self.call("GET", "/readyz"))[0] == 200:
                        return
                except aiohttp.ClientError:
                    assert self.up.poll() is None
                await asyncio.sleep(0.05)

    def find_process(self, name: str) -> int:
        """Return the process id of a child of `up`, such as `serve` or `bin/postgres`."""
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
        """Send SIGKILL to a process and wait until `up` has replaced it."""
        old = self.find_process(name)
        os.kill(old, signal.SIGKILL)
        async with asyncio.timeout(20):
            while True:
                try:
                    if self.find_process(name) != old:
                        break
                except AssertionError:
                    pass
                await asyncio.sleep(0.05)
        await self.wait_until_ready()


def start(data: Path, port: int, stderr: int = subprocess.DEVNULL) -> "subprocess.Popen[bytes]":
    """Start the forge in a folder that holds another project's package `app`, which its processes must not import."""
    folder = data.parent / "another-project"
    (folder / "app").mkdir(parents=True, exist_ok=True)
    (folder / "app/__init__.py").write_text("raise SystemExit('another project')")
    program = Path(sys.executable).with_name("polyforge")
    arguments = [*TIED, str(program), "up", "--data", str(data), "--port", str(port)]
    environment = {**os.environ, "POLYFORGE_LEASE": "2", "POLYFORGE_ADMIN_TOKEN": TOKEN}
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=stderr, env=environment, cwd=folder)


def read_until_ready(up: "subprocess.Popen[bytes]") -> str:
    """Read what `up` prints, to the line by which it says that the forge is ready."""
    assert up.stdout is not None
    printed = ""
    while "is ready" not in printed:
        line = os.read(up.stdout.fileno(), 1 << 16).decode(errors="replace")
        assert line, printed
        printed += line
    return printed


@asynccontextmanager
async def run_up(data: Path, port: int | None = None) -> AsyncIterator[Running]:
    port = port or embedded.free_port()
    up = start(data, port)
    async with aiohttp.ClientSession() as session:
        running = Running(up, f"http://127.0.0.1:{port}", session)
        ready = ""
        try:
            await running.wait_until_ready()
            ready = await asyncio.wait_for(asyncio.to_thread(read_until_ready, up), 40)
            yield running
        finally:
            up.send_signal(signal.SIGINT)
            output, _ = await asyncio.to_thread(up.communicate, timeout=40)
    assert up.returncode == 0
    assert TOKEN not in ready + output.decode()


async def test_database_and_queue_are_restarted_at_the_same_address(tmp_path: Path) -> None:
    async with run_up(tmp_path / "var") as forge:
        parts = [forge.find_process(name) for name in ("serve", "relay", "work")]
        for index, part in enumerate(("valkey-server", "bin/postgres", "valkey-server")):
            assert (await forge.call("POST", "/api/0/new", name=f"p{index}", description="d", wait="0"))[0] == 200
            await forge.kill(part)
            assert (await forge.call("POST", "/api/0/new", name=f"q{index}", description="d"))[0] == 200
        assert (await forge.call("GET", "/api/0/projects"))[1]["total_projects"] == 6
        created, after = 0, 0
        while created < 6:
            _, feed = await forge.call("GET", f"/v1/events?types=repository.created&wait=20&after={after}")
            assert feed["events"]
            created, after = created + len(feed["events"]), feed["next"]
        assert [forge.find_process(name) for name in ("serve", "relay", "work")] == parts


async def test_acknowledged_changes_survive_kills_and_a_restart(tmp_path: Path) -> None:
    data, work = tmp_path / "var", tmp_path / "work"
    async with run_up(data) as forge:
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
        metrics = await forge.read_metrics()
        assert 'polyforge_job_duration_seconds_count{outcome="done",reaction="create-repository"}' in metrics
        assert "polyforge_relay_leaderships_total" in metrics
        assert (await forge.call("POST", "/api/0/nethack/new_issue", title="t", issue_content="c"))[0] == 200
        await forge.kill("serve")

    async with run_up(data) as forge:
        _, branches = await forge.call("GET", "/api/0/nethack/git/branches?with_commits=1")
        assert branches["branches"] == {"main": head}
        assert (await forge.call("GET", "/api/0/nethack/issue/1"))[1]["title"] == "t"
        assert (await forge.call("GET", "/api/0/projects"))[1]["total_projects"] == 2
        doctor = await asyncio.create_subprocess_exec(*TIED, sys.executable, "-m", "app", "doctor", "--data", str(data))
        assert await doctor.wait() == 0


async def test_the_operators_environment_does_not_reach_the_embedded_services(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trace = tmp_path / "trace"  # where the dynamic linker writes a file for each process that gets LD_DEBUG
    trace.mkdir()
    trace.chmod(0o777)
    foreign = {
        "PGSSLMODE": "verify-full", "PGTARGETSESSIONATTRS": "standby", "PGSERVICE": "elsewhere", "PGPORT": "1",
        "PGDATA": "/nowhere", "PGOPTIONS": "-c default_transaction_read_only=on", "PGUSER": "rodney",
        "LD_DEBUG": "statistics", "LD_DEBUG_OUTPUT": str(trace / "process"), "LC_ALL": "no_WHERE", "TZ": "Asia/Tokyo",
        "POLYFORGE_SECRETS_KEYS": Fernet.generate_key().decode(),
    }  # fmt: skip
    for name, value in foreign.items():
        monkeypatch.setenv(name, value)
    async with run_up(tmp_path / "var") as forge:
        assert (await forge.call("POST", "/api/0/new", name="nethack", description="d"))[0] == 200
        environment = Path(f"/proc/{forge.find_process('bin/postgres')}/environ").read_text().split("\0")[:-1]
        assert environment == [f"{name}={value}" for name, value in embedded.ENVIRONMENT.items()]
        traced = {int(path.suffix[1:]) for path in trace.iterdir()}
        assert forge.find_process("serve") in traced
        assert not traced & {forge.find_process("bin/postgres"), forge.find_process("valkey-server")}
        doctor = [*TIED, sys.executable, "-m", "app", "doctor", "--data", str(tmp_path / "var")]
        assert await (await asyncio.create_subprocess_exec(*doctor)).wait() == 0


async def test_another_process_beside_up_listens_on_the_port_that_it_was_given(tmp_path: Path) -> None:
    port = embedded.free_port()
    async with run_up(tmp_path / "var"):
        arguments = ("serve", "--data", str(tmp_path / "var"), "--port", str(port))
        async with start_command(*arguments) as command:
            while '"listening"' not in (line := await command.read_error()):
                assert line
            assert f'"address":"http://127.0.0.1:{port}"' in line


async def wait_until_gone(pids: list[int]) -> None:
    """Wait until all of these processes are gone."""
    async with asyncio.timeout(30):
        while any(Path(f"/proc/{pid}/exe").exists() for pid in pids):
            await asyncio.sleep(0.05)


async def test_a_killed_up_leaves_no_processes_behind_and_can_be_started_again(tmp_path: Path) -> None:
    data, port = tmp_path / "var", embedded.free_port()
    killed = start(data, port)
    async with aiohttp.ClientSession() as session:
        forge = Running(killed, f"http://127.0.0.1:{port}", session)
        await forge.wait_until_ready()
        assert (await forge.call("POST", "/api/0/new", name="nethack", description="d"))[0] == 200
        parts = [forge.find_process(name) for name in ("serve", "relay", "work", "bin/postgres", "valkey-server")]
        killed.send_signal(signal.SIGKILL)
        await asyncio.to_thread(killed.communicate)
        async with run_up(data, port) as again:
            assert (await again.call("GET", "/api/0/nethack"))[0] == 200
            await wait_until_gone(parts)


async def test_a_second_up_with_the_same_directory_is_refused_and_does_no_harm(tmp_path: Path) -> None:
    data = tmp_path / "var"
    async with run_up(data) as forge:
        for port in (embedded.free_port(), int(forge.url.rpartition(":")[2])):
            second = start(data, port, stderr=subprocess.PIPE)
            _, errors = await asyncio.to_thread(second.communicate, timeout=20)
            assert (second.returncode, f"process {forge.up.pid}, {forge.url}" in errors.decode()) == (1, True)
        assert (data / "services.json").exists()
        assert (await forge.call("POST", "/api/0/new", name="nethack", description="d"))[0] == 200


async def test_waiting_requests_are_answered_before_the_forge_stops(tmp_path: Path) -> None:
    async with run_up(tmp_path / "var") as forge:
        _, feed = await forge.call("GET", "/v1/events")
        waiting = asyncio.create_task(forge.call("GET", f"/v1/events?after={feed['head']}&wait=50"))
        async with asyncio.timeout(20):
            while "polyforge_waiting_requests 1.0" not in await forge.read_metrics():
                await asyncio.sleep(0.05)
        forge.up.send_signal(signal.SIGINT)
        status, answer = await asyncio.wait_for(waiting, 10)
        assert (status, answer["events"], answer["next"]) == (200, [], feed["head"])
