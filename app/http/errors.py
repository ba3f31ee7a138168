"""One fence around every handler: whatever goes wrong becomes an answer in the dialect's words."""

from collections.abc import Callable

from aiohttp import web

from app.database import is_unavailable
from app.http.keys import DIALECT, RESPONSE_STARTED
from app.http.routes import Handler
from app.logs import log

RETRY_AFTER = "1"  # seconds until a client may try again when the database is away


class Unavailable(Exception):
    """The database or the queue cannot be reached."""


class Unexpected(Exception):
    """A bug, which has been logged."""


# The answer to an error; None for one that the dialect does not know. Each dialect knows its own errors, Refused,
# BadToken, web.HTTPException, Unavailable and Unexpected.
RenderError = Callable[[web.Request, Exception], web.Response | None]


async def fence(request: web.Request, handler: Handler, dialect: str, render: RenderError) -> web.StreamResponse:
    """Call the handler and answer what it raises.

    Once a response has begun, nothing can be said any more: the connection is cut, so that half an answer does not
    look like a whole one.
    """
    request[DIALECT] = dialect
    try:
        return await handler(request)
    except web.HTTPException as error:
        if error.status < 400:
            raise
        return _cut(request) or _render_http_error(request, error, render)
    except Exception as error:
        return _cut(request, error) or _render_failure(request, error, render)


def _cut(request: web.Request, error: Exception | None = None) -> web.Response | None:
    if not request.get(RESPONSE_STARTED):
        return None
    if error is not None and not isinstance(error, ConnectionError | TimeoutError):
        log.exception("request failed")
    if request.transport is not None:
        request.transport.close()
    return web.Response(status=499)


def _render_http_error(request: web.Request, error: web.HTTPException, render: RenderError) -> web.Response:
    response = render(request, error)
    assert response is not None  # noqa: S101 - every dialect knows HTTP's errors
    if "Allow" in error.headers and "Allow" not in response.headers:
        response.headers["Allow"] = error.headers["Allow"]
    return response


def _render_failure(request: web.Request, error: Exception, render: RenderError) -> web.Response:
    known = render(request, error)
    if known is not None:
        return known
    if is_unavailable(error):
        log.warning("database", error=type(error).__name__)
        failure: Exception = Unavailable()
    else:
        log.exception("request failed")
        failure = Unexpected()
    response = render(request, failure)
    assert response is not None  # noqa: S101 - every dialect knows both
    if isinstance(failure, Unavailable):
        response.headers["Retry-After"] = RETRY_AFTER
    return response
