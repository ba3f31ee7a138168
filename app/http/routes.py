"""Route tables: each route declares an action, and the action's checks are enforced before the handler runs."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from app.actor import Actor
from app.core import access
from app.core.access import ACTIONS, Token
from app.database import Row
from app.http.commands import recall_project
from app.http.keys import ACTION, ANY_SLASHES
from app.http.rate_limits import charge_request

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Fence = Callable[[Handler], Handler]
# Returns the statement that finds the row a request is about, and its arguments; (None,) if there is no such row.
Lookup = Callable[[web.Request], tuple[Any, ...]]


@dataclass(frozen=True)
class Route:
    """A route and its action.

    `action` is the key in `access.ACTIONS` whose level, scopes and blocks apply to the route. The handler receives the
    request; the actor, unless the action takes no credentials (`Token.NONE`); and the row that `lookup` finds, if the
    route has a lookup. `of_project` says that the row is a project. `terms` belong to the dialect. `cost` is what a
    request counts in rate limits, if that is not what the action says. `any_slashes` says that the path's pattern
    allows for doubled slashes, which are otherwise redirected.
    """

    method: str
    path: str
    action: str
    handler: Callable[..., Awaitable[web.StreamResponse]]
    admit: "Admit"
    lookup: Lookup | None = None
    of_project: bool = False
    terms: Any = None
    fence: Fence | None = field(default=None, repr=False)
    cost: int | None = None
    any_slashes: bool = False

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Identify the actor, find what the request is about, check the action and call the handler."""
        request[ACTION], requirements = self.action, ACTIONS[self.action]
        if requirements.token is Token.NONE:
            return await self.handler(request)
        actor, row = await self.admit(request, self)
        if requirements.writes:
            # Level and block are refused where the dialect's contract refuses them; they are checked again before
            # anything is stored (core/commands.py) or a ref moves (core/pushes.py).
            access.require_scope(actor, self.action)
            if self.of_project and row is not None:
                row = recall_project(request, actor, row)
        else:
            access.authorize(actor, self.action, row if self.of_project else None)
        quota = charge_request(request, actor, self.action, self.cost)
        response = await (self.handler(request, actor) if self.lookup is None else self.handler(request, actor, row))
        if quota is not None and not response.prepared:
            response.headers.update(quota.headers())
        return response


# Identifies the actor and finds the row of a route; refuses in the order and words of the dialect.
Admit = Callable[[web.Request, Route], Awaitable[tuple[Actor, Row | None]]]
Register = Callable[[Callable[..., Awaitable[web.StreamResponse]]], Callable[..., Awaitable[web.StreamResponse]]]


class Routes(list[Route]):
    """A route table. It takes no route whose action is unknown or does not say which token it takes."""

    def __init__(self, admit: Admit, routes: "list[Route] | None" = None, *, fence: Fence | None = None) -> None:
        super().__init__(routes or [])
        self.admit = admit
        self.fence = fence

    def add(
        self,
        method: str,
        path: str,
        action: str,
        *,
        lookup: Lookup | None = None,
        of_project: bool = False,
        terms: Any = None,
        cost: int | None = None,
        any_slashes: bool = False,
    ) -> Register:
        """Register a handler. Raises LookupError if the action, or the token that it takes, is not declared."""
        if action not in ACTIONS:
            raise LookupError(f"{method} {path}: unknown action {action!r}")
        if not ACTIONS[action].token:
            raise LookupError(f"{method} {path}: the action {action!r} declares no token")

        def register(
            handler: Callable[..., Awaitable[web.StreamResponse]],
        ) -> Callable[..., Awaitable[web.StreamResponse]]:
            self.append(
                Route(
                    method, path, action, handler, self.admit, lookup, of_project, terms, self.fence, cost, any_slashes
                )
            )
            return handler

        return register


async def admit_nobody(request: web.Request, route: Route) -> tuple[Actor, Row | None]:
    """Fail: this is for route tables whose actions all take no credentials (`Token.NONE`)."""
    raise LookupError(f"{route.path} takes credentials")


def mount(routes: "list[Route]", app: web.Application) -> None:
    for route in routes:
        handler = route.fence(route.serve) if route.fence else route.serve
        if route.method == "GET":
            mounted = app.router.add_get(route.path, handler)
        else:
            mounted = app.router.add_route(route.method, route.path, handler)
        if route.any_slashes:
            app.setdefault(ANY_SLASHES, set()).add(mounted)
