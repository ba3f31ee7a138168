"""Fixtures: a whole forge for every test, with real Postgres, Valkey, git and HTTP."""

import asyncio
import contextlib
import os
import re
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from arq.connections import ArqRedis
from pydantic import SecretStr
from redis.asyncio import Redis

from app.config import Settings
from app.database import Database, database
from app.http.runner import Runner
from app.logs import REQUEST, configure
from app.metrics import WAITERS
from app.ops import embedded, migrate
from app.server import application
from app.stores.sealed import open_keyring
from tests.databases import fresh_database, make_template
from tests.receiver import Receiver, run_receiver
from tests.shared_forge import SharedForge, cancel_other_tasks, find_memory_folder
from workers import delivery, queue
from workers.reactions import WorkerContext
from workers.relay import Relay
from workers.settings import run_workers

ADMIN_TOKEN = "the-administrators-token"
MEMORY = find_memory_folder()  # for repositories and work trees, which are many small files
# Each forge that starts compiles the patterns of its routes, which are more than `re` remembers.
vars(re)["_MAXCACHE"] = 4096


@contextlib.contextmanager
def own_folder(place: str | None = None) -> Iterator[Path]:
    """Not below pytest's own folders, which every run of root's closes to the database's user."""
    with tempfile.TemporaryDirectory(prefix="polyforge-test-", dir=place) as folder:
        yield Path(folder)


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """A folder for one test."""
    with own_folder(MEMORY) as folder:
        yield folder


@pytest.fixture(scope="session")
def services() -> Iterator[tuple[str, str]]:
    """One Postgres and one Valkey per test process; no test waits for a disk."""
    configure("critical")
    with own_folder() as data:
        postgres = embedded.start_postgres(
            data, tied_to_parent=True, fsync="off", synchronous_commit="off", full_page_writes="off"
        )
        valkey = embedded.start_valkey(data, tied_to_parent=True)
        asyncio.run(make_template(postgres.url))
        yield postgres.url, valkey.url
        valkey.stop()
        postgres.stop()


@pytest.fixture
def var() -> Iterator[Path]:
    """A data directory for `polyforge up`."""
    with own_folder() as data:
        yield data


@pytest.fixture
async def database_url(services: tuple[str, str]) -> AsyncIterator[str]:
    """A fresh database with the schema and nothing else."""
    async with fresh_database(services[0]) as url:
        yield url


async def prepare_settings(database_url: str, services: tuple[str, str], data: Path) -> Settings:
    """Empty the queue and return the settings of a forge with this database."""
    redis = Redis.from_url(services[1])
    await redis.flushall()
    await redis.aclose()
    return build_settings(database_url, services[1], data)


def build_settings(database_url: str, redis_url: str, data: Path) -> Settings:
    return Settings(
        data=data,
        database_url=database_url,
        redis_url=redis_url,
        port=embedded.free_port(),
        namespaces=["rpms"],
        webhook_allow=[IPv4Network("127.0.0.1")],
        lease=1.0,
        max_push_refs=1000,
        admin_token=SecretStr(ADMIN_TOKEN),
        pool_size=5,
    )


@pytest.fixture
async def own_settings(database_url: str, services: tuple[str, str], tmp_path: Path) -> Settings:
    """Settings for a forge of the test's own, which is not running yet."""
    return await prepare_settings(database_url, services, tmp_path)


@pytest.fixture
def settings(request: pytest.FixtureRequest) -> Settings:
    """The settings of the shared forge, or with the mark `own_forge` those of one that the test alone uses."""
    if request.node.get_closest_marker("own_forge"):
        own: Settings = request.getfixturevalue("own_settings")
        return own
    shared: Forge = request.getfixturevalue("shared_forge")
    return shared.settings


