"""The HTTP server around the application: it answers what reaches no route, and notices clients that hang up."""

import re
from typing import Any

from aiohttp import web

from app.http.routes import Handler
from app.http.unrouted import render_status
from app.logs import log

# What may stand in a link to this very forge.
HOST = re.compile(r"([a-z0-9\-._~]*|\[[0-9a-f:.]+\])(:(?P<port>[0-9]{0,5}))?\Z", re.IGNORECASE)


def is_valid_host(host: str) -> bool:
    found = HOST.match(host)
    return found is not None and int(found["port"] or 0) < 1 << 16


def handle_errors(handler: Handler) -> Handler:
    """The application, with an answer for whatever it would leave to aiohttp."""

    async def answer(request: web.Request) -> web.StreamResponse:
        if not is_valid_host(request.host):
            return render_status(request, 400)
        try:
            return await handler(request)
        except web.HTTPException as http:
            if http.status < 400:
                raise
            return render_status(
                request, http.status, {"Allow": http.headers["Allow"]} if "Allow" in http.headers else None
            )

    return answer


class RequestHandler(web.RequestHandler):
    """A client's connection. What it sends may not be HTTP at all.

    While `waiting`, its request only waits for something to happen, and ends when the client hangs up.
    """

    __slots__ = ("waiting",)

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.waiting = False

    def connection_lost(self, exc: BaseException | None) -> None:
        handling = self._task_handler
        super().connection_lost(exc)
        if self.waiting and handling is not None:
            handling.cancel()

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
            raise ConnectionError("Half of another answer has been sent already.")
        answer = render_status(request, status)
        answer.force_close()
        return answer


class Server(web.Server):
    def __call__(self) -> web.RequestHandler:
        return RequestHandler(self, loop=self._loop, **self._kwargs)


class Runner(web.AppRunner):
    """Like aiohttp's, with our words for what is nobody's."""

    __slots__ = ()

    def __init__(self, app: web.Application, *, shutdown_timeout: float) -> None:
        super().__init__(app, access_log=None, shutdown_timeout=shutdown_timeout)

    async def _make_server(self) -> web.Server:
        made = await super()._make_server()
        handler: Any = handle_errors(made.request_handler)
        return Server(handler, request_factory=made.request_factory, loop=made._loop, **made._kwargs)
