"""Connections to Valkey or Redis. It carries hints only, so nothing waits for it longer than a fraction of a second.

While it is away or frozen, the forge goes on by polling.
"""

from typing import Any, TypeVar
from urllib.parse import unquote, urlsplit

from redis.asyncio import ConnectionPool, Redis
from redis.asyncio.sentinel import Sentinel, SentinelConnectionPool
from redis.exceptions import RedisError

TIMEOUT = 0.5  # seconds for a connection, and for the answer to a command
LIMITS: dict[str, Any] = {"socket_timeout": TIMEOUT, "socket_connect_timeout": TIMEOUT}
SENTINEL = "redis+sentinel"
VALKEY_ERRORS = (OSError, RedisError)  # all errors of a command

R = TypeVar("R", bound=Redis)


def open_client(url: str, kind: type[R] = Redis, **options: Any) -> R:  # type: ignore[assignment]
    """Open a client; it connects when it is used.

    The URL is redis://, rediss:// or unix://, as redis-py takes it, or
    redis+sentinel://[user:password@]host:port[,host:port…]/service[/database]. Raises ValueError for any other.
    """
    pool = _open_sentinel_pool(url) if url.startswith(f"{SENTINEL}://") else ConnectionPool.from_url(url, **LIMITS)
    client = kind(connection_pool=pool, **options)
    client.auto_close_connection_pool = True  # together with the client, which does that only for a pool of its own
    return client


def _open_sentinel_pool(url: str) -> ConnectionPool:
    parts = urlsplit(url)
    login, _, hosts = parts.netloc.rpartition("@")
    username, _, password = login.partition(":")
    service, _, database = parts.path.strip("/").partition("/")
    if not service:
        raise ValueError("the path of the URL must name the service that the sentinels watch")
    options = {**LIMITS, "username": unquote(username) or None, "password": unquote(password) or None}
    hosts_and_ports = [_parse_host(host) for host in hosts.split(",")]
    sentinels = Sentinel(hosts_and_ports, sentinel_kwargs=LIMITS)  # type: ignore[no-untyped-call]
    return SentinelConnectionPool(service, sentinels, db=int(database or 0), **options)  # type: ignore[no-untyped-call]


def _parse_host(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    return (host, int(port)) if host else (text, 26379)
