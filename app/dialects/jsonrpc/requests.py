"""Read the envelope of a call: its body and its four keys, which are checked in the order of the dialect."""

import json
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from app.dialects.jsonrpc.dialect import RpcDialect
from app.dialects.jsonrpc.errors import RpcError, mask
from app.http.requests import BODY_ERRORS

HTTP_METHODS = ("GET", "POST")  # by which a call may come
CALL_ID = web.RequestKey("call_id", object)
ENVELOPE = web.RequestKey("envelope", object)
MAX_SHOWN = 1000  # characters of a body that an error shows


@dataclass(frozen=True)
class Envelope:
    """A call as it was sent. `key` and `method` may be anything."""

    key: Any
    method: Any
    args: dict[str, Any]


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _parse_float(text: str) -> float:
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise ValueError("a number is too large")
    return number


def _parse_body(body: bytes) -> dict[str, Any]:
    try:
        parsed = json.loads(body, parse_constant=_refuse_constant, parse_float=_parse_float)
        if not isinstance(parsed, dict):
            raise ValueError("Expecting an object")
        return parsed
    except (ValueError, RecursionError) as error:
        reason = "too deep" if isinstance(error, RecursionError) else mask(str(error))
        raw = repr(mask(body.decode("utf-8", "replace")[:MAX_SHOWN]))
        raise RpcError(f"JSON parse error ERR:{reason} RAW:{raw}") from None


async def read_envelope(request: web.Request, dialect: RpcDialect) -> Envelope:
    """Read the call, once. Raises RpcError; the id that belongs to the answer is in `request[CALL_ID]`."""
    read = request.get(ENVELOPE)
    if not isinstance(read, Envelope):
        read = request[ENVELOPE] = _read_keys(request, dialect, await _read_body(request, dialect))
    return read


async def _read_body(request: web.Request, dialect: RpcDialect) -> dict[str, Any]:
    if request.method not in HTTP_METHODS:
        raise RpcError(f'unsupported request method "{request.method}". Please use POST')
    if "Content-Length" not in request.headers:
        raise RpcError(dialect.words.no_length)
    try:
        body = await request.read()
    except BODY_ERRORS:
        raise RpcError("The body could not be read.") from None
    if not body and dialect.words.empty_body is not None:
        raise RpcError(dialect.words.empty_body)
    return _parse_body(body)


def _read_keys(request: web.Request, dialect: RpcDialect, sent: dict[str, Any]) -> Envelope:
    """Check that the four keys are there, and remember the id for the answer. Raises RpcError."""
    if "id" not in sent and "id:" in sent:  # the samples of both manuals misprint it so
        sent["id"] = sent["id:"]
    if dialect.echoes_id_without_key:
        request[CALL_ID] = sent.get("id")
    keys = [sent[name] for name in ("api_key", "auth_token") if name in sent]
    if dialect.empty_key_is_missing:
        keys = [key for key in keys if key]
    if not keys:
        raise RpcError(dialect.words.missing_key)
    for name in ("id", "method", "args"):
        if name not in sent:
            raise RpcError(dialect.words.missing.format(name=name))
        if name == "id":
            request[CALL_ID] = sent["id"]
    return Envelope(keys[0], sent["method"], sent["args"] if isinstance(sent["args"], dict) else {})
