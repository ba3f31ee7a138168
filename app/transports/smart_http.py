"""Git over HTTP: clone, fetch and push, streamed both ways."""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from typing import Any

from aiohttp import web

from app.actor import Actor
from app.core.access import authorize, is_blocked, is_bound_elsewhere, may, require_scope
from app.core.credentials import BadToken
from app.core.pushes import finish_open
from app.database import Row
from app.errors import Conflict, Forbidden, Refused
from app.git import store
from app.git.process import serve
from app.http.addresses import client_address
from app.http.auth import identify_with_row, read_credentials, require_owner
from app.http.commands import ref_writer
from app.http.errors import Unavailable, Unexpected, fence
from app.http.keys import DATABASE, RESPONSE_STARTED, SETTINGS
from app.http.projects import lookup_by_path
from app.http.routes import Handler, Route, Routes
from app.logs import log
from app.points import Point, reach
from app.transports.fetch_slots import Fetch, FetchSlots, NoFreeSlot
from app.transports.pktline import FLUSH, MalformedPush, is_whole
from app.transports.receive_pack import HooksNotExecutable, PushTooLarge, read_beginning, receive_push
from app.transports.wants import CONFIG, find_hidden_want, refuse_want

CHUNK = 1 << 16  # bytes
MAX_STDERR = 4096  # bytes
PROTOCOL = re.compile(r"version=[012]\Z")
NO_CACHE = {"Cache-Control": "no-cache, max-age=0, must-revalidate", "Pragma": "no-cache"}
RECEIVE_PACK = "git-receive-pack"
FETCH_SLOTS = web.AppKey("fetch_slots", FetchSlots)
TOO_MANY_FETCHES = "Too many fetches are being served at the moment; try again."
FETCH_COST = 10  # of rate limits
RETRY_AFTER = "10"  # seconds


def text_reply(status: int, text: str, headers: Mapping[str, str] | None = None) -> web.Response:
    """Answer in text, which git shows to its user."""
    return web.Response(status=status, text=f"{text}\n", headers=headers)


CHALLENGE = {"WWW-Authenticate": 'Basic realm="Polyforge", charset="UTF-8"'}


class HttpReply(Exception):
    """A response that ends the request."""

    def __init__(self, response: web.Response) -> None:
        super().__init__(response.status)
        self.response = response


def lookup(request: web.Request) -> tuple[Any, ...]:
    """Build the lookup of the project that the path names; forks are found under `forks/` too."""
    path = request.match_info["path"]
    return lookup_by_path("fork/" + path.removeprefix("forks/") if path.startswith("forks/") else path)


async def admit(request: web.Request, route: Route) -> tuple[Actor, Row]:
    """Return the actor and the project if the actor may use the service. Raises HttpReply.

    A project that the actor may not see is reported as missing, and anonymous actors are asked for credentials: so the
    responses do not reveal which repositories exist.
    """
    try:
        sent = read_credentials(request)
        actor, project = await identify_with_row(request, sent.secret, *lookup(request))
        if isinstance(actor, BadToken):
            raise actor
        require_owner(actor, sent.username)
    except BadToken:
        raise HttpReply(text_reply(401, "Invalid credentials.", CHALLENGE)) from None
    missing = HttpReply(
        text_reply(401, "Authentication required.", CHALLENGE)
        if actor.anonymous
        else text_reply(404, "Repository not found.")
    )
    if project is None or not may(actor, "read-code", project) or project["head"] is None:
        raise missing
    if project["private"] and not _has_git_token(actor, project):
        raise missing
    if route.action == "push" or request.query.get("service") == RECEIVE_PACK:
        _require_push(actor, project, missing)
    return actor, project


def _has_git_token(actor: Actor, project: Row) -> bool:
    """Whether the token may access a private project over git, which takes the scope of a push."""
    try:
        require_scope(actor, "push")
    except Forbidden:
        return False
    return not is_bound_elsewhere(actor, project)


def _require_push(actor: Actor, project: Row, missing: HttpReply) -> None:
    if actor.anonymous:
        raise missing
    if is_blocked(actor, project):
        raise HttpReply(text_reply(403, "You are blocked from this project."))
    try:
        authorize(actor, "push", project)
    except Forbidden:
        raise HttpReply(text_reply(403, "You do not have permission to push to this repository.")) from None


def read_protocol(request: web.Request) -> str:
    """Read the protocol version that the client asks for; empty if it is unknown."""
    version = request.headers.get("Git-Protocol", "")
    return version if PROTOCOL.match(version) else ""


