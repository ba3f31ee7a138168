"""Endpoints for users."""

from typing import Any

from aiohttp import web

from app.actor import Actor
from app.database import Row
from app.dialects.pagure import filters, forms, render
from app.dialects.pagure.urls import PagureRoutes
from app.errors import NotFound, Subject
from app.http import requests
from app.http.keys import DATABASE
from app.http.responses import json_reply
from app.queries import projects, user_issues, users
from app.queries.issues import IssueFilter
from app.queries.paging import Listing
from app.queries.user_issues import ORDERS, UserIssueFilter

routes = PagureRoutes()

AVATAR_SIZE = 16  # pixels
FALSE_FLAGS = ("false", "0", "f")


@routes.call("GET", "/users", "list-users")
@routes.call("GET", "/users/", "list-users")
async def list_users(request: web.Request) -> web.Response:
    found = await users.search_emails(request.config_dict[DATABASE], forms.Query(request).text("pattern") or "")
    mention = [
        {"image": render.avatar_url(row["email"], AVATAR_SIZE), "name": row["fullname"], "username": row["username"]}
        for row in found
    ]
    return json_reply({"mention": mention, "total_users": len(found), "users": [row["username"] for row in found]})


async def find_user(request: web.Request) -> Row:
    """Find the user whom the path names by username or e-mail address. Raises NotFound."""
    name = request.match_info["username"]
    user = None
    if name.isprintable() and requests.is_storable(name):
        user = await users.search(request.config_dict[DATABASE], name)
    if user is None:
        raise NotFound(Subject.USER)
    return user


@routes.call("GET", "/user/{username}", "list-users")
async def view_user(request: web.Request) -> web.Response:
    db, base, query = request.config_dict[DATABASE], render.base_url(request), forms.Query(request)
    user = await find_user(request)
    size = query.size()
    pages = query.page_of("repopage", size), query.page_of("forkpage", size)
    repos, forks = await projects.list_of_user(db, user["username"], *pages)
    return json_reply(
        {
            "forks": [render.project(base, row) for row in forks.rows],
            "forks_pagination": render.pagination(request, forks, "forkpage"),
            "repos": [render.project(base, row) for row in repos.rows],
            "repos_pagination": render.pagination(request, repos, "repopage"),
            "user": {
                **render.user(base, user["username"], user["fullname"]),
                "avatar_url": render.avatar_url(user["email"], AVATAR_SIZE),
            },
        }
    )


@routes.call("GET", "/user/{username}/issues", "list-user-items")
async def list_issues(request: web.Request, actor: Actor) -> web.Response:
    query, name = forms.Query(request), request.match_info["username"]
    page, issue_filter = query.page(), _read_filter(query)
    author, assignee = _read_flag(query, "author"), _read_flag(query, "assignee")
    searchable = requests.is_storable(name) and not name.startswith("!")  # `!name` would mean everybody else
    roles = [role for role, wanted in (("author", author), ("assignee", assignee)) if wanted and searchable]
    conditions = [user_issues.build_role_condition(name, role, issue_filter) for role in roles]
    listings = await user_issues.search(request.config_dict[DATABASE], conditions, page, actor)
    by_role = dict(zip(roles, listings, strict=True))
    created, assigned = (by_role.get(role) or Listing([], 0, page) for role in ("author", "assignee"))
    return json_reply(
        {
            "args": {**_render_args(query), "assignee": assignee, "author": author, "page": page.number},
            "issues_assigned": _render(request, actor, assigned.rows),
            "issues_created": _render(request, actor, created.rows),
            "pagination_issues_assigned": render.pagination(request, assigned) if assignee else None,
            "pagination_issues_created": render.pagination(request, created) if author else None,
            "total_issues_assigned": assigned.total,
            "total_issues_assigned_pages": assigned.pages,
            "total_issues_created": created.total,
            "total_issues_created_pages": created.pages,
        }
    )


def _read_flag(query: forms.Query, name: str) -> bool:
    return (query.text(name) or "true").strip().lower() not in FALSE_FLAGS


def _read_filter(query: forms.Query) -> UserIssueFilter:
    order = query.text("order_key") or ""
    return UserIssueFilter(
        issue=IssueFilter(**filters.read_issue_filters(query)),
        **filters.read_ranges(query),
        order=order if order in ORDERS else "date_created",
        ascending=query.text("order") == "asc",
    )


def _render_args(query: forms.Query) -> dict[str, Any]:
    """Repeat the query parameters as they were given."""
    texts = ("closed", "created", "order", "order_key", "since", "status", "updated")
    lists = ("milestones", "tags")
    return {
        **{name: query.text(name) for name in texts},
        **{name: query.all(name) for name in lists},
        "no_stones": query.flag("no_stones"),
    }


def _render(request: web.Request, actor: Actor, rows: list[Row]) -> list[dict[str, Any]]:
    base = render.base_url(request)

    def render_issue(row: Row) -> dict[str, Any]:
        project = row["project"]
        return {**render.issue(base, project, row, row["thread"]), "project": render.project(base, project, actor)}

    return [render_issue(row) for row in rows]
