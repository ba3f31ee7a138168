"""Error responses outside of any dialect: unreadable requests, unknown URLs, the health routes.

The body is a problem object (RFC 9457) with the two keys of Pagure's envelope added, so that clients of either dialect
find what they look for.
"""

from http import HTTPStatus
from typing import Any

import orjson
from aiohttp import web

from app.core.credentials import BadToken
from app.errors import Forbidden, NotFound
from app.http.errors import Unavailable, Unexpected, fence
from app.http.keys import REQUEST_ID
from app.http.middleware import choose_request_id, new_request_id
from app.http.responses import json_reply
from app.http.routes import Handler

TITLES = {
    400: "The request could not be read.",
    401: "Authentication required.",
    403: "You do not have permission to do this.",
    404: "Page not found.",
    405: "Method not allowed.",
    408: "The request did not arrive in time.",
    413: "The request is too large.",
    414: "The address of the request is too long.",
    429: "Too many requests; try again later.",
    431: "A header of the request is too long.",
    500: "Internal server error.",
    503: "The forge cannot answer at the moment; try again.",
}
PROBLEM = "application/problem+json"
STATUSES: dict[type[Exception], int] = {BadToken: 401, Forbidden: 403, NotFound: 404, Unavailable: 503, Unexpected: 500}


def _build_problem(status: int, request_id: str) -> dict[str, Any]:
    """Build the body of an error of no dialect. It repeats nothing that the client sent."""
    phrase = HTTPStatus(status).phrase
    title = TITLES.get(status, phrase)
    return {
        "type": f"/problems/{phrase.lower().replace(' ', '-')}",
        "title": title,
        "status": status,
        "instance": request_id,
        "error": title,
        "error_code": "ENOCODE",
    }


def render_status(request: web.BaseRequest, status: int, headers: dict[str, str] | None = None) -> web.Response:
    """Render an error of no dialect."""
    request_id = request.get(REQUEST_ID) or choose_request_id(request)
    headers = {**(headers or {}), "X-Request-Id": request_id, "X-Content-Type-Options": "nosniff"}
    return json_reply(_build_problem(status, request_id), status, headers=headers, media=PROBLEM)


def render_raw_status(status: int, headers: dict[str, str] | None = None) -> bytes:
    """Render a whole response, with which a connection ends on which there is no request to answer."""
    body = orjson.dumps(_build_problem(status, new_request_id()))
    fields = {
        **(headers or {}),
        "Content-Type": PROBLEM,
        "Content-Length": str(len(body)),
        "Connection": "close",
        "X-Content-Type-Options": "nosniff",
    }
    lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}", *(f"{name}: {text}" for name, text in fields.items())]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def render_error(request: web.Request, error: Exception) -> web.Response | None:
    if isinstance(error, web.HTTPException):
        return render_status(request, error.status)
    status = STATUSES.get(type(error))
    if status is None:
        return None
    return render_status(request, status, {"WWW-Authenticate": "Bearer"} if status == 401 else None)


def answer_errors(handler: Handler) -> Handler:
    """Render the errors of a route that belongs to no dialect."""

    async def fenced(request: web.Request) -> web.StreamResponse:
        return await fence(request, handler, "", render_error)

    return fenced