class Client:
    """Speaks HTTP to the forge in somebody's name; answers are (status, JSON body)."""

    def __init__(self, forge: "Forge", token: str | None, name: str = "") -> None:
        self.forge = forge
        self.token = token
        self.name = name
        self.headers: Any = {}

    async def request(self, method: str, path: str, **options: Any) -> tuple[int, Any]:
        headers = {**({"Authorization": f"token {self.token}"} if self.token else {}), **options.pop("headers", {})}
        url = path if path.startswith("http") else self.forge.url + path
        async with self.forge.session.request(method, url, headers=headers, **options) as answer:
            self.headers = answer.headers
            body = await answer.json(content_type=None) if answer.content_length != 0 else None
            return answer.status, body

    async def get(self, path: str, **options: Any) -> tuple[int, Any]:
        return await self.request("GET", path, **options)

    async def post(self, path: str, **form: Any) -> tuple[int, Any]:
        """A form, as Pagure's clients send it."""
        return await self.request("POST", "/api/0" + path, data=form)

    async def json(self, method: str, path: str, body: Any = None, **options: Any) -> tuple[int, Any]:
        return await self.request(method, path, json=body, **options)

    async def pagure(self, path: str) -> tuple[int, Any]:
        return await self.get("/api/0" + path)

    async def limited(self, **token: Any) -> "Client":
        """The same person with another token."""
        status, issued = await self.json("POST", f"/v1/users/{self.name}/tokens", {"description": "test", **token})
        assert status == 201, issued
        return Client(self.forge, issued["token"], self.name)

    def git_url(self, path: str) -> str:
        host = self.forge.url.removeprefix("http://")
        who = f"{self.name}:{self.token}@" if self.token else ""
        return f"http://{who}{host}/{path}.git"


class Forge:
    """The API, a relay and a worker, in this process."""

    def __init__(
        self,
        settings: Settings,
        db: Database,
        session: aiohttp.ClientSession,
        worker: asyncio.Task[None],
        *,
        runner: Runner,
        relay: Relay,
        redis: ArqRedis,
    ) -> None:
        self.settings = settings
        self.db = db
        self.worker = worker
        self.session = session
        self.relay = relay
        self.runner = runner
        self.app = runner.app
        self.redis = redis
        self.loop = asyncio.get_running_loop()
        self.url = settings.url
        self.admin = Client(self, ADMIN_TOKEN, "admin")
        self.nobody = Client(self, None)

    async def user(self, name: str, **token: Any) -> Client:
        await self.admin.json("POST", "/v1/users", {"username": name, "email": f"{name}@example.org"})
        status, issued = await self.admin.json("POST", f"/v1/users/{name}/tokens", {"description": "test", **token})
        assert status == 201, issued
        return Client(self, issued["token"], name)

    async def numbered(self) -> int:
        """Wait until every event has its number; how many there are."""
        async with asyncio.timeout(10):
            while True:
                row = await self.db.fetchrow(
                    "select (select count(*) from events) as events, (select count(*) from numbers) as numbers"
                )
                assert row is not None
                if row["events"] == row["numbers"]:
                    return int(row["events"])
                await asyncio.sleep(0.02)

    async def idle(self) -> None:
        """Wait until the workers have done all that was asked of them, and everything has its number."""
        at_rest = """
            select not exists (select 1 from work where done_at is null) and not exists (select 1 from unnumbered)
        """
        async with asyncio.timeout(30):
            while not await self.db.fetchval(at_rest):
                await asyncio.sleep(0.02)

    async def rows(self) -> dict[str, list[str]]:
        """Every row of every read table, as text."""
        tables = await self.db.fetch("select tablename from pg_tables where schemaname = 'live'")
        return {
            table["tablename"]: sorted(
                row["row"] for row in await self.db.fetch(f"select t::text as row from live.{table['tablename']} t")
            )
            for table in tables
        }


@contextlib.asynccontextmanager
async def run_forge(settings: Settings) -> AsyncIterator[Forge]:
    async with contextlib.AsyncExitStack() as stack:
        keyring = open_keyring(settings)
        keyring.create()
        db = await stack.enter_async_context(database(settings.required_database_url(), 5, keyring))
        await migrate.create_first_admin(db, settings)
        redis = queue.connect(settings.required_redis_url())
        stack.push_async_callback(redis.aclose)
        runner = Runner(application(settings), shutdown_timeout=0.5)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, settings.host, settings.port).start()
        ctx = WorkerContext(db, settings, queue.relay_bell(redis))
        relay = Relay(db, redis)
        jobs = [asyncio.create_task(relay.run()), asyncio.create_task(run_workers(ctx, redis))]
        stack.push_async_callback(_end, jobs)
        session = await stack.enter_async_context(aiohttp.ClientSession())
        yield Forge(settings, db, session, jobs[1], runner=runner, relay=relay, redis=redis)


