"""Idempotency keys: a request that is sent again gets the first answer, and nothing is done twice.

Two guards. The first answer is kept for a day and replayed. And the key settles, before anything is done, which id the
request's command will have: should the process die between the commit and the keeping, the second try finds
its command carried out already and does not do it again.
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
from app.http.keys import COMMAND_ID, DATABASE
from app.http.requests import BODY_ERRORS
from app.http.routes import Handler
from app.stores import idempotency_keys

HEADER = "Idempotency-Key"
MAX_KEY_LENGTH = 255
KEY = re.compile(rf"[!-~]{{1,{MAX_KEY_LENGTH}}}\Z")
WRITES = frozenset({"POST", "PATCH", "PUT", "DELETE"})
KEPT_HEADERS = ("Content-Type", "Location", "Link", "Allow", "Retry-After")

RenderErrors = Callable[[web.Request, Handler], Awaitable[web.StreamResponse]]
Identify = Callable[[web.Request], Awaitable[Actor]]


def dialect_middleware(answer: RenderErrors, identify: Identify) -> Any:
    """A dialect's middleware: `answer` runs a handler and says in the dialect's words what goes wrong, the keys of
    this module included; `identify` reads who asks, or raises BadToken.
    """

    @web.middleware
    async def speak(request: web.Request, handler: Handler) -> web.StreamResponse:
        if HEADER not in request.headers or request.method not in WRITES:
            return await answer(request, handler)

        async def answered(request: web.Request) -> web.StreamResponse:
            return await answer(request, handler)

        return await answer(request, lambda request: run_once(request, answered, identify))

    return speak


async def run_once(request: web.Request, handler: Handler, identify: Identify) -> web.StreamResponse:
    """The handler's answer, or the one it gave when this request came first. Raises Refused for a key that clashes."""
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
    # Another token of theirs may be allowed less, so it is another principal.
    who, fingerprint = str(actor.token_id), await _fingerprint_request(request)
    command_id = await idempotency_keys.claim(db, who, key, fingerprint, uuid4())
    if command_id is None:
        return _replay(await idempotency_keys.find(db, who, key), fingerprint)
    request[COMMAND_ID] = command_id
    try:
        response = await handler(request)
        await _store_reply(db, who, key, command_id, response)
    except BaseException:  # a client that hung up included: the key is free to be tried again; it is raised again
        await idempotency_keys.release(db, who, key, command_id)
        raise
    return response


async def _fingerprint_request(request: web.Request) -> bytes:
    """What makes two requests the same: method, path and body."""
    digest = hashlib.sha256(f"{request.method} {request.raw_path}\n".encode())
    try:
        await _digest_body(request, digest)
    except BODY_ERRORS:
        raise Malformed(Subject.BODY) from None
    return digest.digest()


async def _digest_body(request: web.Request, digest: "hashlib._Hash") -> None:
    if request.content_type == "multipart/form-data":
        # Read once and for all: the handler finds the parsed form.
        for name, value in (await request.post()).items():
            if isinstance(value, web.FileField):
                content = value.file.read()
                value.file.seek(0)
            else:
                content = value.encode() if isinstance(value, str) else bytes(value)
            digest.update(orjson.dumps([name, len(content)]) + content)
    else:
        digest.update(await request.read())


def _replay(held: Row | None, fingerprint: bytes) -> web.Response:
    if held is not None and held["request"] != fingerprint:
        raise Invalid(Subject.IDEMPOTENCY_KEY_REUSED)
    if held is None or held["status"] is None:
        raise Conflict(Subject.IDEMPOTENCY_KEY_IN_USE)
    headers = {**held["headers"], "Idempotency-Replayed": "true"}
    return web.Response(status=held["status"], headers=headers, body=held["body"])


async def _store_reply(db: Database, who: str, key: str, command_id: UUID, response: web.StreamResponse) -> None:
    """What went wrong on our side may go better the next time; a secret is shown once and kept nowhere."""
    body: Any = response.body if isinstance(response, web.Response) else None
    if response.status >= 500 or "no-store" in response.headers.get("Cache-Control", ""):
        await idempotency_keys.release(db, who, key, command_id)
        return
    headers = {name: response.headers[name] for name in KEPT_HEADERS if name in response.headers}
    await idempotency_keys.store_reply(
        db, who, key, command_id, response.status, orjson.dumps(headers).decode(), bytes(body or b"")
    )
