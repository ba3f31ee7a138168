"""What every HTTP handler uses: the keys of the application, routes with their actions, bodies, execute."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from aiohttp import web

from app.core.access import ACTIONS

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True)
class Route:
    """One line of a dialect's route table. `action` is the rule in core/access.py that it stands under."""

    method: str
    path: str
    action: str
    handler: Handler


class Routes(list[Route]):
    """A route table; a route that names no known action cannot be written down."""

    def add(self, method: str, path: str, action: str) -> Callable[[Handler], Handler]:
        if action not in ACTIONS:
            raise LookupError(f"{method} {path} declares no known action: {action!r}")

        def register(handler: Handler) -> Handler:
            self.append(Route(method, path, action, handler))
            return handler

        return register

    def mount(self, app: web.Application) -> None:
        for route in self:
            if route.method == "GET":
                app.router.add_get(route.path, route.handler)
            else:
                app.router.add_route(route.method, route.path, route.handler)
