"""The fence around every handler: it turns exceptions into responses of the dialect."""

from collections.abc import Callable

from aiohttp import web

from app.database import OUTDATED, is_unavailable
from app.http.keys import DIALECT, RESPONSE_STARTED
from app.http.routes import Handler
from app.logs import log

PASSED_ON = ("Allow", "Retry-After", "RateLimit", "RateLimit-Policy")  # headers of errors that every dialect renders
RETRY_AFTER = "1"  # seconds; sent while the database is unavailable


class Unavailable(Exception):
    """The database or the queue cannot be reached."""


class Unexpected(Exception):
    """An unexpected exception, already logged."""


# Renders an error; None for one that the dialect does not know. Each dialect knows its own errors, Refused, BadToken,
# web.HTTPException, Unavailable and Unexpected.
RenderError = Callable[[web.Request, Exception], web.Response | None]


async def fence(request: web.Request, handler: Handler, dialect: str, render: RenderError) -> web.StreamResponse:
    """Call the handler and render what it raises.

    Once a response has started, its status is sent: the connection is closed instead, so that a truncated response
    does not look complete.
    """
    request[DIALECT] = dialect
    try:
        return await handler(request)
    except web.HTTPException as error:
        if error.status < 400:
            raise
        return _abort_started_response(request) or _render_http_error(request, error, render)
    except Exception as error:
        return _abort_started_response(request, error) or _render_failure(request, error, render)


def _abort_started_response(request: web.Request, error: Exception | None = None) -> web.Response | None:
    if not request.get(RESPONSE_STARTED):
        return None
    if error is not None and not isinstance(error, ConnectionError | TimeoutError):
        log.exception("request failed")
    if request.transport is not None:
        request.transport.close()
    return web.Response(status=499)


def _render_http_error(request: web.Request, error: web.HTTPException, render: RenderError) -> web.Response:
    response = render(request, error)
    assert response is not None  # noqa: S101 - every dialect renders HTTP errors
    for name in PASSED_ON:
        if name in error.headers and name not in response.headers:
            response.headers[name] = error.headers[name]
    return response


def _render_failure(request: web.Request, error: Exception, render: RenderError) -> web.Response:
    rendered = render(request, error)
    if rendered is not None:
        return rendered
    if is_unavailable(error):
        log.warning("database", error=type(error).__name__)
        failure: Exception = Unavailable()
    elif isinstance(error, OUTDATED):
        log.exception("outdated")
        failure = Unavailable()
    else:
        log.exception("request failed")
        failure = Unexpected()
    response = render(request, failure)
    assert response is not None  # noqa: S101 - every dialect renders both
    if isinstance(failure, Unavailable):
        response.headers["Retry-After"] = RETRY_AFTER
    return response
