"""Idempotency keys: repeating a request returns the first response and executes nothing twice.

There are two guards. The first response is stored for a day and replayed. And what the request's command stored is kept
with it, in its transaction: if the process dies after the commit but before the response is stored, the retry does not
execute the command again, and renders the response from that. Responses with a secret are neither stored nor rendered
again; the retry is told that the command was carried out.
"""

import hashlib
import re
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID, uuid4

import orjson
from aiohttp import web

from app.actor import Actor
from app.core.credentials import BadToken
from app.database import Database, Row
from app.errors import Conflict, Invalid, Malformed, Subject
from app.http.keys import DATABASE, HELD_KEY
from app.http.requests import BODY_ERRORS
from app.http.routes import Handler
from app.points import Point, reach
from app.stores import idempotency_keys

HEADER = "Idempotency-Key"
MAX_KEY_LENGTH = 255
KEY = re.compile(rf"[!-~]{{1,{MAX_KEY_LENGTH}}}\Z")
WRITES = frozenset({"POST", "PATCH", "PUT", "DELETE"})
STORED_HEADERS = ("Content-Type", "Location", "Link", "Allow", "Retry-After")

AnswerErrors = Callable[[web.Request, Handler], Awaitable[web.StreamResponse]]
Identify = Callable[[web.Request], Awaitable[Actor]]
Writes = Callable[[web.Request], Awaitable[bool]]


async def writes_by_method(request: web.Request) -> bool:
    """Whether the HTTP method of the request is one that writes."""
    return request.method in WRITES


def build_dialect_middleware(answer_errors: AnswerErrors, identify: Identify, writes: Writes = writes_by_method) -> Any:
    """Build a dialect's middleware, which renders its errors and honours the idempotency keys of requests that write.

    `answer_errors` calls a handler and renders what it raises; `identify` finds the actor or raises BadToken; `writes`
    says whether a request writes.
    """

    @web.middleware
    async def dialect_middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        if HEADER not in request.headers:
            return await answer_errors(request, handler)

        async def respond(request: web.Request) -> web.StreamResponse:
            """Render the handler's errors before its response is stored: a refusal is replayed like any response."""
            return await answer_errors(request, handler)

        async def respond_once(request: web.Request) -> web.StreamResponse:
            if not await writes(request):
                return await handler(request)
            return await _replay_or_call(request, respond, identify)

        return await answer_errors(request, respond_once)  # refused keys are rendered here

    return dialect_middleware


async def _replay_or_call(request: web.Request, handler: Handler, identify: Identify) -> web.StreamResponse:
    """Replay the stored response to this key, or call the handler and store its response.

    Raises Refused for a key that is malformed, in use, or was used for another request.
    """
    key = request.headers[HEADER]
    if not KEY.match(key):
        raise Invalid(Subject.IDEMPOTENCY_KEY, limit=MAX_KEY_LENGTH)
    try:
        actor = await identify(request)
    except BadToken:
        return await handler(request)
    if actor.anonymous:
        return await handler(request)
    db: Database = request.config_dict[DATABASE]
    # A user's other tokens may have fewer scopes, so a key belongs to a token.
    principal, fingerprint = str(actor.token_id), await _fingerprint_request(request)
    held = await idempotency_keys.claim(db, principal, key, fingerprint, uuid4())
    if held is None:
        return _replay(await idempotency_keys.find(db, principal, key), fingerprint)
    reach(Point.KEY_CLAIMED)
    request[HELD_KEY] = held
    try:
        response = await handler(request)
        reach(Point.KEY_ANSWERED)
        await _store_response(db, principal, key, held.command_id, response)
    except BaseException:  # also when the client hangs up: the key can be tried again
        await idempotency_keys.release(db, principal, key, held.command_id)
        raise
    return response


async def _fingerprint_request(request: web.Request) -> bytes:
    """Hash what makes two requests the same: method, path and body."""
    digest = hashlib.sha256(f"{request.method} {request.raw_path}\n".encode())
    try:
        await _digest_body(request, digest)
    except BODY_ERRORS:
        raise Malformed(Subject.BODY) from None
    return digest.digest()


async def _digest_body(request: web.Request, digest: "hashlib._Hash") -> None:
    if request.content_type == "multipart/form-data":
        # aiohttp keeps the parsed form for the handler.
        for name, value in (await request.post()).items():
            if isinstance(value, web.FileField):
                content = value.file.read()
                value.file.seek(0)
            else:
                content = value.encode() if isinstance(value, str) else bytes(value)
            digest.update(orjson.dumps([name, len(content)]) + content)
    else:
        digest.update(await request.read())


def _replay(stored: Row | None, fingerprint: bytes) -> web.Response:
    if stored is not None and stored["request"] != fingerprint:
        raise Invalid(Subject.IDEMPOTENCY_KEY_REUSED)
    if stored is None or stored["status"] is None:
        raise Conflict(Subject.IDEMPOTENCY_KEY_IN_USE)
    headers = {**stored["headers"], "Idempotency-Replayed": "true"}
    return web.Response(status=stored["status"], headers=headers, body=stored["body"])


async def _store_response(
    db: Database, principal: str, key: str, command_id: UUID, response: web.StreamResponse
) -> None:
    """Store the response, or release the key: a failure of the server may be retried, and secrets are never stored."""
    body: Any = response.body if isinstance(response, web.Response) else None
    if response.status >= 500 or "no-store" in response.headers.get("Cache-Control", ""):
        await idempotency_keys.release(db, principal, key, command_id)
        return
    headers = {name: response.headers[name] for name in STORED_HEADERS if name in response.headers}
    await idempotency_keys.store_reply(
        db, principal, key, command_id, response.status, orjson.dumps(headers).decode(), bytes(body or b"")
    )
