"""`up`: one process that starts all the others and restarts whichever dies."""

import asyncio
import fcntl
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import IO, Any

import orjson
import uvloop

from app.config import Settings
from app.database import database
from app.git.process import tie_to_parent
from app.logs import configure, log
from app.metrics import SHARED, remove_process
from app.ops import embedded, migrate

STOP_TIMEOUT = 15.0  # seconds for a child to stop by itself
RESTART_PAUSE = 1.0  # seconds between two starts of a part
JOIN = "services.json"
LOCK = "up.lock"


async def wait_for_signal(*jobs: "asyncio.Task[None]") -> None:
    """Until SIGINT or SIGTERM, or until one of the jobs ends by itself."""
    told = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, told.set)
    waiting = asyncio.create_task(told.wait())
    done, _ = await asyncio.wait([waiting, *jobs], return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    for job in done - {waiting}:
        job.result()


def settings_for(data: Path | None = None, **given: Any) -> Settings:
    """The settings; a running `up` over the same directory lends its services to the other commands."""
    settings = Settings.of(data=data, **given)
    return settings if settings.database_url else Up.joined(settings)


class Up:
    """The forge on one machine."""

    def __init__(self, settings: Settings, api_processes: int, workers: int) -> None:
        self.settings = settings
        self.wanted = ["serve"] * api_processes + ["relay"] + ["work"] * workers
        self.services: list[embedded.Service] = []
        self.lock: IO[str] | None = None
        self.restart_at: dict[int, float] = {}  # a part that ends at once is not started again at once
        self.children: list[tuple[str, subprocess.Popen[bytes]]] = []
        self.stopping = False

    @staticmethod
    def joined(settings: Settings) -> Settings:
        """The settings with the URLs of a running `up` over the same data, if there is one."""
        path = settings.data / JOIN
        return settings.model_copy(update=orjson.loads(path.read_bytes())) if path.exists() else settings

    def run(self) -> int:
        level = self.settings.log_level
        configure("warning" if level == "info" else level)  # what goes well is told in words, not in lines of a log
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._stop)
        started = time.monotonic()
        try:
            self._take_directory()
            self._require_free_port()
            self._start_services()
            token = uvloop.run(self._prepare())
            for name in self.wanted:
                self.children.append((name, self._spawn(name)))
            if self._ready():
                self._welcome(token, time.monotonic() - started)
            self._watch()
        except embedded.ServiceError as failed:
            sys.stderr.write(f"{failed}\n")
            return 1
        finally:
            if self.lock is not None:
                self._shut_down()
        return 0

    def _take_directory(self) -> None:
        """One forge over one directory: a second one would end the first one's database."""
        self.settings.data.mkdir(parents=True, exist_ok=True)
        lock = (self.settings.data / LOCK).open("a+")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.seek(0)
            raise embedded.ServiceError(f"A forge runs over {self.settings.data} already: {lock.read()}") from None
        lock.truncate(0)
        lock.write(f"process {os.getpid()}, {self.settings.url}")
        lock.flush()
        self.lock = lock

    def _require_free_port(self) -> None:
        """API processes share the port among themselves, so they would not notice another program on it.

        The parts of a forge that was killed are ending at this moment, and are given the time.
        """
        deadline = time.monotonic() + STOP_TIMEOUT
        while not self._port_is_free():
            if not (self.settings.data / JOIN).exists() or time.monotonic() > deadline:
                raise embedded.ServiceError(f"Port {self.settings.port} is taken; choose another with --port.")
            time.sleep(0.2)

    def _port_is_free(self) -> bool:
        try:
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind((self.settings.host, self.settings.port))
        except OSError:
            return False
        return True

    def _start_services(self) -> None:
        data = self.settings.data
        data.mkdir(parents=True, exist_ok=True)
        found: dict[str, str] = {}
        if not self.settings.database_url:
            if os.geteuid() == 0:
                sys.stderr.write(
                    f"As root, PostgreSQL runs as the system user {embedded.SYSTEM_USER}, which is made if needed "
                    "and may enter the folders above its data.\n"
                )
            self.services.append(embedded.postgres(data, ends_with_us=True))
            found["database_url"] = self.services[-1].url
        if not self.settings.redis_url:
            self.services.append(embedded.valkey(data, ends_with_us=True))
            found["redis_url"] = self.services[-1].url
        self.settings = self.settings.model_copy(update=found)
        shutil.rmtree(self._metrics, ignore_errors=True)
        self._metrics.mkdir()
        # Other commands over the same data find the services here; it holds their passwords.
        (data / JOIN).unlink(missing_ok=True)
        with open(os.open(data / JOIN, os.O_CREAT | os.O_WRONLY, 0o600), "wb") as file:
            file.write(orjson.dumps({**found, "port": self.settings.port}))

    @property
    def _metrics(self) -> Path:
        return self.settings.data.resolve() / "metrics"

    async def _prepare(self) -> str | None:
        url = self.settings.required_database_url()
        await migrate.migrate(url)
        given = self.settings.admin_token.get_secret_value() if self.settings.admin_token else None
        async with database(url, 2) as db:
            return await migrate.first_admin(db, self.settings) or given

    def _environment(self) -> dict[str, str]:
        settings = self.settings
        return {
            **os.environ,
            "POLYFORGE_DATA": str(settings.data.resolve()),
            "POLYFORGE_DATABASE_URL": settings.required_database_url(),
            "POLYFORGE_REDIS_URL": settings.required_redis_url(),
            "POLYFORGE_PORT": str(settings.port),
            SHARED: str(self._metrics),
        }

    def _spawn(self, name: str) -> subprocess.Popen[bytes]:
        with (self.settings.data / "forge.log").open("ab") as output:
            return subprocess.Popen(
                [*tie_to_parent("TERM"), sys.executable, "-m", "app", name],
                env=self._environment(),
                stdout=output,
                stderr=output,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )

    def _ready(self) -> bool:
        url = f"http://{self.settings.host}:{self.settings.port}/readyz"
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline and not self.stopping:
            try:
                with urllib.request.urlopen(url, timeout=2) as answer:
                    if answer.status == 200:
                        return True
            except OSError:
                time.sleep(0.05)
            if any(child.poll() is not None for _, child in self.children):
                raise embedded.ServiceError(
                    f"A part of the forge ended at once; see {self.settings.data / 'forge.log'}"
                )
        return False

    def _watch(self) -> None:
        while not self.stopping:
            for n, (name, child) in enumerate(self.children):
                if child.poll() is not None and not self.stopping and time.monotonic() > self.restart_at.get(n, 0):
                    log.warning("restarting", part=name, code=child.returncode)
                    remove_process(child.pid, str(self._metrics))
                    self.children[n] = (name, self._spawn(name))
                    self.restart_at[n] = time.monotonic() + RESTART_PAUSE
            for n, service in enumerate(self.services):
                code = service.process.poll()
                if code is not None and not self.stopping:
                    log.warning("restarting", part=service.name, code=code)
                    self.services[n] = service.again()
            time.sleep(0.2)

    def _stop(self, *_: object) -> None:
        self.stopping = True

    def _shut_down(self) -> None:
        if self.children:
            sys.stdout.write("Stopping…\n")
            sys.stdout.flush()
        for _, child in self.children:
            if child.poll() is None:
                child.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + STOP_TIMEOUT
        for _, child in self.children:
            try:
                child.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
        for service in reversed(self.services):
            service.stop()
        (self.settings.data / JOIN).unlink(missing_ok=True)

    def _welcome(self, token: str | None, seconds: float) -> None:
        url, user = self.settings.url, self.settings.admin_user
        shown = token or "$TOKEN"
        command = Path(sys.argv[0])
        program = os.path.relpath(command) if command.name == "polyforge" else "polyforge"
        host = url.partition("://")[2]
        known = f"The token of {user} was shown at the first start; `{program} token add {user}` makes another."
        sys.stdout.write(
            f"""Polyforge is ready at {url} ({seconds:.1f} s). Logs: {Path(self.settings.data) / "forge.log"}
{f"The token of {user}: {token}" if token else known}

  # create a project (the reply names its task), watch that task, push to the project, list it
  curl -H "Authorization: token {shown}" -d name=hello -d description=Hello -d wait=False {url}/api/0/new
  curl -H "Authorization: token {shown}" "{url}/v1/tasks/PUT-THE-TASKID-HERE?wait=30"
  git push http://{user}:{shown}@{host}/hello.git HEAD:main
  curl "{url}/api/0/projects?per_page=20"

Ctrl-C stops everything.
"""
        )
        sys.stdout.flush()
