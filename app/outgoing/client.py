"""HTTP to where users aim it: one request, one short answer, no way around the guard."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from app.outgoing.failures import Failure, OutgoingError
from app.outgoing.guard import CONNECT_TIMEOUT, AddressRefused, Guard, resolve

TOTAL_TIMEOUT = 15.0  # seconds for all of a request, to the end of its answer
MAX_BODY = 1 << 14  # bytes of an answer that are read


@dataclass(frozen=True)
class Response:
    """What the other side said. `body` is as it came over the wire; `cut` when there was more of it."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    cut: bool

    @property
    def retry_after(self) -> float:
        """For how many seconds the other side wants no more: a number or a date (RFC 9110, 10.2.3); else 0."""
        text = self.headers.get("Retry-After", "")
        if text.isascii() and text.isdigit():
            return float(text)
        with suppress(ValueError):
            at = parsedate_to_datetime(text)
            return max(0.0, (at.replace(tzinfo=at.tzinfo or UTC) - datetime.now(UTC)).total_seconds())
        return 0.0


class Client:
    """Made by `client`, below."""

    def __init__(self, session: aiohttp.ClientSession, total: float, most: int) -> None:
        self._session = session
        self._total = total
        self._most = most

    async def send(
        self, method: str, url: str, *, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> Response:
        """The answer, whatever its status; a redirect is an answer like any other. Raises Failed."""
        try:
            async with asyncio.timeout(self._total):
                return await self._send(method, url, body, headers or {})
        except (aiohttp.ClientError, OSError, ValueError) as error:
            failure = _classify(error)
        # Outside of the handler: the error names addresses, and nothing that is raised here shall lead to it.
        raise OutgoingError(failure)

    async def _send(self, method: str, url: str, body: bytes, headers: Mapping[str, str]) -> Response:
        where = URL(url)
        if where.scheme not in ("http", "https"):
            raise aiohttp.NonHttpUrlClientError(url)
        async with self._session.request(
            method, where, data=body, headers=headers, allow_redirects=False, skip_auto_headers=("Accept-Encoding",)
        ) as response:
            read = bytearray()
            while len(read) <= self._most and (piece := await response.content.read(self._most + 1 - len(read))):
                read += piece
            response.close()
            return Response(response.status, response.headers, bytes(read[: self._most]), len(read) > self._most)


@asynccontextmanager
async def open_client(
    guard: Guard,
    *,
    connect: float = CONNECT_TIMEOUT,
    total: float = TOTAL_TIMEOUT,
    most: int = MAX_BODY,
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[Client]:
    """A client whose connections the guard allows one by one: none is kept for the next request.

    Proxies, passwords and cookies come from nowhere: the environment is not asked and nothing is remembered.
    `connect` and `total` are seconds; without `tls` certificates are checked against the system's authorities.
    """
    connector = aiohttp.TCPConnector(
        socket_factory=guard.socket,
        resolver=_Resolver(),
        use_dns_cache=False,
        force_close=True,
        limit=0,  # whoever is slow makes nobody else wait; how many requests there are at once is the caller's matter
        ssl=tls or True,
    )
    async with aiohttp.ClientSession(
        connector=connector,
        timeout=aiohttp.ClientTimeout(total=None, connect=connect),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        trust_env=False,
    ) as session:
        yield Client(session, total, most)


class _Resolver(AbstractResolver):
    async def resolve(self, host: str, port: int = 0, family: int = socket.AF_UNSPEC) -> list[ResolveResult]:
        return [
            ResolveResult(
                hostname=host, host=str(address[0]), port=port, family=kind, proto=protocol, flags=socket.AI_NUMERICHOST
            )
            for kind, _, protocol, _, address in await resolve(host, port)
        ]

    async def close(self) -> None:
        pass


def _classify(error: Exception) -> Failure:
    # The order matters: some of these are several things at once.
    match error:
        case TimeoutError():
            return Failure.TIMEOUT
        case aiohttp.ClientConnectorDNSError():
            return Failure.UNRESOLVED
        case aiohttp.ClientSSLError() | aiohttp.ClientConnectorCertificateError() | ssl.SSLError():
            return Failure.TLS
        case aiohttp.ClientConnectorError():
            return _classify_connect_error(error.os_error)
        case aiohttp.ClientResponseError():
            return Failure.MALFORMED
        case aiohttp.InvalidURL() | aiohttp.NonHttpUrlClientError() | ValueError():
            return Failure.INVALID
        case _:
            return Failure.RESET


def _classify_connect_error(error: OSError) -> Failure:
    if isinstance(error, AddressRefused):
        return Failure.REFUSED
    return Failure.RESET if isinstance(error, ConnectionResetError) else Failure.UNREACHABLE
