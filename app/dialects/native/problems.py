"""How the native API says no: RFC 9457 problem objects."""

import hashlib
from typing import Any

from aiohttp import web

from app.actor import Actor
from app.core import credentials
from app.core.credentials import BadToken
from app.database import Row, is_unavailable
from app.errors import Conflict, Disabled, Forbidden, Invalid, Malformed, NotFound, Refused
from app.http.keys import DATABASE, DIALECT, REQUEST_ID
from app.http.responses import json_reply
from app.http.routes import Handler
from app.logs import log

KINDS: dict[type[Refused], tuple[int, str, str]] = {
    NotFound: (404, "not-found", "There is no such thing, or you may not see it."),
    Forbidden: (403, "forbidden", "You may not do that."),
    Invalid: (422, "invalid", "The request cannot be granted as it is written."),
    Malformed: (400, "bad-request", "The request could not be read."),
    Conflict: (409, "conflict", "The request clashes with what there is."),
    Disabled: (409, "disabled", "This has been switched off."),
}
TITLES = {
    400: "The request could not be read.",
    401: "A valid token is needed.",
    405: "This method is not offered here.",
    413: "The request is too large.",
    500: "Something went wrong on our side.",
    503: "The database cannot be reached at the moment.",
}


class ProblemError(Exception):
    """An answer that is a problem of this API's own. `errors` are (pointer, detail) pairs."""

    def __init__(self, status: int, kind: str, title: str, errors: list[tuple[str, str]] | None = None) -> None:
        super().__init__(kind)
        self.status = status
        self.kind = kind
        self.title = title
        self.errors = errors or []


def invalid_request(*errors: tuple[str, str]) -> ProblemError:
    return ProblemError(422, "invalid", KINDS[Invalid][2], list(errors))


def render_body(request: web.Request, problem: ProblemError) -> dict[str, Any]:
    said: dict[str, Any] = {
        "type": f"/problems/{problem.kind}",
        "title": problem.title,
        "status": problem.status,
        "instance": request[REQUEST_ID],
    }
    if problem.errors:
        said["errors"] = [{"pointer": pointer, "detail": detail} for pointer, detail in problem.errors]
        said["detail"] = problem.errors[0][1]
    return said


def _from_refusal(refused: Refused) -> ProblemError:
    status, kind, title = KINDS[type(refused)]
    detail = refused.detail or title
    return ProblemError(status, kind, title, [(f"/{refused.subject}", detail)] if status in (409, 422) else None)


async def render_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Whatever goes wrong below /v1 is answered by a problem object."""
    request[DIALECT] = "native"
    headers = {}
    try:
        return _apply_etag(request, await handler(request))
    except ProblemError as own:
        problem = own
    except Refused as refused:
        problem = _from_refusal(refused)
    except BadToken:
        problem = ProblemError(401, "unauthorized", TITLES[401])
    except web.HTTPException as http:
        if http.status < 400:
            raise
        kind = (http.reason or "error").lower().replace(" ", "-")
        problem = ProblemError(http.status, kind, TITLES.get(http.status, KINDS[NotFound][2]))
        headers = {"Allow": http.headers["Allow"]} if "Allow" in http.headers else {}
    except Exception as error:
        if is_unavailable(error):
            log.warning("database", error=type(error).__name__)
            problem, headers = ProblemError(503, "unavailable", TITLES[503]), {"Retry-After": "1"}
        else:
            log.exception("request failed")
            problem = ProblemError(500, "internal", TITLES[500])
    if problem.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return json_reply(render_body(request, problem), problem.status, headers=headers, media="application/problem+json")


def _apply_etag(request: web.Request, response: web.StreamResponse) -> web.StreamResponse:
    """What a GET has shown is named by its ETag; whoever has it still is told so instead of being sent it again."""
    if request.method not in ("GET", "HEAD") or response.status != 200 or not isinstance(response, web.Response):
        return response
    if not isinstance(response.body, bytes):
        return response
    etag = hashlib.sha256(response.body).hexdigest()[:32]
    response.etag = etag
    if any(held.value in ("*", etag) for held in request.if_none_match or ()):
        return web.Response(status=304, headers={"ETag": response.headers["ETag"]})
    return response


def _read_token(request: web.Request) -> str | None:
    """`Bearer` and `token` mean the same."""
    header = request.headers.get("Authorization")
    if header is None:
        return None
    scheme, _, token = header.partition(" ")
    if scheme.lower() not in ("bearer", "token") or not token.strip():
        raise BadToken("unknown")
    return token.strip()


async def identify(request: web.Request) -> Actor:
    """Who asks; nobody without a token."""
    return await credentials.identify(request.config_dict[DATABASE], _read_token(request))


async def identify_with_row(request: web.Request, asked: str, *arguments: Any) -> tuple[Actor, Row | None]:
    """Who asks, and the one row that `asked` finds, in one round trip."""
    db, token = request.config_dict[DATABASE], _read_token(request)
    found, row = await credentials.identify_with_row(db, token, asked, *arguments)
    if isinstance(found, BadToken):
        raise found
    return found, row


async def require_user(request: web.Request) -> Actor:
    actor = await identify(request)
    if actor.anonymous:
        raise ProblemError(401, "unauthorized", TITLES[401])
    return actor
