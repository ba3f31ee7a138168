"""How many SQL statements one request costs, counted in a forge that runs in this process."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

from aiohttp.test_utils import TestClient, TestServer

from app.config import Settings
from app.database import Database
from app.logs import configure
from app.server import application
from benchmarks.forge import Forge

CALLS = ("fetch", "fetchrow", "fetchval", "execute")


async def counted(forge: Forge, path: str) -> int:
    """Statements that one GET of `path` runs, after one to warm up."""
    configure("error")
    seen: list[str] = []

    def counting(name: str) -> Callable[..., Awaitable[Any]]:
        original = getattr(Database, name)

        async def call(self: Database, sql: str, *arguments: Any) -> Any:
            seen.append(sql)
            return await original(self, sql, *arguments)

        return call

    given: dict[str, Any] = {
        "data": Path(forge.data),
        "database_url": forge.database_url,
        "redis_url": forge.redis_url,
        "log_level": "error",
    }
    settings = Settings(**given)
    counters: dict[str, Any] = {name: counting(name) for name in CALLS}
    async with TestClient(TestServer(application(settings))) as client:
        await (await client.get(path)).read()
        with patch.multiple(Database, **counters):
            answer = await client.get(path)
            await answer.read()
            if answer.status != 200:
                raise SystemExit(f"{path} answered {answer.status}")
    return len(seen)
