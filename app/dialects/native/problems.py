"""Error responses of the native API: RFC 9457 problem objects."""

from typing import Any

from aiohttp import web

from app.core.credentials import BadToken
from app.errors import Conflict, Disabled, Forbidden, Invalid, Malformed, NotFound, Refused
from app.http.errors import Unavailable, Unexpected, fence
from app.http.keys import REQUEST_ID
from app.http.responses import add_etag, json_reply
from app.http.routes import Handler
from app.http.wording import describe_refusal

KINDS: dict[type[Refused], tuple[int, str, str]] = {
    NotFound: (404, "not-found", "Not found, or not visible to you."),
    Forbidden: (403, "forbidden", "You do not have permission to do this."),
    Invalid: (422, "invalid", "The request is not valid."),
    Malformed: (400, "bad-request", "The request could not be read."),
    Conflict: (409, "conflict", "The request conflicts with the current state."),
    Disabled: (409, "disabled", "This feature is disabled."),
}
TITLES = {
    400: "The request could not be read.",
    401: "A valid token is required.",
    405: "Method not allowed.",
    408: "The request did not arrive in time.",
    413: "The request is too large.",
    429: "Too many requests; try again later.",
    500: "Internal server error.",
    503: "The database is unavailable; try again.",
}


SCHEME = "Send the token as `Authorization: Bearer TOKEN`."


class ProblemError(Exception):
    """An error that the native API raises itself. `errors` are pairs of JSON pointer and detail."""

    def __init__(
        self, status: int, kind: str, title: str, errors: list[tuple[str, str]] | None = None, detail: str = ""
    ) -> None:
        super().__init__(kind)
        self.status = status
        self.kind = kind
        self.title = title
        self.errors = errors or []
        self.detail = detail or (self.errors[0][1] if self.errors else "")


def invalid_request(*errors: tuple[str, str]) -> ProblemError:
    return ProblemError(422, "invalid", KINDS[Invalid][2], list(errors))


def render_body(request: web.Request, problem: ProblemError) -> dict[str, Any]:
    body: dict[str, Any] = {
        "type": f"/problems/{problem.kind}",
        "title": problem.title,
        "status": problem.status,
        "instance": request[REQUEST_ID],
    }
    if problem.detail:
        body["detail"] = problem.detail
    if problem.errors:
        body["errors"] = [{"pointer": pointer, "detail": detail} for pointer, detail in problem.errors]
    return body


def _from_refusal(refused: Refused) -> ProblemError:
    status, kind, title = KINDS[type(refused)]
    detail = describe_refusal(refused)
    # Without a field to blame, the pointer is that of the whole body.
    errors = [(f"/{refused.field}" if refused.field else "", detail)] if refused.field or status in (409, 422) else None
    return ProblemError(status, kind, title, errors, detail)


def _to_problem(error: Exception) -> ProblemError | None:
    match error:
        case ProblemError():
            return error
        case Refused():
            return _from_refusal(error)
        case BadToken():
            return ProblemError(401, "unauthorized", TITLES[401], detail=SCHEME if error.reason == "scheme" else "")
        case web.HTTPException():
            kind = (error.reason or "error").lower().replace(" ", "-")
            return ProblemError(error.status, kind, TITLES.get(error.status, KINDS[NotFound][2]))
        case Unavailable():
            return ProblemError(503, "unavailable", TITLES[503])
        case Unexpected():
            return ProblemError(500, "internal", TITLES[500])
    return None


def render_error(request: web.Request, error: Exception) -> web.Response | None:
    problem = _to_problem(error)
    if problem is None:
        return None
    headers = {"WWW-Authenticate": "Bearer"} if problem.status == 401 else {}
    return json_reply(render_body(request, problem), problem.status, headers=headers, media="application/problem+json")


async def answer_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Render the errors of a handler as problem objects, and add an ETag to the replies to GET."""

    async def respond(request: web.Request) -> web.StreamResponse:
        return add_etag(request, await handler(request))

    return await fence(request, respond, "native", render_error)
