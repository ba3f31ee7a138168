"""The servers of a test run end with it, even if it is killed."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from tests.processes import TIED

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent
TEST = """
import os, sys, time
from pathlib import Path

from app.ops import embedded
from tests.ops.test_up import start
from tests.processes import start_service
from tests.promises.parts import open_parts


async def test_that_is_interrupted(own_settings, tmp_path):
    await start_service(embedded.start_valkey, tmp_path / "queue")
    up = start(tmp_path / "var", embedded.free_port())
    assert b"is ready" in up.stdout.readline()
    async with open_parts(own_settings) as parts:
        parts.start("relay")
        Path({sign!r}).touch()
        time.sleep(100)
"""
SERVERS = {"postgres", "valkey-server", "up", "serve", "relay", "work"}


def list_descendants(pid: int) -> dict[int, list[str]]:
    """Return the arguments of a process's children, their children and so on."""
    parents, arguments = {}, {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            arguments[int(entry.name)] = (entry / "cmdline").read_bytes().decode().split("\0")
        except (OSError, IndexError):
            continue
    found, layer = {}, {pid}
    while layer := {child for child, parent in parents.items() if parent in layer}:
        found |= {child: arguments[child] for child in layer if child in arguments}
    return found


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize("workers", ["0", "1"])
async def test_no_server_outlives_the_run(number: signal.Signals, workers: str, tmp_path: Path) -> None:
    sign, test = tmp_path / "started", tmp_path / "test_interrupted.py"
    test.write_text(TEST.format(sign=str(sign)))
    command = [*TIED, sys.executable, "-m", "pytest", "-n", workers, "-p", "tests.conftest", "-c", "pyproject.toml"]
    run = await asyncio.create_subprocess_exec(
        *command, str(test), cwd=ROOT, stdout=asyncio.subprocess.DEVNULL, env={**os.environ, "PYTEST_XDIST_WORKER": ""}
    )
    async with asyncio.timeout(90):
        while not sign.exists():
            assert run.returncode is None
            await asyncio.sleep(0.1)
    servers = list_descendants(run.pid)
    names = {Path(word.split(" ")[0]).name for words in servers.values() for word in words}
    assert names >= SERVERS
    run.send_signal(number)
    async with asyncio.timeout(30):
        await run.wait()
        while alive := [pid for pid in servers if Path(f"/proc/{pid}/exe").exists()]:
            assert alive
            await asyncio.sleep(0.1)
