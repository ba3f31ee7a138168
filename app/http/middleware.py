"""Middlewares of the whole application: request ids, request log, doubled slashes."""

import asyncio
import re
import secrets
import time
from urllib.parse import quote

from aiohttp import web

from app.http.keys import DIALECT, REQUEST_ID
from app.http.routes import Handler
from app.logs import REQUEST, log
from app.metrics import REQUESTS

VISIBLE_ID = re.compile(r"[!-~]{1,128}\Z")
SLASHES = re.compile("/{2,}")
PATH_SAFE = "/%!$&'()*+,;=:@~"
CLIENT_CLOSED = 499  # in the log: the client went away before it was answered


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
