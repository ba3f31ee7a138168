"""A forge in separate processes, which a test can stop, kill and start again."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import aiohttp
import orjson
from pydantic import SecretStr

from app.config import Settings
from app.database import Database, database
from app.ops import embedded, migrate
from tests.conftest import ADMIN_TOKEN, Client
from tests.processes import TIED


class Parts:
    """The processes `serve`, `relay` and `work` as an operator starts them; only the test restarts them."""

    def __init__(self, settings: Settings, session: aiohttp.ClientSession, db: Database) -> None:
        self.settings = settings
        self.db = db
        self.session = session
        self.url = settings.url
        self.admin = Client(self, ADMIN_TOKEN, "admin")  # type: ignore[arg-type]
        self.processes: list[subprocess.Popen[bytes]] = []

    def build_environment(self) -> dict[str, str]:
        """Build the environment by which a process of the forge finds its services."""
        settings = self.settings
        return {
            **os.environ,
            "POLYFORGE_DATA": str(settings.data),
            "POLYFORGE_DATABASE_URL": settings.required_database_url(),
            "POLYFORGE_REDIS_URL": settings.required_redis_url(),
            "POLYFORGE_PORT": str(settings.port),
            "POLYFORGE_API_PROCESSES": str(settings.api_processes),
            "POLYFORGE_LEASE": str(settings.lease),
            "POLYFORGE_WEBHOOK_ALLOW": orjson.dumps([str(net) for net in settings.webhook_allow]).decode(),
        }

    def start(self, name: str) -> subprocess.Popen[bytes]:
        # Each process has a log of its own, so that tests can tell who did what.
        with (self.settings.data.parent / f"{name}-{len(self.processes)}.log").open("wb") as output:
            process = subprocess.Popen(
                [*TIED, sys.executable, "-m", "app", name],
                env=self.build_environment(),
                stdout=output,
                stderr=output,
            )
        process.log = Path(output.name)  # type: ignore[attr-defined]
        self.processes.append(process)
        return process

    async def wait_until_ready(self) -> None:
        async def is_ready() -> bool:
            try:
                return (await self.admin.get("/readyz"))[0] == 200
            except aiohttp.ClientError:
                return False

        try:
            await wait_until(is_ready, 30)
        except TimeoutError:
            raise AssertionError([read_log(each)[-800:] for each in self.processes]) from None

    async def run_doctor(self) -> str:
        """Run `polyforge doctor`, which must find no problem, and return its output."""
        doctor = self.start("doctor")
        code = await asyncio.to_thread(doctor.wait, 30)
        output = read_log(doctor)
        assert code == 0, output
        return output


def read_log(process: subprocess.Popen[bytes]) -> str:
    output: str = process.log.read_text()  # type: ignore[attr-defined]
    return output


async def kill(process: subprocess.Popen[bytes]) -> None:
    """Kill a process with SIGKILL and wait until it has ended."""
    process.send_signal(signal.SIGKILL)
    await asyncio.to_thread(process.wait, 10)


async def wait_until(condition: Callable[[], Awaitable[bool]], seconds: float, pause: float = 0.05) -> None:
    async with asyncio.timeout(seconds):
        while not await condition():
            await asyncio.sleep(pause)


def build_settings(folder: Path, database_url: str, redis_url: str) -> Settings:
    """Build the settings of a forge with services of its own, whose leases are short."""
    return Settings(
        data=folder,
        database_url=database_url,
        redis_url=redis_url,
        port=embedded.free_port(),
        admin_token=SecretStr(ADMIN_TOKEN),
        lease=2.0,
    )


@asynccontextmanager
async def open_parts(settings: Settings) -> AsyncIterator[Parts]:
    """Yield a forge of which only database and queue run; end what the test has started."""
    # Logs and databases of the tests lie beside it: root hands over no directory with unknown files in it.
    settings = settings.model_copy(update={"data": settings.data / "forge"})
    async with AsyncExitStack() as stack:
        db = await stack.enter_async_context(database(settings.required_database_url(), 1))
        await migrate.create_first_admin(db, settings)
        session = await stack.enter_async_context(aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)))
        parts = Parts(settings, session, db)
        try:
            yield parts
        finally:
            for process in parts.processes:
                process.kill()
            for process in parts.processes:
                process.wait(10)
