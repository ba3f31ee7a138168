"""Git over HTTP: clone, fetch and push, streamed both ways."""

import asyncio
import re
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from aiohttp import web

from app.actor import Actor
from app.core import paths
from app.core.access import authorize, is_blocked, is_bound_elsewhere, may, require_scope
from app.core.credentials import BadToken
from app.core.pushes import recording_moves
from app.database import Row
from app.errors import Forbidden, Refused
from app.git import receive, store
from app.git.process import serve
from app.http.auth import identify_with_row, read_credentials, require_owner
from app.http.commands import ref_writer
from app.http.errors import Unavailable, Unexpected, fence
from app.http.keys import RESPONSE_STARTED, SETTINGS
from app.http.projects import lookup_by_path
from app.http.routes import Handler, Route, Routes
from app.logs import log
from app.transports import report_status
from app.transports.pktline import MalformedPush, PushCommands, read_commands
from app.transports.push_authorization import PushDecision, authorize_push, describe_verdicts

CHUNK = 1 << 16
MAX_STDERR = 4096
PROTOCOL = re.compile(r"version=[012]\Z")
NO_CACHE = {"Cache-Control": "no-cache, max-age=0, must-revalidate", "Pragma": "no-cache"}
RECEIVE_PACK = "git-receive-pack"


def text_reply(status: int, text: str, headers: Mapping[str, str] | None = None) -> web.Response:
    """Git shows the text of an error to its user."""
    return web.Response(status=status, text=f"{text}\n", headers=headers)


CHALLENGE = {"WWW-Authenticate": 'Basic realm="Polyforge", charset="UTF-8"'}


class HttpReply(Exception):
    """The request ends here, with this answer."""

    def __init__(self, response: web.Response) -> None:
        super().__init__(response.status)
        self.response = response


def lookup(request: web.Request) -> tuple[Any, ...]:
    """The project that the path names; forks are found under `forks/` too."""
    path = request.match_info["path"]
    return lookup_by_path("fork/" + path.removeprefix("forks/") if path.startswith("forks/") else path)


async def admit(request: web.Request, route: Route) -> tuple[Actor, Row]:
    """The actor and the project, if the service is theirs. Raises HttpReply.

    A project that the actor may not see is reported as missing, and whoever brings no credentials is asked for some:
    so nobody learns which repositories there are.
    """
    try:
        given = read_credentials(request)
        actor, project = await identify_with_row(request, given.secret, *lookup(request))
        if isinstance(actor, BadToken):
            raise actor
        require_owner(actor, given.username)
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
    """Whether the token may do git's work here. Reading a private project over git takes the scope of pushing."""
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
    """What the client speaks, if it is one of the versions there are."""
    asked = request.headers.get("Git-Protocol", "")
    return asked if PROTOCOL.match(asked) else ""


async def advertise(request: web.Request, _: Actor, project: Row) -> web.StreamResponse:
    """The refs, which open every conversation."""
    service = request.query.get("service", "")
    if service not in ("git-upload-pack", RECEIVE_PACK):
        return text_reply(403, "Only git's smart protocol is spoken here.")
    repo_path = store.repository_path(request.config_dict[SETTINGS].repositories, project["project_id"])
    response = web.StreamResponse(headers={**NO_CACHE, "Content-Type": f"application/x-{service}-advertisement"})
    settings = request.config_dict[SETTINGS]
    if request.method == "HEAD":
        return web.Response(headers=response.headers)
    async with asyncio.timeout(settings.git_deadline):
        async with serve(
            service.removeprefix("git-"), repo_path, advertise=True, protocol=read_protocol(request)
        ) as git:
            assert git.stdin is not None  # noqa: S101 - serve opens all three pipes
            git.stdin.close()
            await _start_response(response, request)
            if not (read_protocol(request) == "version=2" and service == "git-upload-pack"):
                banner = f"# service={service}\n".encode()
                await response.write(b"%04x%s0000" % (len(banner) + 4, banner))
            await _copy_output(git, response)
    await response.write_eof()
    return response


