"""Connections to Valkey or Redis."""

import signal
import time
from pathlib import Path

import pytest
from redis.asyncio import Redis
from redis.asyncio.sentinel import SentinelConnectionPool
from redis.exceptions import TimeoutError as ValkeyTimeout

from app.ops import embedded
from app.valkey import open_client


async def test_a_frozen_server_keeps_nobody_waiting(tmp_path: Path) -> None:
    service = embedded.start_valkey(tmp_path)
    try:
        client: Redis = open_client(service.url)
        await client.ping()
        service.process.send_signal(signal.SIGSTOP)
        begun = time.monotonic()
        with pytest.raises(ValkeyTimeout):
            await client.ping()
        assert time.monotonic() - begun < 5
        service.process.send_signal(signal.SIGCONT)
        assert await client.ping()
        await client.aclose()
    finally:
        service.process.send_signal(signal.SIGCONT)
        service.stop()


async def test_a_sentinel_url_names_sentinels_service_login_and_database() -> None:
    client: Redis = open_client("redis+sentinel://user:p%40ss@one:26380,two/forge/3")
    pool = client.connection_pool
    assert isinstance(pool, SentinelConnectionPool)
    assert pool.service_name == "forge"
    addresses = [sentinel.connection_pool.connection_kwargs for sentinel in pool.sentinel_manager.sentinels]
    assert [(each["host"], each["port"]) for each in addresses] == [("one", 26380), ("two", 26379)]
    known = {name: pool.connection_kwargs[name] for name in ("username", "password", "db")}
    assert known == {"username": "user", "password": "p@ss", "db": 3}
    await client.aclose()


@pytest.mark.parametrize("url", ["mysql://localhost", "redis+sentinel://one,two"])
def test_another_url_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="URL"):
        open_client(url)
