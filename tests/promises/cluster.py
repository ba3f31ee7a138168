"""A forge with two processes of each kind, which tests stop at named points, kill, and cut off from its services."""

import asyncio
import os
import select
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import orjson
import pygit2
from pydantic import SecretStr

from app import points
from app.config import Settings
from app.database import DB_ERRORS, database
from app.ops import embedded, migrate
from app.stores.sealed import open_keyring
from tests.conftest import ADMIN_TOKEN, Client, own_folder
from tests.processes import TIED, restart_service, start_service
from tests.promises.parts import Parts, wait_until

ROLES = ("serve", "serve", "relay", "relay", "work", "work")
LEASE = 0.8  # seconds
FROZEN = 1.5 * LEASE  # seconds that a process is stopped, so that its lease is over
# Without these a test waits for pauses that say nothing about what is lost.
CONSTANTS = {
    "workers.relay.LEASE_SECONDS": 1.0,
    "workers.relay.TIDY_INTERVAL": 1.0,
    "workers.slots.POLL_INTERVAL": 0.2,
    "workers.delivery.POLL_INTERVAL": 0.2,
    "workers.delivery.SCHEDULE": (0.2,) * 10,
    "workers.delivery.OPEN_SECONDS": 0.2,
    "app.core.pushes.RECOVERY_INTERVAL": 0.3,
    "app.server.SWEEP_INTERVAL": 0.5,
}


class Forked:
    """A process of the forge that the fork server has started; it looks like a Popen."""

    def __init__(self, name: str, pid: int, log: Path) -> None:
        self.name = name
        self.pid = pid
        self.log = log
        self._descriptor = os.pidfd_open(pid)

    def poll(self) -> int | None:
        return -1 if self._has_ended(0) else None

    def wait(self, seconds: float) -> int:
        if not self._has_ended(seconds):
            raise subprocess.TimeoutExpired(self.name, seconds)
        return -1

    def send_signal(self, number: int) -> None:
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._descriptor, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def _has_ended(self, seconds: float) -> bool:
        return bool(select.select([self._descriptor], [], [], seconds)[0])


class Cluster(Parts):
    """The processes of a forge, its services, and the folder through which a process is told where to stop."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.points = self.settings.data / "points"
        self.points.mkdir()
        self.postgres: embedded.Service
        self.valkey: embedded.Service
        self._server = subprocess.Popen(
            [*TIED, sys.executable, "-m", "tests.promises.fork_server"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self._started = 0

    def start(self, name: str) -> Any:
        server = self._server
        assert server.stdin is not None
        assert server.stdout is not None
        self._started += 1
        log = self.settings.data / f"{name}-{self._started}.log"
        environment = {**self.build_environment(), points.VARIABLE: str(self.points)}
        command = {"name": name, "log": str(log), "environment": environment, "constants": CONSTANTS}
        server.stdin.write(orjson.dumps(command) + b"\n")
        server.stdin.flush()
        process: Any = Forked(name, int(server.stdout.readline()), log)
        self.processes.append(process)
        return process

    def close(self) -> None:
        """End the fork server, and with it all that it has started."""
        self._server.kill()
        self._server.communicate()

    async def stand_up(self) -> None:
        """Bring everything to life again: what is stopped goes on, and what has ended starts anew."""
        for armed in self.points.iterdir():
            armed.unlink()
        for process in self.processes:
            process.send_signal(signal.SIGCONT)
        for service in (self.postgres, self.valkey):
            if service.process.poll() is not None:
                await restart_service(service)
        await self.replace_ended()

    async def replace_ended(self) -> None:
        """Start a process for each one that has ended."""
        alive = [process for process in self.processes if process.poll() is None]
        missing = list(ROLES)
        for process in alive:
            missing.remove(process.name)  # type: ignore[attr-defined]
        self.processes[:] = alive
        for name in missing:
            self.start(name)

    def find_process(self, pid: int) -> Any:
        """Find the process of the forge that this one is, or that has started it."""
        known: dict[int, Any] = {process.pid: process for process in self.processes}
        while pid not in known:
            pid = int(read_stat(pid)[1])
        return known[pid]

    def list_leftovers(self) -> list[str]:
        """List lock files, quarantines and unfinished files in all repositories."""
        root = self.settings.repositories
        patterns = ("*/*.git/*.lock", "*/*.git/refs/**/*.lock", "*/*.git/objects/tmp_*", "*/*.git/objects/pack/tmp_*",
                    "*/.*.git.*")  # fmt: skip
        return [str(path.relative_to(root)) for pattern in patterns for path in root.glob(pattern)]

    async def create_user(self, name: str) -> Client:
        """Create a user with a token."""
        await self.admin.json("POST", "/v1/users", {"username": name, "email": f"{name}@example.org"})
        status, issued = await self.admin.json("POST", f"/v1/users/{name}/tokens", {"description": "test"})
        assert status == 201, issued
        return Client(self, issued["token"], name)  # type: ignore[arg-type]

    async def query(self, sql: str, *arguments: Any) -> Any:
        """Fetch a value, whatever has happened to the database."""
        async with asyncio.timeout(20):
            while True:
                try:
                    return await self.db.fetchval(sql, *arguments)
                except DB_ERRORS as error:
                    if isinstance(error, asyncpg.SyntaxOrAccessError):
                        raise
                    await asyncio.sleep(0.02)

    async def wait_until_settled(self) -> None:
        """Wait until every event has its number, all work and all deliveries are done, and no push is open."""

        async def is_settled() -> bool:
            return bool(
                await self.query(
                    """
                    select not exists (select 1 from unnumbered) and not exists (select 1 from open_pushes)
                       and not exists (select 1 from work where done_at is null)
                       and not exists (select 1 from deliveries where status = 'waiting')
                    """
                )
            )

        await wait_until(is_settled, 30, 0.03)


def read_stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat after the name: state, parent and so on."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()


@asynccontextmanager
async def run_cluster() -> AsyncIterator[Cluster]:
    """Run a forge with a database and a queue of its own."""
    async with AsyncExitStack() as stack:
        data = stack.enter_context(own_folder())
        # Root's forge runs as a system user, to whom its repositories belong, and they are looked at from here.
        pygit2.settings.owner_validation = False
        stack.callback(setattr, pygit2.settings, "owner_validation", True)
        # What a killed process has given to the operating system is safe; this is not about power cuts.
        postgres = await start_service(partial(embedded.start_postgres, fsync="off"), data / "postgres")
        stack.callback(lambda: postgres.stop())
        valkey = await start_service(embedded.start_valkey, data / "valkey")
        stack.callback(lambda: valkey.stop())
        await migrate.migrate(postgres.url)
        settings = Settings(
            data=data / "forge",
            database_url=postgres.url,
            redis_url=valkey.url,
            port=embedded.free_port(),
            api_processes=2,
            admin_token=SecretStr(ADMIN_TOKEN),
            lease=LEASE,
            webhook_allow=["127.0.0.0/8"],
        )
        settings.data.mkdir()
        keyring = open_keyring(settings)
        keyring.create()
        db = await stack.enter_async_context(database(postgres.url, 2, keyring))
        await migrate.create_first_admin(db, settings)
        session = await stack.enter_async_context(aiohttp.ClientSession())
        cluster = Cluster(settings, session, db)
        stack.callback(cluster.close)
        cluster.postgres, cluster.valkey = postgres, valkey
        await cluster.replace_ended()
        await cluster.wait_until_ready()
        yield cluster
