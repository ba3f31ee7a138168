"""HTTP client for URLs that users choose: every connection passes the guard, and responses are short."""

import asyncio
import re
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

TOTAL_TIMEOUT = 15.0  # seconds for a request, to the end of its response
ENCODED_URL = re.compile(r"(?P<scheme>https?)://(?P<authority>[^/?#]*)(?P<target>[^#]*)(?:#.*)?\Z", re.I)
VISIBLE = re.compile(r"[!-~]+\Z")
MAX_BODY = 1 << 14  # bytes of a response body that are read


@dataclass(frozen=True)
class Response:
    """An HTTP response. `body` is not decompressed; `cut` says that it was longer and has been cut off."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    cut: bool

    @property
    def retry_after(self) -> float:
        """The Retry-After header in seconds, be it a number or a date (RFC 9110, 10.2.3); 0 without one."""
        text = self.headers.get("Retry-After", "")
        if text.isascii() and text.isdigit():
            return float(text)
        with suppress(ValueError):
            at = parsedate_to_datetime(text)
            return max(0.0, (at.replace(tzinfo=at.tzinfo or UTC) - datetime.now(UTC)).total_seconds())
        return 0.0


class Client:
    """Sends requests; create one with `open_client`."""

    def __init__(self, session: aiohttp.ClientSession, total: float, max_body: int) -> None:
        self._session = session
        self._total = total
        self._max_body = max_body

    async def send(
        self, method: str, url: str, *, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> Response:
        """Send a request and return the response, whatever its status. Redirects are not followed.

        Raises OutgoingError.
        """
        try:
            async with asyncio.timeout(self._total):
                return await self._send(method, url, body, headers or {})
        except (aiohttp.ClientError, OSError, ValueError) as error:
            failure = _classify(error)
        # Raised outside the handler: the original error contains addresses and must not become the context of this one.
        raise OutgoingError(failure)

    async def _send(self, method: str, url: str, body: bytes, headers: Mapping[str, str]) -> Response:
        target = _parse_target(url)
        if target.scheme not in ("http", "https"):
            raise aiohttp.NonHttpUrlClientError(url)
        async with self._session.request(
            method, target, data=body, headers=headers, allow_redirects=False, skip_auto_headers=("Accept-Encoding",)
        ) as response:
            content = bytearray()
            limit = self._max_body + 1  # one byte more than is kept tells whether there was more
            while len(content) < limit and (chunk := await response.content.read(limit - len(content))):
                content += chunk
            response.close()
            is_cut = len(content) > self._max_body
            return Response(response.status, response.headers, bytes(content[: self._max_body]), is_cut)


@asynccontextmanager
async def open_client(
    guard: Guard,
    *,
    connect: float = CONNECT_TIMEOUT,
    total: float = TOTAL_TIMEOUT,
    max_body: int = MAX_BODY,
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[Client]:
    """Open a client whose connections are checked by the guard, each of them anew: none is reused.

    No proxies, credentials or cookies are used: the environment is not consulted and nothing is stored. `connect` and
    `total` are seconds; without `tls`, certificates are verified against the authorities of the system.
    """
    connector = aiohttp.TCPConnector(
        socket_factory=guard.socket,
        resolver=_Resolver(),
        use_dns_cache=False,
        force_close=True,
        limit=0,  # a slow receiver must not delay others; the caller limits the number of concurrent requests
        ssl=tls or True,
    )
    async with aiohttp.ClientSession(
        connector=connector,
        timeout=aiohttp.ClientTimeout(total=None, connect=connect),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        trust_env=False,
    ) as session:
        yield Client(session, total, max_body)


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


def _parse_target(url: str) -> URL:
    """The URL with everything behind the host as its path, so that it is asked for byte for byte as it is given.

    A receiver may sign its URL, and `%2F` is not `/`. Blanks and other characters that no request can contain are
    encoded. Raises ValueError.
    """
    found = ENCODED_URL.match(url)
    if found is None or not VISIBLE.match(url):
        return URL(url)
    target: str = found["target"] or "/"
    path = target if target.startswith("/") else f"/{target}"
    base = URL(f"{found['scheme']}://{found['authority']}/")  # checks and normalizes the host
    return URL.build(scheme=base.scheme, authority=base.raw_authority, path=path, encoded=True)


def _classify(error: Exception) -> Failure:
    # The order matters: some errors are instances of several of these classes.
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
