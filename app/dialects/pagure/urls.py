"""Pagure's addresses: the four forms of a project, and which route wins when several match."""

from collections.abc import Callable, Iterable

from aiohttp import web

from app.actor import Actor
from app.core import credentials, paths
from app.core.access import is_blocked, require
from app.database import Row
from app.dialects.pagure import auth
from app.dialects.pagure.errors import ApiError
from app.errors import NotFound
from app.http.keys import DATABASE
from app.http.projects import path_segment
from app.http.routes import Handler, Route, Routes

PROJECT_FORMS = (
    "/{repo}",
    "/{namespace}/{repo}",
    "/fork/{username}/{repo}",
    "/fork/{username}/{namespace}/{repo}",
)


class PagureRoutes(Routes):
    """A route table in which `project` stands for the four addresses of a project."""

    def project(self, method: str, path: str, action: str) -> Callable[[Handler], Handler]:
        def register(handler: Handler) -> Handler:
            for form in PROJECT_FORMS:
                self.add(method, form + path, action)(handler)
            return handler

        return register


def sort_routes(routes: Iterable[Route]) -> Routes:
    """In the order of matching: a literal segment beats a placeholder, from left to right."""

    def literal_first(route: Route) -> list[bool]:
        return ["{" in segment for segment in route.path.split("/")]

    return Routes(sorted(routes, key=literal_first))


async def find_project(request: web.Request, admit: auth.Admission) -> tuple[Actor, Row]:
    """Who asks, if the endpoint admits them, and the project that the path names, if they may see it.

    Whoever the project has blocked posts nothing below its address, whatever else they may do.
    """
    repo = path_segment(request, "repo")
    assert repo is not None  # noqa: S101 - every form has one
    address = paths.build_address(repo, path_segment(request, "namespace"), path_segment(request, "username"))
    found, project = await credentials.identify_with_project(
        request.config_dict[DATABASE], auth.read_token(request), address
    )
    actor = admit(found)
    if project is None:
        raise NotFound("project")
    require(actor, "read-project", project)
    if request.method == "POST" and is_blocked(actor, project):
        raise ApiError(403, "EUBLOCKED")
    return actor, project
