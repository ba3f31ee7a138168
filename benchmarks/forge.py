"""The forge under measurement: start it with `polyforge up`, seed it, stop it."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import orjson

from app.core import commands, credentials
from app.core.users import CreateUser
from app.database import database, open_pool
from app.git.process import tie_to_parent
from app.logs import configure
from app.ops.migrate import FORGE, issue_token
from app.ops.supervise import SERVICES_FILE
from events.log import AppendRequest, append
from events.projects import ProjectCreated

PROGRAM = Path(sys.executable).with_name("polyforge")
BATCH_SIZE = 500  # projects seeded per transaction
ISSUE_PROJECTS = 32  # projects that issues are spread over
NUMBER_AT_ONCE = """
    insert into numbers (seq, position)
    select (select coalesce(max(seq), 0) from numbers) + row_number() over (order by position), position
    from   events
    where  not exists (select 1 from numbers where numbers.position = events.position);
    delete from unnumbered
"""


@dataclass
class Forge:
    """A running forge, with the token of its administrator. `ready` is the seconds that its start took."""

    process: subprocess.Popen[bytes]
    data: Path
    port: int
    token: str
    database_url: str
    redis_url: str
    ready: float

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def call(self, method: str, path: str, body: dict[str, Any] | None = None, token: str | None = None) -> Any:
        """Send one request on a new connection and return the JSON of the answer. Raises unless it succeeds."""
        request = urllib.request.Request(
            self.url + path,
            method=method,
            data=None if body is None else orjson.dumps(body),
            headers={"Authorization": f"token {token or self.token}", "Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            return orjson.loads(answer.read())

    def request(self, method: str, path: str) -> None:
        """Send one request and ignore the answer's body."""
        headers = {"Authorization": f"token {self.token}"}
        urllib.request.urlopen(
            urllib.request.Request(self.url + path, method=method, headers=headers), timeout=60
        ).close()

    def await_ready(self) -> None:
        _await_ready(self.process, self.port)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def run_forge(data: Path, token: str, program: Path = PROGRAM, **settings: str) -> Iterator[Forge]:
    """Run `polyforge up` with this data directory, and these environment variables, for the length of a block."""
    port, begun = free_port(), time.perf_counter()
    arguments = ["up", "--data", str(data), "--port", str(port)]
    with (data.parent / "up.log").open("ab") as output:
        # What a load generator asks for is counted like everything else, but never too much.
        rates = {f"POLYFORGE_RATE_{name}": "1000000000/minute" for name in ("WRITES", "READS_WITHOUT_TOKEN")}
        environment = {
            **os.environ,
            **rates,
            "POLYFORGE_ADMIN_TOKEN": token,
            "POLYFORGE_WEBHOOK_ALLOW": '["127.0.0.1/32"]',  # JSON, which older versions read too
            **settings,
        }
        process = subprocess.Popen(
            [*tie_to_parent("INT"), str(program), *arguments],
            stdout=output,
            stderr=output,
            env=environment,
            cwd=program.parents[2],
        )
    try:
        _await_ready(process, port)
        ready = time.perf_counter() - begun
        services = orjson.loads((data / SERVICES_FILE).read_bytes())
        yield Forge(process, data, port, token, services["database_url"], services["redis_url"], ready)
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(60)


def _await_ready(process: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=2):
                return
        except OSError:
            time.sleep(0.01)
    raise SystemExit("The forge did not become ready.")


async def seed_projects(forge: Forge, count: int) -> None:
    """Add projects to the log and to the read tables, without repositories.

    The relay's lease is locked while a batch is recorded and numbered, so no work is created for the workers.
    """
    pool = await open_pool(forge.database_url, 1)
    async with pool.acquire() as connection:
        for first in range(0, count, BATCH_SIZE):
            async with connection.transaction():
                await connection.execute("select 1 from leases where name = 'relay' for update")
                for number in range(first, min(first + BATCH_SIZE, count)):
                    await _seed_project(connection, number)
                await connection.execute(NUMBER_AT_ONCE)
        await connection.execute("vacuum analyze")
    await pool.close()


async def _seed_project(connection: asyncpg.Connection, number: int) -> None:
    name = f"seeded-{number:05}"
    event = ProjectCreated(
        project_id=await connection.fetchval("select nextval('project_ids')"),
        address=name,
        path=name,
        owner="admin",
        name=name,
        namespace=None,
        description=f"Project {number} of many, with a line of description",
        url=None,
        avatar_email=None,
        private=False,
        default_branch="main",
        create_readme=False,
    )
    command_id = uuid.uuid4()
    entry = AppendRequest(event=event, version=1, actor="admin", command_id=command_id, anchored=False)
    await append(connection, entry, ("create-project", b"{}"))


async def seed_users(forge: Forge, count: int) -> list[str]:
    """Create users who may fork and return their tokens."""
    configure("error")
    tokens = []
    async with database(forge.database_url, 1) as db:
        for _ in range(count):
            name, token = f"user{uuid.uuid4().hex[:8]}", credentials.new_token()
            command = CreateUser(username=name, fullname=name, email=f"{name}@example.org")
            await commands.execute(db, FORGE, command, command_id=uuid.uuid4())
            await issue_token(db, name, token, "benchmark")
            tokens.append(token)
    return tokens


def create_projects(forge: Forge, prefix: str, count: int) -> list[str]:
    """Create projects with repositories over HTTP and return their names."""
    names = [f"{prefix}-{number}" for number in range(count)]
    for name in names:
        forge.call("POST", "/api/0/new", {"name": name, "description": "Measured"})
    return names


def push_random(forge: Forge, name: str, megabytes: int) -> None:
    """Push one commit with this much incompressible data."""
    tree = forge.data.parent / f"push-{name}"
    tree.mkdir()
    for number in range(megabytes):
        (tree / f"{number:03}.bin").write_bytes(os.urandom(1 << 20))
    identity = ["-c", "user.name=Bench", "-c", "user.email=bench@example.org"]
    helper = "credential.helper=!f() { echo username=admin; echo password=$TOKEN; }; f"
    for arguments in (
        ["init", "-q", "-b", "main"],
        ["add", "."],
        [*identity, "commit", "-q", "-m", "Random"],
        ["-c", "http.proxy=", "-c", helper, "push", "-q", f"{forge.url}/{name}.git", "main"],
    ):
        environment = {**os.environ, "TOKEN": forge.token}
        subprocess.run(["git", *arguments], cwd=tree, check=True, capture_output=True, timeout=120, env=environment)
    shutil.rmtree(tree)
