"""Middlewares of the whole application: request ids, request log, duplicate slashes."""

import asyncio
import re
import secrets
import time
from urllib.parse import quote

from aiohttp import web

from app.http.keys import ANY_SLASHES, DIALECT, REQUEST_ID
from app.http.routes import Handler
from app.logs import REQUEST, log
from app.metrics import REQUESTS

VISIBLE_ID = re.compile(r"[!-~]{1,128}\Z")
SLASHES = re.compile("/{2,}")
SECRET_SEGMENT = re.compile("(/ci/jenkins/.*/)[^/]+(/+build-finished)")  # a CI server's token
PATH_SAFE = "/%!$&'()*+,;=:@~"
CLIENT_CLOSED = 499  # status in the log when the client hung up before the response


def choose_request_id(request: web.BaseRequest) -> str:
    """Return the client's request id if it is safe to log, or a new one."""
    given = request.headers.get("X-Request-Id", "")
    return given if VISIBLE_ID.match(given) else new_request_id()


def new_request_id() -> str:
    return secrets.token_hex(16)


@web.middleware
async def log_requests(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Assign the request id, and log and measure every request. This is the outermost middleware."""
    request[REQUEST_ID] = choose_request_id(request)
    # The requests of a connection are handled one after another in one task, so each sets the variable anew.
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
        path = SECRET_SEGMENT.sub(r"\1***\2", request.path)
        log.info("request", method=request.method, path=path, status=status, ms=round(seconds * 1000, 1))


@web.middleware
async def collapse_slashes(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Redirect paths with duplicate slashes to the path without.

    Clients produce them by joining parts that end in a slash, or by leaving the namespace of a project empty.
    """
    url = request.rel_url
    if "//" not in url.raw_path or request.match_info.route in request.app.get(ANY_SLASHES, ()):
        return await handler(request)
    # Browsers read a backslash as a slash and drop tabs: unquoted, what follows could become a host.
    location = quote(SLASHES.sub("/", url.raw_path), safe=PATH_SAFE)
    query = f"?{url.raw_query_string}" if url.raw_query_string else ""
    return web.Response(status=308, headers={"Location": location + query})