@pytest.fixture(scope="session")
async def sharing(services: tuple[str, str]) -> AsyncIterator[SharedForge]:
    sharing = SharedForge(build_settings, run_forge)
    yield sharing
    await sharing.close()


@pytest.fixture
async def shared_forge(
    request: pytest.FixtureRequest, sharing: SharedForge, services: tuple[str, str]
) -> AsyncIterator[Forge]:
    """The forge that the tests of this process share; a test that it cannot be emptied after says so to `tests.cpu`."""
    yield await sharing.open(services[0])
    if reason := await sharing.empty():
        request.node.user_properties.append(("forge_closed", reason))


@pytest.fixture
async def forge(settings: Settings, sharing: SharedForge) -> AsyncIterator[Forge]:
    """The shared forge, or one of the test's own if `settings` are."""
    shared: Forge | None = sharing.forge
    if shared is not None and settings is shared.settings:
        yield shared
        return
    if shared is not None and settings.database_url == shared.settings.database_url:
        raise pytest.UsageError("A test that changes the settings starts from `own_settings`.")
    async with run_forge(settings) as forge:
        yield forge


@pytest.fixture(autouse=True)
async def end_tasks() -> AsyncIterator[None]:
    """What a test has started on the event loop, which all tests share, ends with it."""
    yield
    await cancel_other_tasks()


async def _end(jobs: list[asyncio.Task[None]]) -> None:
    for job in jobs:
        job.cancel()
    await asyncio.gather(*jobs, return_exceptions=True)


@pytest.fixture
async def alice(forge: Forge) -> Client:
    return await forge.user("alice")


@pytest.fixture
async def nethack(alice: Client) -> Client:
    """Alice, after she has created the project `nethack` with a README."""
    status, body = await alice.post("/new", name="nethack", description="A game", create_readme="1")
    assert status == 200, body
    return alice


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with run_receiver() as receiver:
        yield receiver


@pytest.fixture
def sent_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is due is sent within moments, also when nobody has rung."""
    monkeypatch.setattr(delivery, "POLL_INTERVAL", 0.05)


@pytest.fixture
def retried_at_once(sent_at_once: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """What failed is tried again at once, or nobody would wait for these tests."""
    monkeypatch.setattr(delivery, "SCHEDULE", (0.1,) * 10)
    monkeypatch.setattr(delivery, "OPEN_SECONDS", 0.1)
    monkeypatch.setattr(delivery, "MAX_OPEN_SECONDS", 0.2)


async def wait_for_waiters(count: int) -> None:
    """Wait until this number of requests wait for an event."""
    async with asyncio.timeout(10):
        while WAITERS._value.get() != count:
            await asyncio.sleep(0.01)


async def git(*arguments: str, cwd: Path | None = None, fails: bool = False) -> str:
    """The ordinary git client, which knows nothing of this machine's configuration."""
    environment = {
        **os.environ,
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        # The work trees are too short-lived to be tidied, and looking whether they should be is a process each time.
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "maintenance.auto",
        "GIT_CONFIG_VALUE_0": "false",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_AUTHOR_NAME": "Alice",
        "GIT_AUTHOR_EMAIL": "alice@example.org",
        "GIT_COMMITTER_NAME": "Alice",
        "GIT_COMMITTER_EMAIL": "alice@example.org",
    }
    process = await asyncio.create_subprocess_exec(
        "git", *arguments, cwd=cwd, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    output, _ = await process.communicate()
    assert (process.returncode != 0) == fails, output.decode()
    return output.decode()


async def commit(work: Path, name: str = "file", text: str = "text") -> str:
    """Add a file to a work tree; the commit's id."""
    (work / name).write_text(text)
    await git("add", name, cwd=work)
    await git("commit", "-qm", f"Add {name}", cwd=work)
    return (await git("rev-parse", "HEAD", cwd=work)).strip()


@pytest.fixture
def statements(forge: Forge, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The statements that requests send to Postgres, as they are sent; none of what goes on beside them."""
    seen: list[str] = []
    for name in ("fetch", "fetchrow", "fetchval", "execute"):
        original = getattr(Database, name)

        def watched(original: Any) -> Any:
            async def call(db: Database, sql: str, *arguments: Any) -> Any:
                if db is not forge.db and REQUEST.get():
                    seen.append(sql)
                return await original(db, sql, *arguments)

            return call

        monkeypatch.setattr(Database, name, watched(original))
    return seen
