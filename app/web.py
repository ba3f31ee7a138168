"""What every HTTP handler uses: the keys of the application, routes with their actions, bodies, execute."""

import asyncio
import re
import secrets
import time
import uuid
import zlib
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote
from uuid import UUID

import orjson
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from app.config import Settings
from app.core import commands
from app.core.access import ACTIONS, Actor
from app.core.commands import Command, Outcome
from app.core.pushes import RefWriter
from app.database import Database, Row
from app.errors import NotFound
from app.logs import REQUEST, log
from app.metrics import REQUESTS
from app.queries import tasks
from app.tail import Tail

DATABASE = web.AppKey("database", Database)
SETTINGS = web.AppKey("settings", Settings)
TAIL = web.AppKey("tail", Tail)
REQUEST_ID = web.RequestKey("request_id", str)
DIALECT = web.RequestKey("dialect", str)
COMMAND_ID = web.RequestKey("command_id", UUID)  # settled beforehand by an idempotency key

# What reading a body raises when the body is wrong: its bytes, its charset, its parts or their headers.
BODY_ERRORS = (
    ValueError,
    LookupError,
    AssertionError,
    RuntimeError,
    HttpProcessingError,
    zlib.error,
    web.RequestPayloadError,
)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
VISIBLE_ID = re.compile(r"[!-~]{1,128}\Z")
SLASHES = re.compile("/{2,}")
PATH_SAFE = "/%!$&'()*+,;=:@~"
CLIENT_CLOSED = 499  # in the log: the client went away before it was answered
MAX_BODY = 4 << 20  # bytes; git routes stream and have a limit of their own


@dataclass(frozen=True)
class Route:
    """One line of a dialect's route table. `action` is the rule in core/access.py that it stands under."""

    method: str
    path: str
    action: str
    handler: Handler


class Routes(list[Route]):
    """A route table; a route that names no known action cannot be written down."""

    def add(self, method: str, path: str, action: str) -> Callable[[Handler], Handler]:
        if action not in ACTIONS:
            raise LookupError(f"{method} {path} declares no known action: {action!r}")

        def register(handler: Handler) -> Handler:
            self.append(Route(method, path, action, handler))
            return handler

        return register

    def mount(self, app: web.Application) -> None:
        for route in self:
            if route.method == "GET":
                app.router.add_get(route.path, route.handler)
            else:
                app.router.add_route(route.method, route.path, route.handler)


def json_reply(
    body: Any, status: int = 200, *, headers: Mapping[str, str] | None = None, media: str = "application/json"
) -> web.Response:
    return web.Response(body=orjson.dumps(body), status=status, headers=headers, content_type=media, charset="utf-8")


async def read_json_object(request: web.Request) -> dict[str, Any]:
    """The body as a JSON object. Raises ValueError when it is anything else."""
    body = orjson.loads(await request.read())
    if not isinstance(body, dict):
        raise ValueError("not an object")
    return body


async def execute(
    request: web.Request, actor: Actor, command: Command, *, seen: Mapping[str, Any] | None = None
) -> Outcome:
    """Carry out a command in the name of this request, and ring the relay."""
    outcome = await commands.execute(
        request.config_dict[DATABASE],
        actor,
        command,
        command_id=request.get(COMMAND_ID) or uuid.uuid4(),
        request=request[REQUEST_ID],
        seen=seen,
    )
    request.config_dict[TAIL].ring()
    return outcome


def ref_writer(request: web.Request, actor: Actor, project: Mapping[str, Any]) -> RefWriter:
    """The actor about to move refs of the project in the name of this request."""
    settings = request.config_dict[SETTINGS]
    return RefWriter(
        db=request.config_dict[DATABASE],
        root=settings.repositories,
        actor=actor,
        project=project,
        lease=settings.lease,
        request=request[REQUEST_ID],
        ring=request.config_dict[TAIL].ring,
    )


async def wait_for_task(request: web.Request, task_id: UUID) -> Row:
    """The task once it has ended, or as it stands when this process is about to."""

    async def look() -> Row:
        task = await tasks.find(request.config_dict[DATABASE], task_id)
        if task is None:
            raise NotFound("task")
        return task

    # Whoever brought a key may hang up and come back for the answer.
    with nullcontext() if COMMAND_ID in request else while_connected(request):
        return await wait_until_moved(request, task_id, look)


async def wait_until_moved(
    request: web.Request,
    task_id: UUID,
    look: Callable[[], Awaitable[Row]],
    seconds: float | None = None,
    *,
    after: int | None = None,
) -> Row:
    """The task once it has ended or moved past `after`, or as it stands when the time is up.

    `look` is asked for it whenever there may be something new, and raises what ends the waiting.
    """
    tail = request.config_dict[TAIL]
    deadline = None if seconds is None else time.monotonic() + seconds
    with tail.watch_command(task_id) as news:
        heard = seconds != 0
        while True:
            news.clear()
            task = await look()
            moved = task["status"] in tasks.FINAL or (after is not None and task["seq"] > after)
            if moved or tail.closing or not heard:
                return task
            heard = await _wait_for_news(news, deadline)


async def _wait_for_news(news: asyncio.Event, deadline: float | None) -> bool:
    try:
        async with asyncio.timeout(None if deadline is None else max(0.0, deadline - time.monotonic())):
            await news.wait()
    except TimeoutError:
        return False
    return True


@contextmanager
def while_connected(request: web.Request) -> Iterator[None]:
    """A block that only waits: it is cancelled when its client hangs up."""
    connection: Any = request.protocol
    connection.waiting = True
    try:
        yield
    finally:
        connection.waiting = False


def choose_request_id(request: web.BaseRequest) -> str:
    """The client's own, if it is one that may stand in a log; else a new one."""
    given = request.headers.get("X-Request-Id", "")
    return given if VISIBLE_ID.match(given) else secrets.token_hex(16)


@web.middleware
async def log_requests(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Outermost: the request id, one log line and one measurement per request."""
    request[REQUEST_ID] = choose_request_id(request)
    # A connection's requests are handled one after the other, each of which says its own.
    REQUEST.set(request[REQUEST_ID])
    started = time.perf_counter()
    status = 500
    try:
        response = await handler(request)
        status = response.status
        if not response.prepared:
            response.headers["X-Request-Id"] = request[REQUEST_ID]
            response.headers["X-Content-Type-Options"] = "nosniff"
        return response
    except web.HTTPException as refused:
        status = refused.status
        raise
    except asyncio.CancelledError:
        status = CLIENT_CLOSED
        raise
    finally:
        seconds = time.perf_counter() - started
        REQUESTS.labels(request.get(DIALECT, ""), request.method, str(status)).observe(seconds)
        log.info("request", method=request.method, path=request.path, status=status, ms=round(seconds * 1000, 1))


@web.middleware
async def collapse_slashes(request: web.Request, handler: Handler) -> web.StreamResponse:
    """An address with doubled slashes is the one without.

    Clients put together what ends in a slash, or leave a gap where a project has no namespace.
    """
    url = request.rel_url
    if "//" not in url.raw_path:
        return await handler(request)
    # Browsers take a backslash for a slash and leave tabs out: unquoted, they would make a host of what follows.
    there = quote(SLASHES.sub("/", url.raw_path), safe=PATH_SAFE)
    query = f"?{url.raw_query_string}" if url.raw_query_string else ""
    return web.Response(status=308, headers={"Location": there + query})
