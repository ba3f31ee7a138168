"""Route tables of the native API: how credentials are read, and the order in which requests are refused."""

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
        """Register a handler outside of projects."""
        return self.add(method, path, action, lookup=lookup)

    def project(self, method: str, path: str, action: str) -> Register:
        """Register a handler below /projects/{path}."""
        return self.add(method, "/projects/{path:.+}" + path, action, lookup=lookup, of_project=True)


def lookup(request: web.Request) -> tuple[Any, ...]:
    """Build the lookup of the project that the path names."""
    return lookup_by_path(request.match_info["path"])


def read_token(request: web.Request) -> str | None:
    """Read the token after `Bearer` or `token`, which mean the same. Raises BadToken."""
    sent = read_credentials(request)
    if sent.scheme and (sent.scheme not in ("bearer", "token") or not sent.secret):
        raise BadToken("scheme")
    return sent.secret


async def identify(request: web.Request) -> Actor:
    """Return the owner of the token, or NOBODY without one. Raises BadToken."""
    return await auth.identify(request, read_token(request))


async def admit(request: web.Request, route: Route) -> tuple[Actor, Row | None]:
    """Check in this order: the token, the project, then the requirements of the action."""
    statement = route.lookup(request) if route.lookup else (None,)
    actor, row = await identify_with_row(request, read_token(request), *statement)
    if isinstance(actor, BadToken):
        raise actor
    require_user(actor, route.action)
    if route.of_project:
        if row is None:
            raise NotFound(Subject.PROJECT)
        # A hidden project is answered like a missing one, whatever the token lacks.
        access.require_readable(actor, row)
    access.authorize(actor, route.action, row if route.of_project else None)
    return actor, row
