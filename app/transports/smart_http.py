"""Git over HTTP: clone, fetch and push, streamed both ways."""

import asyncio
import base64
import binascii
import re
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from aiohttp import web

from app.core import credentials, paths, push_policy
from app.core.access import Actor, may, token_allows
from app.core.credentials import BadToken
from app.core.pushes import moving
from app.database import UNAVAILABLE, unavailable
from app.errors import NotFound, Refused
from app.git import receive, store
from app.git.process import serve
from app.logs import log
from app.queries import projects
from app.transports import report
from app.transports.judgement import Judgement, judge
from app.transports.pktline import Commands, Unreadable, read_commands
from app.web import DATABASE, DIALECT, SETTINGS, Handler, Routes, writer

ANSWERING = web.RequestKey("answering", bool)  # too late for another status

routes = Routes()

CHUNK = 1 << 16
STDERR_KEPT = 4096
PROTOCOL = re.compile(r"version=[012]\Z")
NO_CACHE = {"Cache-Control": "no-cache, max-age=0, must-revalidate", "Pragma": "no-cache"}
WRITING = "git-receive-pack"


def plain(status: int, text: str, headers: Mapping[str, str] | None = None) -> web.Response:
    """Git shows the text of an error to its user."""
    return web.Response(status=status, text=f"{text}\n", headers=headers)


CHALLENGE = {"WWW-Authenticate": 'Basic realm="Polyforge", charset="UTF-8"'}


class Turned(Exception):
    """The request ends here, with this answer."""

    def __init__(self, response: web.Response) -> None:
        super().__init__(response.status)
        self.response = response


async def actor_of(request: web.Request) -> Actor:
    """Whoever the credentials speak for; the token is the password, or stands alone."""
    header = request.headers.get("Authorization")
    if header is None:
        return await credentials.identify(request.config_dict[DATABASE], None)
    scheme, _, value = header.partition(" ")
    token: str | None = value.strip()
    user = None
    if scheme.lower() == "basic":
        try:
            user, _, token = base64.b64decode(value).decode().partition(":")
        except (ValueError, binascii.Error):
            token = None
        if token is None:
            raise Turned(plain(401, "These credentials cannot be read.", CHALLENGE))
        if not token:
            user, token = None, user
    try:
        actor = await credentials.identify(request.config_dict[DATABASE], token or "")
    except BadToken:
        raise Turned(plain(401, "This token is unknown or has expired.", CHALLENGE)) from None
    if user and user not in (actor.username, "git", "token", "oauth2", "x-access-token"):
        raise Turned(plain(401, "This token belongs to somebody else.", CHALLENGE))
    return actor


async def repository(request: web.Request, service: str) -> tuple[Mapping[str, Any], Actor]:
    """The project, if it is there and the actor may do this: nobody is asked who they are, others see nothing."""
    actor = await actor_of(request)
    missing = plain(401, "Who are you?", CHALLENGE) if actor.anonymous else plain(404, "There is no such repository.")
    path = request.match_info["path"]
    if path.startswith("forks/"):
        path = "fork/" + path.removeprefix("forks/")
    if not path.isprintable():
        raise Turned(missing)
    try:
        project = await projects.by_address(request.config_dict[DATABASE], paths.address_of(path))
    except NotFound:
        raise Turned(missing) from None
    if not may(actor, "read-code", project) or project["head"] is None:
        raise Turned(missing)
    if not token_allows(actor, "commit", project["project_id"]) and project["private"]:
        raise Turned(missing)
    if service == WRITING and not (
        may(actor, "push", project) and token_allows(actor, "commit", project["project_id"])
    ):
        raise Turned(missing if actor.anonymous else plain(403, "You may not push to this repository."))
    return project, actor


def protocol(request: web.Request) -> str:
    """What the client speaks, if it is one of the versions there are."""
    asked = request.headers.get("Git-Protocol", "")
    return asked if PROTOCOL.match(asked) else ""


async def advertise(request: web.Request) -> web.StreamResponse:
    """The refs, which open every conversation."""
    service = request.query.get("service", "")
    if service not in ("git-upload-pack", WRITING):
        return plain(403, "Only git's smart protocol is spoken here.")
    project, _ = await repository(request, service)
    place = store.directory(request.config_dict[SETTINGS].repositories, project["project_id"])
    response = web.StreamResponse(headers={**NO_CACHE, "Content-Type": f"application/x-{service}-advertisement"})
    settings = request.config_dict[SETTINGS]
    if request.method == "HEAD":
        return web.Response(headers=response.headers)
    async with asyncio.timeout(settings.git_deadline):
        async with serve(service.removeprefix("git-"), place, advertise=True, protocol=protocol(request)) as git:
            assert git.stdin is not None  # noqa: S101 - serve opens all three pipes
            git.stdin.close()
            await _begin(response, request)
            if not (protocol(request) == "version=2" and service == "git-upload-pack"):
                banner = f"# service={service}\n".encode()
                await response.write(b"%04x%s0000" % (len(banner) + 4, banner))
            await _answer(git, response)
    await response.write_eof()
    return response