async def advertise_refs(request: web.Request, _: Actor, project: Row) -> web.StreamResponse:
    """Answer the first request of every fetch and push."""
    service = request.query.get("service", "")
    if service not in ("git-upload-pack", RECEIVE_PACK):
        return text_reply(403, "Only git's smart HTTP protocol is supported.")
    repo_path = store.repository_path(request.config_dict[SETTINGS].repositories, project["project_id"])
    response = web.StreamResponse(headers={**NO_CACHE, "Content-Type": f"application/x-{service}-advertisement"})
    settings = request.config_dict[SETTINGS]
    if request.method == "HEAD":
        return web.Response(headers=response.headers)
    settle = None
    if service == RECEIVE_PACK:
        # A pusher is told of a ref only after the log has its last move: the answer "Everything up-to-date" would
        # otherwise confirm a move that has not been recorded. Waiting here too gives a busy repository an answer.
        settle = partial(finish_open, request.config_dict[DATABASE], settings.repositories, project["project_id"])
        await settle()
    banner = f"# service={service}\n".encode()
    hidden = read_protocol(request) == "version=2" and service == "git-upload-pack"
    async with (
        asyncio.timeout(settings.git_deadline),
        _hold_slot(request, project),
        serve(
            service.removeprefix("git-"), repo_path, advertise=True, protocol=read_protocol(request), config=CONFIG
        ) as git,
    ):
        assert git.stdin is not None  # noqa: S101 - serve opens all three pipes
        git.stdin.close()
        await _send_output(git, request, response, b"" if hidden else b"%04x%s0000" % (len(banner) + 4, banner), settle)
    if service == RECEIVE_PACK:
        reach(Point.PUSH_ADVERTISED)
    return response


async def exchange_pack(request: web.Request, actor: Actor, project: Row) -> web.StreamResponse:
    """Send the pack of a fetch, or receive the pack of a push and move its refs."""
    service = request.path.rpartition("/")[2]
    if request.content_type != f"application/x-{service}-request":
        return text_reply(415, f"The Content-Type must be application/x-{service}-request.")
    settings = request.config_dict[SETTINGS]
    headers = {**NO_CACHE, "Content-Type": f"application/x-{service}-result"}
    async with asyncio.timeout(settings.git_deadline):
        if service != RECEIVE_PACK:
            return await _fetch(request, project, headers)
        report = await receive_push(
            ref_writer(request, actor, project),
            request.content,
            protocol=read_protocol(request),
            max_bytes=settings.max_push_bytes,
            max_refs=settings.max_push_refs,
        )
        reach(Point.PUSH_REPORTED)
        return web.Response(body=report, headers=headers)


async def _fetch(request: web.Request, project: Mapping[str, Any], headers: Mapping[str, str]) -> web.StreamResponse:
    repo_path = store.repository_path(request.config_dict[SETTINGS].repositories, project["project_id"])
    response = web.StreamResponse(headers=headers)
    async with _hold_slot(request, project):
        # Read first: what is wrong with the request is then said before the answer begins.
        body = await _read_fetch_request(request)
        db, project_id = request.config_dict[DATABASE], project["project_id"]
        if (hidden := await find_hidden_want(db, repo_path, project_id, body)) is not None:
            return web.Response(body=refuse_want(hidden), headers=headers)
        async with serve(
            "upload-pack", repo_path, advertise=False, protocol=read_protocol(request), config=CONFIG
        ) as git:
            feed = asyncio.create_task(_write_input(git, body))
            try:
                await _send_output(git, request, response)
            finally:
                feed.cancel()
                await asyncio.wait([feed])
    return response


@asynccontextmanager
async def _hold_slot(request: web.Request, project: Mapping[str, Any]) -> AsyncIterator[None]:
    """Hold one of the slots for fetches. Raises HttpReply if none becomes free in time."""
    connection: Any = request.protocol
    loop = asyncio.get_running_loop()
    fetch = Fetch(
        project["project_id"],
        client_address(request),
        stalled_for=lambda: connection.stalled_for(loop.time()),
        end=lambda: connection.end("unread"),
    )
    async with AsyncExitStack() as stack:
        try:
            await stack.enter_async_context(request.config_dict[FETCH_SLOTS].hold(fetch))
        except NoFreeSlot:
            raise HttpReply(text_reply(503, TOO_MANY_FETCHES, {"Retry-After": RETRY_AFTER})) from None
        yield


