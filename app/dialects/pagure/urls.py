"""Route tables of Pagure's API: the four forms of a project's path, the order of routes, and their checks."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from app.actor import Actor
from app.core import access, paths
from app.core.access import ACTIONS
from app.database import Row
from app.dialects.pagure import auth
from app.dialects.pagure.auth import BadTokenPolicy
from app.dialects.pagure.errors import ApiError, bad_token, foreign_token
from app.errors import NotFound, Subject
from app.http.projects import lookup_by_address, path_segment
from app.http.routes import Fence, Lookup, Register, Route, Routes

PROJECT_FORMS = (
    "/{repo}",
    "/{namespace}/{repo}",
    "/fork/{username}/{repo}",
    "/fork/{username}/{namespace}/{repo}",
)


@dataclass(frozen=True)
class Terms:
    """The checks of a route besides its action.

    `bad` says what happens to a bad token if the action takes none. With `own_token`, the token must be bound to the
    project; with `bound`, one that is bound to another project is refused, as it is by every action that writes.
    `requires` raises if the project lacks something, such as a tracker; it is checked before the binding.
    """

    bad: BadTokenPolicy = BadTokenPolicy.IGNORED
    own_token: bool = False
    bound: bool = False
    requires: Callable[[Row], None] | None = None


DEFAULT_TERMS = Terms()


class PagureRoutes(Routes):
    """A route table whose method `project` adds a route for each of the four forms of a project's path."""

    def __init__(self, routes: list[Route] | None = None, *, fence: Fence | None = None) -> None:
        super().__init__(admit, routes, fence=fence)

    def call(
        self,
        method: str,
        path: str,
        action: str,
        *,
        lookup: Lookup | None = None,
        bad: BadTokenPolicy = BadTokenPolicy.IGNORED,
    ) -> Register:
        """Register a handler outside of projects."""
        return self.add(method, path, action, lookup=lookup, terms=Terms(bad))

    def project(
        self,
        method: str,
        path: str,
        action: str,
        *,
        forms: Iterable[str] = PROJECT_FORMS,
        cost: int | None = None,
        **terms: Any,
    ) -> Register:
        """Register a handler below the addresses of a project; `terms` are the fields of `Terms`."""

        def register(handler: Any) -> Any:
            for form in forms:
                route = self.add(
                    method, form + path, action, lookup=lookup, of_project=True, terms=Terms(**terms), cost=cost
                )
                route(handler)
            return handler

        return register


def sort_routes(routes: Iterable[Route]) -> list[Route]:
    """Sort routes for matching: a literal segment comes before a placeholder, from left to right."""
    return sorted(routes, key=lambda route: ["{" in segment for segment in route.path.split("/")])


def lookup(request: web.Request) -> tuple[Any, ...]:
    """Build the lookup of the project that the path names."""
    repo = path_segment(request, "repo")
    assert repo is not None  # noqa: S101 - every form has one
    return lookup_by_address(
        paths.build_address(repo, path_segment(request, "namespace"), path_segment(request, "username"))
    )


async def admit(request: web.Request, route: Route) -> tuple[Actor, Row | None]:
    """Check in Pagure's order: token, project, block, what the project lacks, binding. The command checks the level."""
    terms: Terms = route.terms or DEFAULT_TERMS
    statement = route.lookup(request) if route.lookup else (None,)
    found, row = await auth.identify_with_row(request, *statement)
    actor = auth.admit(found, route.action, terms.bad)
    if not route.of_project:
        if access.exceeds_binding(actor, route.action):
            raise bad_token()
        return actor, row
    if row is None:
        raise NotFound(Subject.PROJECT)
    access.require_readable(actor, row)
    # Pagure checks the block of POST requests only; other methods that write are refused after the level.
    if request.method == "POST" and access.is_blocked(actor, row):
        raise ApiError(403, "EUBLOCKED")
    if terms.requires is not None:
        terms.requires(row)
    _require_binding(actor, route.action, terms, row)
    return actor, row


def _require_binding(actor: Actor, action: str, terms: Terms, project: Row) -> None:
    if terms.own_token and actor.token_project != project["project_id"]:
        raise foreign_token()
    binds = terms.bound or (ACTIONS[action].writes and ACTIONS[action].binds)
    if binds and access.is_bound_elsewhere(actor, project):
        raise foreign_token()