async def exchange(request: web.Request, actor: Actor, project: Row) -> web.StreamResponse:
    """The conversation itself: a pack goes out, or comes in and moves refs."""
    service = request.path.rpartition("/")[2]
    if request.content_type != f"application/x-{service}-request":
        return text_reply(415, "This is not a request of git's.")
    settings = request.config_dict[SETTINGS]
    headers = {**NO_CACHE, "Content-Type": f"application/x-{service}-result"}
    async with asyncio.timeout(settings.git_deadline):
        if service != RECEIVE_PACK:
            return await _fetch(request, project, headers)
        commands = await _read_commands(request)
        repo_path = store.repository_path(settings.repositories, project["project_id"])
        judged = await authorize_push(actor, project, repo_path, commands)
        if judged.demands and not receive.are_hooks_executable():
            log.error("hooks cannot be executed", folder=str(receive.HOOKS))
            return text_reply(500, "The forge cannot look at this push; its administrators can see why.")
        if judged.reasons and not judged.commands.ref_commands:
            await _discard(request)
            return web.Response(body=report_status.refuse_all(commands, judged.reasons), headers=headers)
        named = frozenset(ref.decode(errors="surrogateescape") for ref in judged.commands.refs)
        # The client hears of success only when the log knows of it.
        async with recording_moves(ref_writer(request, actor, project), named):
            said = await _push(request, repo_path, judged)
        return web.Response(body=said, headers=headers)


async def _fetch(request: web.Request, project: Mapping[str, Any], headers: Mapping[str, str]) -> web.StreamResponse:
    repo_path = store.repository_path(request.config_dict[SETTINGS].repositories, project["project_id"])
    response = web.StreamResponse(headers=headers)
    async with serve("upload-pack", repo_path, advertise=False, protocol=read_protocol(request)) as git:
        feeding = asyncio.create_task(_feed(request, git))
        try:
            await _start_response(response, request)
            await _copy_output(git, response)
        finally:
            feeding.cancel()
            with suppress(asyncio.CancelledError, ConnectionError, web.HTTPException, web.RequestPayloadError):
                await feeding
    await response.write_eof()
    return response


async def _read_commands(request: web.Request) -> PushCommands:
    """What the push wants. Nothing has been done when it is refused."""
    try:
        commands = await read_commands(request.content)
    except MalformedPush as no:
        raise HttpReply(text_reply(400, str(no))) from None
    if not all(paths.is_storable_ref(ref) for ref in commands.refs):
        raise HttpReply(text_reply(422, "The name of a ref is too long."))
    return commands


async def _push(request: web.Request, repo_path: Path, judged: PushDecision) -> bytes:
    """receive-pack's whole answer, which is short: progress, and a line per ref, also for those kept from it."""
    if not judged.demands:
        return report_status.amend_report(
            judged.commands, await _receive(request, repo_path, judged.commands), judged.reasons
        )
    with ExitStack() as stack:
        judging = receive.run_hooks(judged.demands, atomic=judged.atomic)
        hooks = await asyncio.to_thread(stack.enter_context, judging)
        said = await _receive(request, repo_path, judged.commands, hooks.config, hooks.variables)
        verdicts = await asyncio.to_thread(hooks.verdicts)
    reasons = describe_verdicts(verdicts, judged)
    return report_status.amend_report(judged.commands, said, {**reasons, **judged.reasons})


async def _receive(
    request: web.Request,
    repo_path: Path,
    commands: PushCommands,
    hooks: Mapping[str, str] | None = None,
    variables: Mapping[str, str] | None = None,
) -> bytes:
    limit = str(request.config_dict[SETTINGS].max_push_bytes)
    config = {"receive.maxInputSize": limit, "receive.hideRefs": "refs/pull", **(hooks or {})}
    async with serve(
        "receive-pack", repo_path, advertise=False, protocol=read_protocol(request), config=config, variables=variables
    ) as git:
        assert git.stdout is not None and git.stderr is not None  # noqa: S101, PT018
        feeding = asyncio.create_task(_feed(request, git, commands.sent))
        said, _, _ = await asyncio.gather(git.stdout.read(), _drain(git.stderr), feeding)
        if await git.wait():
            log.warning("receive-pack ended badly", code=git.returncode)
        return said


