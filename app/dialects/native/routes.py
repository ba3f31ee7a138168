"""Routes below /v1: how their credentials are read and in which order they refuse."""

from typing import Any

from aiohttp import web

from app.actor import Actor
from app.core import access
from app.core.credentials import BadToken
from app.database import Row
from app.errors import NotFound, Subject
from app.http import auth
from app.http.auth import identify_with_row, read_credentials, require_user
from app.http.projects import lookup_by_path
from app.http.routes import Lookup, Register, Route, Routes


class NativeRoutes(Routes):
    """A route table of the native API."""

    def __init__(self) -> None:
        super().__init__(admit)

    def call(self, method: str, path: str, action: str, *, lookup: Lookup | None = None) -> Register:
        """Register a handler that is about no project."""
        return self.add(method, path, action, lookup=lookup)

    def project(self, method: str, path: str, action: str) -> Register:
        """Register a handler below /projects/{path}."""
        return self.add(method, "/projects/{path:.+}" + path, action, lookup=lookup, of_project=True)


def lookup(request: web.Request) -> tuple[Any, ...]:
    """The project that the path names."""
    return lookup_by_path(request.match_info["path"])


def read_token(request: web.Request) -> str | None:
    """The token after `Bearer` or `token`, which mean the same. Raises BadToken."""
    given = read_credentials(request)
    if given.scheme and (given.scheme not in ("bearer", "token") or not given.secret):
        raise BadToken("unknown")
    return given.secret


async def identify(request: web.Request) -> Actor:
    """The user that the token belongs to; nobody without one. Raises BadToken."""
    return await auth.identify(request, read_token(request))


async def admit(request: web.Request, route: Route) -> tuple[Actor, Row | None]:
    """Refuse in this order: token, project, then whatever the action takes."""
    statement = route.lookup(request) if route.lookup else (None,)
    actor, row = await identify_with_row(request, read_token(request), *statement)
    if isinstance(actor, BadToken):
        raise actor
    require_user(actor, route.action)
    if route.of_project and row is None:
        raise NotFound(Subject.PROJECT)
    access.authorize(actor, route.action, row if route.of_project else None)
    return actor, row
