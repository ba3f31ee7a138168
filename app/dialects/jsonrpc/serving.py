"""Serve calls: identify the caller, check the action, call the method and answer with one line of JSON."""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from aiohttp import web

from app.actor import Actor
from app.core import access
from app.core.access import ACTIONS
from app.core.credentials import BadToken
from app.dialects.jsonrpc import errors
from app.dialects.jsonrpc.answers import encode_in_thread
from app.dialects.jsonrpc.dialect import Call, RpcDialect
from app.dialects.jsonrpc.errors import RpcError, clean, echo
from app.dialects.jsonrpc.methods import ALIASES, Method, find_similar
from app.dialects.jsonrpc.references import find_repository
from app.dialects.jsonrpc.requests import CALL_ID, ENVELOPE, HTTP_METHODS, Envelope, read_envelope
from app.errors import Forbidden, NotFound, Refused, Subject
from app.git.errors import TooLarge
from app.http import auth
from app.http.commands import recall_project
from app.http.errors import RETRY_AFTER, Unavailable, Unexpected, fence
from app.http.idempotency import build_dialect_middleware
from app.http.keys import ACTION, HELD_KEY
from app.http.rate_limits import charge_request
from app.http.requests import is_storable
from app.http.responses import NO_STORE
from app.http.routes import Handler
from app.http.unrouted import TITLES, render_status
from app.http.wording import describe_refusal

NO_PAGE = (404, 405)  # the only statuses of answers without an envelope


async def reply_with_result(request: web.Request, result: Any) -> web.Response:
    """Answer a call that has succeeded. Raises RpcError for an answer that is too large."""
    try:
        body = await encode_in_thread({"id": request.get(CALL_ID), "result": result, "error": None})
    except TooLarge:
        raise RpcError(errors.TOO_LARGE) from None
    return web.Response(body=body, content_type="application/json", charset="utf-8")


def reply_with_error(request: web.Request, error: str, *, keep: bool = True) -> web.Response:
    """Answer a call that has failed. `keep` is False for an answer that a repeated request must not get again."""
    sent = request.get(ENVELOPE)
    text = clean(error, sent.key if isinstance(sent, Envelope) else None)
    body = json.dumps({"id": request.get(CALL_ID), "result": None, "error": text})
    return web.Response(
        body=body.encode(), content_type="application/json", charset="utf-8", headers=None if keep else NO_STORE
    )


def render_error(request: web.Request, dialect: RpcDialect, error: Exception) -> web.Response | None:
    """Render an error in the words of the dialect; None for one that it does not know."""
    match error:
        case RpcError():
            return reply_with_error(request, str(error))
        case BadToken():
            return reply_with_error(request, dialect.words.bad_key, keep=False)
        case Forbidden():
            return reply_with_error(request, errors.FORBIDDEN)
        case Refused():
            return reply_with_error(request, describe_refusal(error))
        case web.HTTPException() if error.status in NO_PAGE:
            return render_status(request, error.status)
        case web.HTTPException():
            return reply_with_error(request, TITLES.get(error.status, error.reason), keep=False)
        case Unavailable():
            response = reply_with_error(request, errors.UNAVAILABLE, keep=False)
            response.headers["Retry-After"] = RETRY_AFTER
            return response
        case Unexpected():
            return reply_with_error(request, errors.INTERNAL, keep=False)
    return None


def build_handler(dialect: RpcDialect) -> Handler:
    """Build the handler of a dialect's address, with its errors and idempotency keys."""

    async def answer_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
        return await fence(request, handler, dialect.name, lambda request, error: render_error(request, dialect, error))

    async def identify_key(request: web.Request) -> Actor:
        try:
            return await _identify(request, await read_envelope(request, dialect))
        except RpcError:
            raise BadToken("malformed") from None  # the handler renders this error

    async def answer(request: web.Request) -> web.StreamResponse:
        return await _serve(request, dialect)

    async def writes(request: web.Request) -> bool:
        """Whether the method that is called writes, by whatever HTTP method the call has come."""
        try:
            method = _find_method(dialect, (await read_envelope(request, dialect)).method)
        except RpcError:
            return False
        return ACTIONS[method.action].writes

    middleware = build_dialect_middleware(answer_errors, identify_key, writes)

    async def handle(request: web.Request) -> web.StreamResponse:
        response: web.StreamResponse = await middleware(request, answer)
        return response

    return handle


async def _identify(request: web.Request, envelope: Envelope) -> Actor:
    """Find the owner of the key. Raises BadToken, also for a key that is not a valid string."""
    key = envelope.key
    return await auth.identify(request, key if isinstance(key, str) and is_storable(key) else "")


