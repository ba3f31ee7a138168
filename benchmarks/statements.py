"""The number of SQL statements of a request, counted in a forge that runs in this process."""

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

METHODS = ("fetch", "fetchrow", "fetchval", "execute")


async def count_statements(forge: Forge, path: str) -> int:
    """Count the statements of one GET of `path`, after one to warm up."""
    configure("error")
    statements: list[str] = []

    def wrap(name: str) -> Callable[..., Awaitable[Any]]:
        original = getattr(Database, name)

        async def call(self: Database, sql: str, *arguments: Any) -> Any:
            statements.append(sql)
            return await original(self, sql, *arguments)

        return call

    options: dict[str, Any] = {
        "data": Path(forge.data),
        "database_url": forge.database_url,
        "redis_url": forge.redis_url,
        "log_level": "error",
    }
    settings = Settings(**options)
    wrappers: dict[str, Any] = {name: wrap(name) for name in METHODS}
    async with TestClient(TestServer(application(settings))) as client:
        await (await client.get(path)).read()
        with patch.multiple(Database, **wrappers):
            answer = await client.get(path)
            await answer.read()
            if answer.status != 200:
                raise SystemExit(f"{path} answered {answer.status}")
    return len(statements)
