"""`polyforge up`: starts all processes of the forge and restarts those that end."""

import asyncio
import fcntl
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import orjson
import uvloop
from redis.exceptions import RedisError

from app.config import SettingError, Settings
from app.database import database
from app.disk import durable
from app.disk.folders import make_folders
from app.git.process import tie_to_parent
from app.logs import configure, log
from app.metrics import SHARED_DIRECTORY, remove_process
from app.ops import embedded, listening, migrate, roles
from app.ops.doctor import require_queue
from app.ops.file_limit import raise_file_limit
from app.stores.sealed import open_keyring

STOP_TIMEOUT = 15.0  # seconds for a child to stop before it is killed
READY_TIMEOUT = 30.0  # seconds
RESTART_PAUSE = 1.0  # seconds between two starts of a process
SERVICES_FILE = "services.json"
LOCK_FILE = "up.lock"
ROLE_PASSWORD = "postgres-role.password"  # noqa: S105 - the name of a file


async def wait_for_signal(*jobs: "asyncio.Task[None]") -> None:
    """Wait for SIGINT or SIGTERM, or until one of the jobs ends; raise its error if it failed."""
    signalled = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, signalled.set)
    waiting = asyncio.create_task(signalled.wait())
    done, _ = await asyncio.wait([waiting, *jobs], return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    for job in done - {waiting}:
        job.result()


def load_settings(data: Path | None = None, **options: Any) -> Settings:
    """Load the settings; without a database URL, use the services of a running `up` with the same directory.

    The options, such as a port, take precedence over what `up` uses.
    """
    settings = Settings.of(data=data, **options)
    if settings.database_url:
        return settings
    given = {name: value for name, value in options.items() if value is not None}
    return Up.add_services(settings).model_copy(update=given)


class Up:
    """Supervises the forge on one machine."""

    def __init__(self, settings: Settings, workers: int) -> None:
        self.settings = settings
        self.names = ["serve"] * settings.api_processes + ["relay"] + ["work"] * workers
        self.services: list[embedded.Service] = []
        self.lock: IO[str] | None = None
        self.restart_at: dict[int, float] = {}  # delays the restart of a process that ends immediately
        self.children: list[tuple[str, subprocess.Popen[bytes]]] = []
        self.stopping = False

    @staticmethod
    def add_services(settings: Settings) -> Settings:
        """Add the URLs of a running `up` with the same data directory, if there is one."""
        path = settings.data / SERVICES_FILE
        if not path.exists():
            return settings
        embedded.forget_other_servers()
        return settings.model_copy(update=orjson.loads(path.read_bytes()))

    def run(self) -> int:
        level = self.settings.log_level
        # Normal operation is reported by the banner, not by log lines.
        configure("warning" if level == "info" else level)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._stop)
        started = time.monotonic()
        raise_file_limit()
        try:
            self._lock_directory()
            self._require_free_port()
            self._start_services()
            token = uvloop.run(self._prepare())
            for name in self.names:
                self.children.append((name, self._spawn(name)))
            if self._wait_until_ready():
                self._print_banner(token, time.monotonic() - started)
            self._watch()
        except embedded.ServiceError as error:
            sys.stderr.write(f"Error: {error}\n")
            return 1
        finally:
            if self.lock is not None:
                self._shut_down()
        return 0

    def _lock_directory(self) -> None:
        """Lock the data directory: a second `up` would stop the database of the first one."""
        durable.make_folders(self.settings.data)
        lock = (self.settings.data / LOCK_FILE).open("a+")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.seek(0)
            owner = lock.read()
            raise embedded.ServiceError(f"{self.settings.data} is in use by another `polyforge up`: {owner}.") from None
        lock.truncate(0)
        lock.write(f"process {os.getpid()}, {self.settings.url}")
        lock.flush()
        self.lock = lock

    def _require_free_port(self) -> None:
        """Raise ServiceError if another program uses the port, and SettingError if it can never be listened on.

        The API processes would not notice, since they share the port (SO_REUSEPORT). If a killed `up` has left its file
        behind, its processes may be ending at this moment and are waited for.
        """
        deadline = time.monotonic() + STOP_TIMEOUT
        while True:
            try:
                self._try_port()
            except listening.ERRORS as error:
                refused = listening.build_error(error, self.settings)
                may_end = (self.settings.data / SERVICES_FILE).exists() and time.monotonic() < deadline
                if isinstance(refused, SettingError) or not may_end:
                    raise refused from None
            else:
                return
            time.sleep(0.2)

    def _try_port(self) -> None:
        """Listen on the port for a moment. Raises OSError or UnicodeError."""
        addresses = socket.getaddrinfo(self.settings.host, self.settings.port, type=socket.SOCK_STREAM)
        for family, *_, address in addresses:
            with socket.socket(family) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(address)

    def _start_services(self) -> None:
        data = self.settings.data
        urls: dict[str, str] = {}
        if not self.settings.database_url:
            embedded.forget_other_servers()
            self.services.append(embedded.start_postgres(data, tied_to_parent=True))
            urls["database_url"] = self.services[-1].url
        if not self.settings.redis_url:
            self.services.append(embedded.start_valkey(data, tied_to_parent=True))
            urls["redis_url"] = self.services[-1].url
        self.settings = self.settings.model_copy(update=urls)
        if "database_url" in urls:
            urls["database_url"] = uvloop.run(self._prepare_database(urls["database_url"]))
            self.settings = self.settings.model_copy(update=urls)
        shutil.rmtree(self._metrics, ignore_errors=True)
        self._metrics.mkdir(mode=durable.OWNER_ONLY)
        # Tells other commands with the same data directory where the services are. Contains their passwords.
        (data / SERVICES_FILE).unlink(missing_ok=True)
        with open(os.open(data / SERVICES_FILE, os.O_CREAT | os.O_WRONLY, 0o600), "wb") as file:
            file.write(orjson.dumps({**urls, "port": self.settings.port}))

    @property
    def _metrics(self) -> Path:
        return self.settings.data.resolve() / "metrics"

    async def _prepare_database(self, url: str) -> str:
        """Migrate the embedded database as its superuser, and return the URL for all other work."""
        await migrate.migrate(url, open_keyring(self.settings))
        return await roles.prepare_role(url, embedded.read_or_create_password(self.settings.data / ROLE_PASSWORD))

    async def _prepare(self) -> str | None:
        """Prepare database and folders; return the administrator's token if it was made here."""
        url = self.settings.required_database_url()
        make_folders(self.settings)
        with suppress(RedisError, OSError):  # a queue that is away is waited for
            await require_queue(self.settings)
        keyring = open_keyring(self.settings)
        await migrate.migrate(url, keyring)
        async with database(url, 2, keyring) as db:
            return await migrate.create_first_admin(db, self.settings)

    def _environment(self) -> dict[str, str]:
        settings = self.settings
        return {
            **os.environ,
            "POLYFORGE_DATA": str(settings.data.resolve()),
            "POLYFORGE_DATABASE_URL": settings.required_database_url(),
            "POLYFORGE_REDIS_URL": settings.required_redis_url(),
            "POLYFORGE_PORT": str(settings.port),
            "POLYFORGE_API_PROCESSES": str(settings.api_processes),
            SHARED_DIRECTORY: str(self._metrics),
        }

    def _spawn(self, name: str) -> subprocess.Popen[bytes]:
        with embedded.open_log(self.settings.data / "forge.log") as output:
            return subprocess.Popen(
                [*tie_to_parent("TERM"), sys.executable, "-P", "-m", "app", name],
                env=self._environment(),
                stdout=output,
                stderr=output,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )

    def _wait_until_ready(self) -> bool:
        """Wait for the API to be ready. Raises ServiceError if a process ends.

        Returns False if `up` is stopped before, or if it takes too long; then a warning names the failing checks.
        """
        deadline = time.monotonic() + READY_TIMEOUT
        problem = ""
        while time.monotonic() < deadline and not self.stopping:
            problem = self._find_missing_part()
            if not problem:
                return True
            time.sleep(0.05)
            if any(child.poll() is not None for _, child in self.children):
                log_file = self.settings.data / "forge.log"
                raise embedded.ServiceError(f"A process of the forge ended during start; see {log_file}.")
        if not self.stopping:
            sys.stderr.write(
                f"Warning: after {READY_TIMEOUT:.0f} s the forge is not ready ({problem}). It keeps trying; "
                f"see {self.settings.data / 'forge.log'}.\n"
            )
        return False

    def _find_missing_part(self) -> str:
        """Return which checks of /readyz fail, or why there is no response; empty if the forge is ready."""
        # Not through a proxy of the operator's (http_proxy).
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            opener.open(f"{self.settings.local_url}/readyz", timeout=2).close()
        except urllib.error.HTTPError as unready:
            with suppress(ValueError, KeyError, OSError):
                checks = orjson.loads(unready.read())["checks"]
                return "; ".join(f"{name}: {result}" for name, result in checks.items() if result != "ok")
            return f"status {unready.code}"
        except OSError as error:
            return f"no response: {getattr(error, 'reason', None) or error}"
        return ""

    def _watch(self) -> None:
        while not self.stopping:
            for index, (name, child) in enumerate(self.children):
                if child.poll() is not None and not self.stopping and time.monotonic() > self.restart_at.get(index, 0):
                    log.warning("restarting", part=name, code=child.returncode)
                    remove_process(child.pid, str(self._metrics))
                    self.children[index] = (name, self._spawn(name))
                    self.restart_at[index] = time.monotonic() + RESTART_PAUSE
            for index, service in enumerate(self.services):
                code = service.process.poll()
                if code is not None and not self.stopping:
                    log.warning("restarting", part=service.name, code=code)
                    self.services[index] = service.restart()
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
        (self.settings.data / SERVICES_FILE).unlink(missing_ok=True)

    def _print_banner(self, token: str | None, seconds: float) -> None:
        url, user = self.settings.url, self.settings.admin_user
        command = Path(sys.argv[0])
        program = os.path.relpath(command) if command.name == "polyforge" else "polyforge"
        made = f"Token of {user}, which is not shown again: {token}"
        known = f"The token of {user} was given, or shown at the first start. `{program} token add {user}` adds one."
        sys.stdout.write(
            f"""Polyforge is ready at {url} ({seconds:.1f} s). Logs: {Path(self.settings.data) / "forge.log"}
{made if token else known}

  # Type or paste the token into a variable, so that it appears neither in the history nor in the list of processes:
  read -rs TOKEN
  export TOKEN
  api() {{ curl --header @<(echo "Authorization: token $TOKEN") "$@"; }}

  # Create a project (the reply contains the id of its task), watch the task, push, and list projects:
  api -d name=hello -d description=Hello -d wait=False {url}/api/0/new
  api "{url}/v1/tasks/TASK-ID?wait=30"
  git -c credential.helper='!f() {{ echo username={user}; echo password=$TOKEN; }}; f' push {url}/hello.git HEAD:main
  api "{url}/api/0/projects?per_page=20"

Press Ctrl-C to stop.
"""
        )
        sys.stdout.flush()
