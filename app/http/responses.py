"""Responses that every dialect shares."""

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import orjson
from aiohttp import web

NO_STORE = {"Cache-Control": "no-store"}  # for responses that contain a secret


def json_reply(
    body: Any, status: int = 200, *, headers: Mapping[str, str] | None = None, media: str = "application/json"
) -> web.Response:
    return web.Response(body=orjson.dumps(body), status=status, headers=headers, content_type=media, charset="utf-8")


def format_moment(at: datetime | None) -> str | None:
    """Format a time as RFC 3339, in UTC with milliseconds."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z") if at else None


def add_etag(request: web.Request, response: web.StreamResponse) -> web.StreamResponse:
    """Add an ETag to the response to a GET, or return 304 if the client has this version already."""
    if request.method not in ("GET", "HEAD") or response.status != 200 or not isinstance(response, web.Response):
        return response
    if not isinstance(response.body, bytes):
        return response
    etag = hashlib.sha256(response.body).hexdigest()[:32]
    response.etag = etag
    if any(known.value in ("*", etag) for known in request.if_none_match or ()):
        return web.Response(status=304, headers={"ETag": response.headers["ETag"]})
    return response