async def _read_fetch_request(request: web.Request) -> bytes:
    """Read the body of a fetch: what the client wants and has. Raises HttpReply."""
    limit = request.config_dict[SETTINGS].max_fetch_request_bytes
    body = bytearray()
    async for chunk in request.content.iter_chunked(CHUNK):
        body += chunk
        if len(body) > limit:
            raise HttpReply(text_reply(413, f"The request of a fetch may have {limit:,} bytes at most."))
    # A compressed body that was cut looks complete to aiohttp, and git answers nothing to a part of a request.
    if not is_whole(body) or (read_protocol(request) == "version=2" and not body.endswith(FLUSH)):
        raise HttpReply(text_reply(400, "The request is incomplete."))
    return bytes(body)


async def _write_input(git: asyncio.subprocess.Process, body: bytes) -> None:
    assert git.stdin is not None  # noqa: S101 - serve opens all three pipes
    with suppress(ConnectionError):  # git may exit before it has read everything
        git.stdin.write(body)
        await git.stdin.drain()
    git.stdin.close()


async def _start_response(response: web.StreamResponse, request: web.Request) -> None:
    request[RESPONSE_STARTED] = True
    await response.prepare(request)


async def _send_output(
    git: asyncio.subprocess.Process,
    request: web.Request,
    response: web.StreamResponse,
    beginning: bytes = b"",
    before_end: Callable[[], Awaitable[None]] | None = None,
) -> None:
    """Stream git's output as the response, which starts with git's first bytes, after the `beginning`.

    `before_end` is called when all of the output was read and all but the last chunk was sent. Raises HttpReply if git
    ends with an error before it prints anything, and ConnectionAbortedError if it does later: a truncated pack must not
    look complete.
    """
    assert git.stdout is not None and git.stderr is not None  # noqa: S101, PT018
    drain = asyncio.create_task(read_beginning(git.stderr))
    chunk = await git.stdout.read(CHUNK)
    if not chunk:
        await drain
        if await git.wait():
            log.warning("git failed", code=git.returncode)
            raise HttpReply(text_reply(400, "Git could not read this request."))
    await _start_response(response, request)
    await response.write(beginning)
    while following := await git.stdout.read(CHUNK):
        await response.write(chunk)
        chunk = following
    if before_end is not None:
        await before_end()
    await response.write(chunk)
    await drain
    if await git.wait():
        log.warning("git failed", code=git.returncode)
        raise ConnectionAbortedError("git failed")
    await response.write_eof()


# What git shows to its user; the first kind that fits counts.
ANSWERS: tuple[tuple[type[Exception], int, str], ...] = (
    (Conflict, 503, "The repository is busy; try again."),
    (Refused, 404, "Repository not found."),
    (web.RequestPayloadError, 400, "The request could not be read."),
    (web.HTTPRequestTimeout, 408, "The request did not arrive in time."),
    (web.HTTPTooManyRequests, 429, "Too many requests; try again later."),
    (web.HTTPRequestEntityTooLarge, 413, "The push is too large."),
    (PushTooLarge, 413, "The push is too large."),
    (HooksNotExecutable, 500, "The server cannot check pushes; ask an administrator to look at its log."),
    (Unavailable, 503, "The forge is temporarily unavailable; try again."),
    (Unexpected, 500, "The forge failed to answer; ask an administrator to look at its log."),
)


def _render_error(request: web.Request, error: Exception) -> web.Response | None:
    if isinstance(error, HttpReply):
        return error.response
    if isinstance(error, MalformedPush):
        return text_reply(400, str(error))
    for kind, status, text in ANSWERS:
        if isinstance(error, kind):
            return text_reply(status, text, {"Retry-After": "1"} if status == 503 else None)
    return text_reply(error.status, error.reason) if isinstance(error, web.HTTPException) else None


def answer_errors(handler: Handler) -> Handler:
    """Render errors as text, which git shows to its user."""

    async def fenced(request: web.Request) -> web.StreamResponse:
        return await fence(request, handler, "git", _render_error)

    return fenced


routes = Routes(admit, fence=answer_errors)
add = partial(routes.add, lookup=lookup, of_project=True)
for suffix in (".git", ""):
    # Not the raw file `info/refs` of a repository, which has a URL of its own.
    add("GET", f"/{{path:(?!.+/raw/.+/f/).+}}{suffix}/info/refs", "read-code")(advertise_refs)
    add("POST", f"/{{path:.+}}{suffix}/git-upload-pack", "read-code", cost=FETCH_COST)(exchange_pack)
    add("POST", f"/{{path:.+}}{suffix}/git-receive-pack", "push")(exchange_pack)