async def _discard(request: web.Request) -> None:
    """The pack of a push of which nothing is taken: git's client hears of it when it has sent all."""
    limit, taken = request.config_dict[SETTINGS].max_push_bytes, 0
    async for chunk in request.content.iter_chunked(CHUNK):
        taken += len(chunk)
        if taken > limit:
            raise web.HTTPRequestEntityTooLarge(max_size=limit, actual_size=taken)


async def _feed(request: web.Request, git: asyncio.subprocess.Process, begun: bytes = b"") -> None:
    """The request's body into git; it has been inflated already if it came compressed."""
    assert git.stdin is not None  # noqa: S101 - serve opens all three pipes
    limit, taken = request.config_dict[SETTINGS].max_push_bytes, len(begun)
    try:
        with suppress(ConnectionError):  # git has read enough
            git.stdin.write(begun)
            async for chunk in request.content.iter_chunked(CHUNK):
                taken += len(chunk)
                if taken > limit:
                    raise web.HTTPRequestEntityTooLarge(max_size=limit, actual_size=taken)
                git.stdin.write(chunk)
                await git.stdin.drain()
    finally:
        git.stdin.close()  # or git waits for the rest until the deadline


async def _start_response(response: web.StreamResponse, request: web.Request) -> None:
    request[RESPONSE_STARTED] = True
    await response.prepare(request)


async def _copy_output(git: asyncio.subprocess.Process, response: web.StreamResponse) -> None:
    """What git says, as it says it. A pack that was cut short must not look like a whole one."""
    assert git.stdout is not None and git.stderr is not None  # noqa: S101, PT018
    draining = asyncio.create_task(_drain(git.stderr))
    while chunk := await git.stdout.read(CHUNK):
        await response.write(chunk)
    await draining
    if await git.wait():
        log.warning("git ended badly", code=git.returncode)
        raise ConnectionAbortedError("git ended badly")


async def _drain(stream: asyncio.StreamReader) -> bytes:
    """Read to the end, so that git never waits for us, and keep the beginning."""
    kept = b""
    while chunk := await stream.read(CHUNK):
        kept = (kept + chunk)[:MAX_STDERR]
    return kept


def _render_error(request: web.Request, error: Exception) -> web.Response | None:
    match error:
        case HttpReply():
            return error.response
        case Refused():
            return text_reply(404, "Repository not found.")
        case web.RequestPayloadError():
            return text_reply(400, "The request could not be read.")
        case web.HTTPRequestEntityTooLarge():
            return text_reply(413, "The push is too large.")
        case web.HTTPException():
            return text_reply(error.status, error.reason)
        case Unavailable():
            return text_reply(503, "The forge is temporarily unavailable; try again.")
        case Unexpected():
            return text_reply(500, "Internal error.")
    return None


def answer_errors(handler: Handler) -> Handler:
    """Answer errors in text, which git shows to its user."""

    async def fenced(request: web.Request) -> web.StreamResponse:
        return await fence(request, handler, "git", _render_error)

    return fenced


routes = Routes(admit, fence=answer_errors)
for suffix in (".git", ""):
    # A file `info/refs` in a repository has an address of its own.
    routes.add("GET", f"/{{path:(?!.+/raw/.+/f/).+}}{suffix}/info/refs", "read-code", lookup=lookup, of_project=True)(
        advertise
    )
    routes.add("POST", f"/{{path:.+}}{suffix}/git-upload-pack", "read-code", lookup=lookup, of_project=True)(exchange)
    routes.add("POST", f"/{{path:.+}}{suffix}/git-receive-pack", "push", lookup=lookup, of_project=True)(exchange)