async def _serve(request: web.Request, dialect: RpcDialect) -> web.Response:
    """Carry out a call, its checks in the order of the dialect. Raises RpcError, BadToken and Refused."""
    if not dialect.ignores_extra_slashes and _has_extra_slashes(request):
        raise web.HTTPNotFound
    if not dialect.refuses_http_methods and request.method not in HTTP_METHODS:
        raise web.HTTPMethodNotAllowed(request.method, HTTP_METHODS)
    envelope = await read_envelope(request, dialect)
    if dialect.method_before_key:
        method = _find_method(dialect, envelope.method)
        actor = await _identify(request, envelope)
    else:
        actor = await _identify(request, envelope)
        method = _find_method(dialect, envelope.method)
    request[ACTION] = method.action
    sent = bind(method, envelope.args, dialect)
    access.require_scope(actor, method.action)
    quota = charge_request(request, actor, method.action, None)
    values = read_values(method, sent)
    call = Call(request, actor, dialect, envelope.args)
    response = await reply_with_result(request, await _call(call, method, values))
    if quota is not None:
        response.headers.update(quota.headers())
    return response


def _has_extra_slashes(request: web.Request) -> bool:
    return "//" in request.rel_url.raw_path or request.rel_url.raw_path.endswith("/")


def _find_method(dialect: RpcDialect, name: Any) -> Method:
    if dialect.words.private_method is not None and isinstance(name, str) and name.startswith("_"):
        raise RpcError(dialect.words.private_method)
    method = dialect.methods.get(name) if isinstance(name, str) else None
    if method is None:
        similar = f". Similar methods: {find_similar(dialect.methods, name)}" if dialect.suggests_methods else ""
        raise RpcError(f"No such method: {echo(name)}{similar}")
    return method


async def _call(call: Call, method: Method, values: Mapping[str, Any]) -> Any:
    named = method.repository
    if named is None:
        return await method.call(call, values)
    missing = RpcError(f"repository `{echo(values[named.name])}` does not exist")
    project = await _find_project(call, method, values[named.name])
    if project is None:
        raise missing
    try:
        return await method.call(replace(call, project=project), {**values, named.name: project})
    except Forbidden as refused:
        # A caller who lacks the level gets the same answer as for a repository that does not exist.
        if refused.subject in (Subject.ACTION, Subject.BLOCKED):
            raise missing from None
        raise
    except NotFound as refused:
        if refused.subject is Subject.PROJECT:
            raise missing from None
        raise


async def _find_project(call: Call, method: Method, reference: Any) -> Mapping[str, Any] | None:
    """Find the repository of a call; None if there is none, or the actor lacks what the action takes.

    If the action is one that admits others too, the level is checked later, before its command is executed: RhodeCode
    looks up users and groups first. Raises Forbidden for a token that is bound to another project.
    """
    project: Mapping[str, Any] | None = await find_repository(call.db, reference)
    if project is None and (key := call.request.get(HELD_KEY)) is not None:
        project = key.project  # an earlier attempt has deleted it, or changed its address
    if project is None:
        return None
    try:
        access.authorize(call.actor, method.action, project)
    except NotFound:
        return None
    except Forbidden as refused:
        if refused.subject is Subject.TOKEN:
            raise
        return None
    return recall_project(call.request, call.actor, project)


def bind(method: Method, args: Mapping[str, Any], dialect: RpcDialect) -> dict[str, Any]:
    """Return what was sent for the arguments of a method, by their names. Raises RpcError."""
    names = {argument.name for argument in method.arguments}
    sent = {_resolve_alias(name, names, args): value for name, value in args.items()}
    missing = [argument.name for argument in method.arguments if argument.required and argument.name not in sent]
    if missing:
        raise RpcError(
            f"Missing non optional `{missing[0 if dialect.first_missing_argument else -1]}` arg in JSON DATA"
        )
    unknown = sorted(sent.keys() - names)
    if unknown and not dialect.drops_unknown_arguments:
        raise RpcError(f"Unknown {', '.join(f'`{name}`' for name in unknown)} arg in JSON DATA")
    return {name: value for name, value in sent.items() if name in names}


def read_values(method: Method, sent: Mapping[str, Any]) -> dict[str, Any]:
    """Read the values of arguments. An optional one that is null is absent. Raises RpcError."""
    return {
        argument.name: argument.read(sent[argument.name])
        for argument in method.arguments
        if argument.name in sent and (argument.required or sent[argument.name] is not None)
    }


def _resolve_alias(name: str, names: set[str], args: Mapping[str, Any]) -> str:
    meant = ALIASES.get(name, name)
    return meant if meant in names and meant not in args else name
