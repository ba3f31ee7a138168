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

from app.actor import Actor
from app.core import credentials, paths, push_policy
from app.core.access import may, token_allows
from app.core.credentials import BadToken
from app.core.pushes import recording_moves
from app.database import UNAVAILABLE, is_unavailable
from app.errors import NotFound, Refused
from app.git import receive, store
from app.git.process import serve
from app.http.commands import ref_writer
from app.http.keys import DATABASE, DIALECT, SETTINGS
from app.http.routes import Handler, Routes
from app.logs import log
from app.queries import projects
from app.transports import report_status
from app.transports.pktline import MalformedPush, PushCommands, read_commands
from app.transports.push_authorization import PushDecision, authorize_push

RESPONSE_STARTED = web.RequestKey("answering", bool)  # too late for another status

routes = Routes()

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


async def identify(request: web.Request) -> Actor:
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
            raise HttpReply(text_reply(401, "These credentials cannot be read.", CHALLENGE))
        if not token:
            user, token = None, user
    try:
        actor = await credentials.identify(request.config_dict[DATABASE], token or "")
    except BadToken:
        raise HttpReply(text_reply(401, "This token is unknown or has expired.", CHALLENGE)) from None
    if user and user not in (actor.username, "git", "token", "oauth2", "x-access-token"):
        raise HttpReply(text_reply(401, "This token belongs to somebody else.", CHALLENGE))
    return actor


async def find_repository(request: web.Request, service: str) -> tuple[Mapping[str, Any], Actor]:
    """The project, if it is there and the actor may do this: nobody is asked who they are, others see nothing."""
    actor = await identify(request)
    missing = (
        text_reply(401, "Who are you?", CHALLENGE)
        if actor.anonymous
        else text_reply(404, "There is no such repository.")
    )
    path = request.match_info["path"]
    if path.startswith("forks/"):
        path = "fork/" + path.removeprefix("forks/")
    if not path.isprintable():
        raise HttpReply(missing)
    try:
        project = await projects.by_address(request.config_dict[DATABASE], paths.address_from_path(path))
    except NotFound:
        raise HttpReply(missing) from None
    if not may(actor, "read-code", project) or project["head"] is None:
        raise HttpReply(missing)
    if not token_allows(actor, "commit", project["project_id"]) and project["private"]:
        raise HttpReply(missing)
    if service == RECEIVE_PACK and not (
        may(actor, "push", project) and token_allows(actor, "commit", project["project_id"])
    ):
        raise HttpReply(missing if actor.anonymous else text_reply(403, "You may not push to this repository."))
    return project, actor


def read_protocol(request: web.Request) -> str:
    """What the client speaks, if it is one of the versions there are."""
    asked = request.headers.get("Git-Protocol", "")
    return asked if PROTOCOL.match(asked) else ""


async def advertise(request: web.Request) -> web.StreamResponse:
    """The refs, which open every conversation."""
    service = request.query.get("service", "")
    if service not in ("git-upload-pack", RECEIVE_PACK):
        return text_reply(403, "Only git's smart protocol is spoken here.")
    project, _ = await find_repository(request, service)
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


async def exchange(request: web.Request) -> web.StreamResponse:
    """The conversation itself: a pack goes out, or comes in and moves refs."""
    service = request.path.rpartition("/")[2]
    project, actor = await find_repository(request, service)
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
    reasons = {ref: push_policy.describe_verdict(verdict) for ref, verdict in verdicts.items()}
    if reasons and judged.atomic:
        reasons = {ref: reasons.get(ref, push_policy.ATOMIC_REFUSED) for ref in judged.commands.refs}
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


def _render_errors(handler: Handler) -> Handler:
    """Errors in the words git's users read; a conversation that broke is cut off."""

    async def guarded(request: web.Request) -> web.StreamResponse:
        request[DIALECT] = "git"
        try:
            return await handler(request)
        except HttpReply as turned:
            return turned.response
        except Refused:
            return text_reply(404, "There is no such repository.")
        except web.RequestPayloadError:
            return text_reply(400, "The request could not be read.")
        except UNAVAILABLE as error:
            if not request.get(RESPONSE_STARTED) and is_unavailable(error):
                log.warning("database", error=type(error).__name__)
                return text_reply(503, "The forge cannot take this at the moment; try again.", {"Retry-After": "1"})
            if not isinstance(error, ConnectionError | TimeoutError):
                raise
            if request.transport is not None:
                request.transport.close()
            return web.Response(status=499)

    return guarded


for suffix in (".git", ""):
    # A file `info/refs` in a repository has an address of its own.
    routes.add("GET", f"/{{path:(?!.+/raw/.+/f/).+}}{suffix}/info/refs", "read-code")(_render_errors(advertise))
    routes.add("POST", f"/{{path:.+}}{suffix}/git-upload-pack", "read-code")(_render_errors(exchange))
    routes.add("POST", f"/{{path:.+}}{suffix}/git-receive-pack", "push")(_render_errors(exchange))