async def exchange(request: web.Request) -> web.StreamResponse:
    """The conversation itself: a pack goes out, or comes in and moves refs."""
    service = request.path.rpartition("/")[2]
    project, actor = await repository(request, service)
    if request.content_type != f"application/x-{service}-request":
        return plain(415, "This is not a request of git's.")
    settings = request.config_dict[SETTINGS]
    headers = {**NO_CACHE, "Content-Type": f"application/x-{service}-result"}
    async with asyncio.timeout(settings.git_deadline):
        if service != WRITING:
            return await _fetch(request, project, headers)
        commands = await _commands(request)
        place = store.directory(settings.repositories, project["project_id"])
        judged = await judge(actor, project, place, commands)
        if judged.demands and not receive.ready():
            log.error("hooks cannot be executed", folder=str(receive.HOOKS))
            return plain(500, "The forge cannot look at this push; its administrators can see why.")
        if judged.reasons and not judged.commands.asked:
            await _discard(request)
            return web.Response(body=report.refused(commands, judged.reasons), headers=headers)
        named = frozenset(ref.decode(errors="surrogateescape") for ref in judged.commands.refs)
        # The client hears of success only when the log knows of it.
        async with moving(writer(request, actor, project), named):
            said = await _push(request, place, judged)
        return web.Response(body=said, headers=headers)


async def _fetch(request: web.Request, project: Mapping[str, Any], headers: Mapping[str, str]) -> web.StreamResponse:
    place = store.directory(request.config_dict[SETTINGS].repositories, project["project_id"])
    response = web.StreamResponse(headers=headers)
    async with serve("upload-pack", place, advertise=False, protocol=protocol(request)) as git:
        feeding = asyncio.create_task(_feed(request, git))
        try:
            await _begin(response, request)
            await _answer(git, response)
        finally:
            feeding.cancel()
            with suppress(asyncio.CancelledError, ConnectionError, web.HTTPException, web.RequestPayloadError):
                await feeding
    await response.write_eof()
    return response


async def _commands(request: web.Request) -> Commands:
    """What the push wants. Nothing has been done when it is refused."""
    try:
        commands = await read_commands(request.content)
    except Unreadable as no:
        raise Turned(plain(400, str(no))) from None
    if not all(paths.storable_ref(ref) for ref in commands.refs):
        raise Turned(plain(422, "The name of a ref is too long."))
    return commands


async def _push(request: web.Request, place: Path, judged: Judgement) -> bytes:
    """receive-pack's whole answer, which is short: progress, and a line per ref, also for those kept from it."""
    if not judged.demands:
        return report.amended(judged.commands, await _receive(request, place, judged.commands), judged.reasons)
    with ExitStack() as stack:
        judging = receive.judging(judged.demands, atomic=judged.atomic)
        hooks = await asyncio.to_thread(stack.enter_context, judging)
        said = await _receive(request, place, judged.commands, hooks.config, hooks.variables)
        verdicts = await asyncio.to_thread(hooks.verdicts)
    reasons = {ref: push_policy.sentence(verdict) for ref, verdict in verdicts.items()}
    if reasons and judged.atomic:
        reasons = {ref: reasons.get(ref, push_policy.TOGETHER) for ref in judged.commands.refs}
    return report.amended(judged.commands, said, {**reasons, **judged.reasons})


async def _receive(
    request: web.Request,
    place: Path,
    commands: Commands,
    hooks: Mapping[str, str] | None = None,
    variables: Mapping[str, str] | None = None,
) -> bytes:
    limit = str(request.config_dict[SETTINGS].max_push_bytes)
    config = {"receive.maxInputSize": limit, "receive.hideRefs": "refs/pull", **(hooks or {})}
    async with serve(
        "receive-pack", place, advertise=False, protocol=protocol(request), config=config, variables=variables
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


async def _begin(response: web.StreamResponse, request: web.Request) -> None:
    request[ANSWERING] = True
    await response.prepare(request)


async def _answer(git: asyncio.subprocess.Process, response: web.StreamResponse) -> None:
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
        kept = (kept + chunk)[:STDERR_KEPT]
    return kept


def _guarded(handler: Handler) -> Handler:
    """Errors in the words git's users read; a conversation that broke is cut off."""

    async def guarded(request: web.Request) -> web.StreamResponse:
        request[DIALECT] = "git"
        try:
            return await handler(request)
        except Turned as turned:
            return turned.response
        except Refused:
            return plain(404, "There is no such repository.")
        except web.RequestPayloadError:
            return plain(400, "The request could not be read.")
        except UNAVAILABLE as trouble:
            if not request.get(ANSWERING) and unavailable(trouble):
                log.warning("database", trouble=type(trouble).__name__)
                return plain(503, "The forge cannot take this at the moment; try again.", {"Retry-After": "1"})
            if not isinstance(trouble, ConnectionError | TimeoutError):
                raise
            if request.transport is not None:
                request.transport.close()
            return web.Response(status=499)

    return guarded


for suffix in (".git", ""):
    # A file `info/refs` in a repository has an address of its own.
    routes.add("GET", f"/{{path:(?!.+/raw/.+/f/).+}}{suffix}/info/refs", "read-code")(_guarded(advertise))
    routes.add("POST", f"/{{path:.+}}{suffix}/git-upload-pack", "read-code")(_guarded(exchange))
    routes.add("POST", f"/{{path:.+}}{suffix}/git-receive-pack", "push")(_guarded(exchange))
