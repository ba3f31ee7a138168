"""Floors: the same work by the same libraries without the forge. `python -m benchmarks.floor URL PORT`."""

import asyncio
import gc
import subprocess
import sys
import time
import urllib.request
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import aiohttp
import asyncpg
import orjson
import uvloop
from aiohttp import web
from redis.asyncio import Redis

from app.database import Connection
from benchmarks.load import quantile

BODY = {"name": "x" * 40, "numbers": list(range(60)), "text": "y" * 720}  # about 1 KB of JSON
ROWS = 10_000
CONNECTIONS = 16
DATABASE = "floor"


async def prepare(url: str) -> str:
    """Create a database in the forge's PostgreSQL, with a table to read and one to insert into. Returns its URL."""
    connection = await asyncpg.connect(url)
    await connection.execute(f"create database {DATABASE}")
    await connection.close()
    own = url.rsplit("/", 1)[0] + f"/{DATABASE}"
    connection = await asyncpg.connect(own)
    await connection.execute("create table rows (id bigint primary key, body text not null)")
    await connection.execute("create table added (id uuid primary key, body text not null)")
    await connection.execute("insert into rows select n, repeat('z', 500) from generate_series(1, $1::int) n", ROWS)
    await connection.execute("vacuum analyze rows")
    await connection.close()
    return own


async def plain(_: web.Request) -> web.Response:
    return web.Response(body=orjson.dumps(BODY), content_type="application/json")


async def read(request: web.Request) -> web.Response:
    row = await request.app[POOL].fetchrow("select id, body from rows where id = $1", 4711)
    return web.Response(body=orjson.dumps({**BODY, "id": row["id"]}), content_type="application/json")


POOL: web.AppKey[asyncpg.Pool] = web.AppKey("pool", asyncpg.Pool)


async def pool(app: web.Application, url: str) -> AsyncIterator[None]:
    # Like the forge's, this pool saves the round trip that resets a returned connection.
    async with asyncpg.create_pool(url, min_size=10, max_size=10, connection_class=Connection) as connections:
        app[POOL] = connections
        yield


async def wait(_: web.Request) -> web.Response:
    await asyncio.Event().wait()
    return web.Response()


async def serve(url: str, port: int) -> None:
    app = web.Application()
    app.cleanup_ctx.append(lambda app: pool(app, url))
    app.router.add_get("/plain", plain)
    app.router.add_get("/read", read)
    app.router.add_get("/wait", wait)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    gc.collect()
    gc.freeze()
    await asyncio.Event().wait()


@contextmanager
def run_server(url: str, port: int) -> Iterator[int]:
    """Run the bare server in a process for the length of a block. Yields the process id."""
    process = subprocess.Popen([sys.executable, "-m", "benchmarks.floor", url, str(port)])
    try:
        for _ in range(100):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/plain", timeout=1).close()
                break
            except OSError:
                time.sleep(0.05)
        yield process.pid
    finally:
        process.terminate()
        process.wait(10)


async def measure_inserts(url: str, seconds: float) -> float:
    """Measure rows per second with one insert per transaction, over CONNECTIONS connections."""
    until = time.perf_counter() + seconds

    async def insert() -> int:
        connection, count = await asyncpg.connect(url), 0
        while time.perf_counter() < until:
            await connection.execute("insert into added values ($1, $2)", uuid.uuid4(), "z" * 500)
            count += 1
        await connection.close()
        return count

    return sum(await asyncio.gather(*(insert() for _ in range(CONNECTIONS)))) / seconds


async def measure_publish(url: str, times: int) -> list[float]:
    """Measure the milliseconds from a PUBLISH to Valkey until a subscriber receives it."""
    redis, taken = Redis.from_url(url), []
    async with redis.pubsub() as channel:
        await channel.subscribe("floor")
        await channel.get_message(timeout=1)
        for _ in range(times):
            started = time.perf_counter()
            await redis.publish("floor", b"")
            while await channel.get_message(ignore_subscribe_messages=True, timeout=1) is None:
                pass
            taken.append((time.perf_counter() - started) * 1000)
    await redis.aclose()
    return taken


async def measure_posts(url: str, body: bytes, times: int, at_once: int) -> tuple[float, list[float]]:
    """Measure POSTs per second, each on a new connection and `at_once` concurrently, and the milliseconds of each."""
    taken: list[float] = []

    async def post_some(session: aiohttp.ClientSession) -> None:
        for _ in range(times // at_once):
            started = time.perf_counter()
            async with session.post(url, data=body) as answer:
                await answer.read()
            taken.append((time.perf_counter() - started) * 1000)

    connector = aiohttp.TCPConnector(force_close=True, limit=0)
    async with aiohttp.ClientSession(connector=connector) as session:
        began = time.perf_counter()
        await asyncio.gather(*(post_some(session) for _ in range(at_once)))
        return len(taken) / (time.perf_counter() - began), taken


def measure_git(times: int, folder: Path, *arguments: str) -> float:
    """Measure the median milliseconds of a git command that creates a repository."""
    taken = []
    for _ in range(times):
        started = time.perf_counter()
        subprocess.run(["git", *arguments, str(folder / uuid.uuid4().hex)], check=True, capture_output=True)
        taken.append((time.perf_counter() - started) * 1000)
    return quantile(taken, 0.5)


if __name__ == "__main__":
    uvloop.run(serve(sys.argv[1], int(sys.argv[2])))
