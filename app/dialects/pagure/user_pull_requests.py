"""Endpoints for the pull requests of a user in all projects."""

from typing import Any

from aiohttp import web

from app.actor import Actor
from app.database import Row
from app.dialects.pagure import filters, forms, render
from app.dialects.pagure.urls import PagureRoutes
from app.http import requests
from app.http.keys import DATABASE
from app.http.responses import json_reply
from app.queries import user_pull_requests
from app.queries.paging import Listing
from app.queries.user_pull_requests import UserPullRequestFilter

routes = PagureRoutes()


@routes.call("GET", "/user/{username}/requests/filed", "list-user-items")
async def list_filed(request: web.Request, actor: Actor) -> web.Response:
    return await _list(request, actor, "author")


@routes.call("GET", "/user/{username}/requests/actionable", "list-user-items")
async def list_actionable(request: web.Request, actor: Actor) -> web.Response:
    return await _list(request, actor, "actionable_by")


async def _list(request: web.Request, actor: Actor, role: str) -> web.Response:
    """List the pull requests in which the user has this role."""
    query, name = forms.Query(request), request.match_info["username"]
    page, status = query.page(), query.text("status") or "open"
    pull_request_filter = UserPullRequestFilter(
        **{role: name, **filters.read_ranges(query)},
        status=None if status.lower() == "all" else status.capitalize(),
    )
    found = Listing([], 0, page)
    if requests.is_storable(name):
        found = await user_pull_requests.search(request.config_dict[DATABASE], pull_request_filter, page, actor)
    return json_reply(
        {
            "args": {
                "closed": query.text("closed"),
                "created": query.text("created"),
                "page": page.number,
                "status": status,
                "updated": query.text("updated"),
                "username": name,
            },
            "pagination": render.pagination(request, found),
            "requests": _render(request, actor, found.rows),
            "total_requests": len(found.rows),
        }
    )


def _render(request: web.Request, actor: Actor, rows: list[Row]) -> list[dict[str, Any]]:
    base = render.base_url(request)
    return [render.pull_request(base, row["target"], row, actor) for row in rows]
