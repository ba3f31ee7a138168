"""The HTTP server: it answers requests that reach no route, and notices clients that hang up."""

import asyncio
import re
from typing import Any

from aiohttp import web
from aiohttp.http_exceptions import LineTooLong

from app.http.connections import Connection, Connections, Limits
from app.http.keys import SETTINGS
from app.http.routes import Handler
from app.http.unrouted import render_raw_status, render_status
from app.logs import log

# Bytes of the request's first line and of a header. They differ, so that aiohttp's error tells which it was.
MAX_ADDRESS, MAX_HEADER = 8192, 8190
LINGERING_TIME = 3.0  # seconds in which the rest of a body is read, so that its client gets to see why it was refused
# A Host header that is safe to repeat in links to this instance.
HOST = re.compile(r"([a-z0-9\-._~]*|\[[0-9a-f:.]+\])(:(?P<port>[0-9]{0,5}))?\Z", re.IGNORECASE)


def is_valid_host(host: str) -> bool:
    match = HOST.match(host)
    return match is not None and int(match["port"] or 0) < 1 << 16


def handle_errors(handler: Handler) -> Handler:
    """Wrap the application so that no error response comes from aiohttp itself."""

    async def fenced(request: web.Request) -> web.StreamResponse:
        if not is_valid_host(request.host):
            return render_status(request, 400)
        try:
            return await handler(request)
        except web.HTTPException as error:
            if error.status < 400:
                raise
            allow = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else None
            return render_status(request, error.status, allow)

    return fenced


class RequestHandler(Connection):
    """A client connection whose errors are rendered here. What the client sends may be no HTTP at all."""

    __slots__ = ()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        if status >= 500:
            log.error("request failed", exc_info=exc)
        if request.writer.output_size:
            raise ConnectionError("Part of another response has been sent already.")
        if isinstance(exc, LineTooLong):
            status = 414 if exc.args[1] == MAX_ADDRESS else 431
        response = render_status(request, status)
        response.force_close()
        return response


class Server(web.Server):
    def __call__(self) -> web.RequestHandler:
        return RequestHandler(self, loop=self._loop, **self._kwargs)


class Runner(web.AppRunner):
    """aiohttp's runner with our connection handler and our error responses."""

    __slots__ = ("_watch", "connections")

    def __init__(self, app: web.Application, *, shutdown_timeout: float) -> None:
        limits = Limits.from_settings(app[SETTINGS])
        self.connections = Connections(limits, render_raw_status)
        super().__init__(
            app,
            access_log=None,
            shutdown_timeout=shutdown_timeout,
            # Later than `Connection` would close it: aiohttp does not know whether a request has begun.
            keepalive_timeout=2 * (limits.keep_alive + limits.head),
            lingering_time=LINGERING_TIME,
            max_line_size=MAX_ADDRESS,
            max_field_size=MAX_HEADER,
            connections=self.connections,
        )

    async def setup(self) -> None:
        await super().setup()
        self._watch = asyncio.create_task(self.connections.watch())

    async def cleanup(self) -> None:
        await super().cleanup()
        self._watch.cancel()

    async def _make_server(self) -> web.Server:
        server = await super()._make_server()
        handler: Any = handle_errors(server.request_handler)
        return Server(handler, request_factory=server.request_factory, loop=server._loop, **server._kwargs)
