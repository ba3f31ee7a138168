"""Pagure's endpoints about users."""

from dataclasses import replace
from functools import partial
from typing import Any

from aiohttp import web

from app.core.access import Actor
from app.database import Row
from app.dialects.pagure import auth, filters, forms, render
from app.dialects.pagure.projects import FRAGMENTS
from app.dialects.pagure.urls import PagureRoutes
from app.errors import NotFound
from app.queries import projects, user_issues, users
from app.queries.issues import IssueFilter
from app.queries.paging import Listing, Page
from app.queries.projects import ProjectFilter
from app.queries.user_issues import ORDERS, Wanted
from app.web import DATABASE, reply

routes = PagureRoutes()

AVATAR = 16  # pixels
FALSE = ("false", "0", "f")


@routes.add("GET", "/users", "read-user")
@routes.add("GET", "/users/", "read-user")
async def list_users(request: web.Request) -> web.Response:
    found = await users.matching(request.config_dict[DATABASE], forms.Query(request).text("pattern") or "")
    mention = [
        {"image": render.avatar(row["email"], AVATAR), "name": row["fullname"], "username": row["username"]}
        for row in found
    ]
    return reply({"mention": mention, "total_users": len(found), "users": [row["username"] for row in found]})


async def named_user(request: web.Request) -> Row:
    """Somebody whom the path names by username or e-mail address."""
    name = request.match_info["username"]
    found = None
    if name.isprintable() and forms.storable(name):
        found = await users.listed(request.config_dict[DATABASE], name)
    if found is None:
        raise NotFound("user")
    return found


@routes.add("GET", "/user/{username}", "read-user")
async def view_user(request: web.Request) -> web.Response:
    db, base, query = request.config_dict[DATABASE], render.base(request), forms.Query(request)
    user = await named_user(request)
    size = query.size()
    theirs = ProjectFilter(username=user["username"], fork=False)
    repos = await projects.search(db, theirs, query.page_of("repopage", size))
    forks = await projects.search(db, replace(theirs, fork=True), query.page_of("forkpage", size))
    shown = await request.app[FRAGMENTS].by_id(
        [*repos.rows, *forks.rows], partial(projects.by_ids, db), lambda row: render.project(base, row)
    )
    return reply(
        {
            "forks": [shown[row["id"]] for row in forks.rows if row["id"] in shown],
            "forks_pagination": render.pagination(request, forks, "forkpage"),
            "repos": [shown[row["id"]] for row in repos.rows if row["id"] in shown],
            "repos_pagination": render.pagination(request, repos, "repopage"),
            "user": {
                **render.user(base, user["username"], user["fullname"]),
                "avatar_url": render.avatar(user["email"], AVATAR),
            },
        }
    )


@routes.add("GET", "/user/{username}/issues", "read-user-activity")
async def list_issues(request: web.Request) -> web.Response:
    actor = await auth.caller(request, auth.lenient)
    query, name = forms.Query(request), request.match_info["username"]
    page, wanted = query.page(), _wanted(query)
    author, assignee = _yes(query, "author"), _yes(query, "assignee")
    created, assigned = Listing([], 0, page), Listing([], 0, page)
    known = forms.storable(name) and not name.startswith("!")  # which would mean everybody else
    if author and known:
        created = await _search(request, actor, replace(wanted, issue=replace(wanted.issue, author=name)), page)
    if assignee and known:
        assigned = await _search(request, actor, replace(wanted, issue=replace(wanted.issue, assignee=name)), page)
    shown = await _shown(request, actor, created.rows, assigned.rows)
    return reply(
        {
            "args": {**_said(query), "assignee": assignee, "author": author, "page": page.number},
            "issues_assigned": shown[1],
            "issues_created": shown[0],
            "pagination_issues_assigned": render.pagination(request, assigned) if assignee else None,
            "pagination_issues_created": render.pagination(request, created) if author else None,
            "total_issues_assigned": assigned.total,
            "total_issues_assigned_pages": assigned.pages,
            "total_issues_created": created.total,
            "total_issues_created_pages": created.pages,
        }
    )


async def _search(request: web.Request, actor: Actor, wanted: Wanted, page: Page) -> Listing:
    return await user_issues.search(request.config_dict[DATABASE], wanted, page, actor)


def _yes(query: forms.Query, name: str) -> bool:
    return (query.text(name) or "true").strip().lower() not in FALSE


def _wanted(query: forms.Query) -> Wanted:
    order = query.text("order_key") or ""
    return Wanted(
        issue=IssueFilter(**filters.tracker(query)),
        **filters.spans(query),
        order=order if order in ORDERS else "date_created",
        ascending=query.text("order") == "asc",
    )


def _said(query: forms.Query) -> dict[str, Any]:
    """The arguments as they were given."""
    texts = ("closed", "created", "order", "order_key", "since", "status", "updated")
    lists = ("milestones", "tags")
    return {
        **{name: query.text(name) for name in texts},
        **{name: query.all(name) for name in lists},
        "no_stones": query.flag("no_stones"),
    }


async def _shown(request: web.Request, actor: Actor, *listed: list[Row]) -> list[list[dict[str, Any]]]:
    """The issues of each list with their projects, which are looked up together."""
    db, base = request.config_dict[DATABASE], render.base(request)
    keys = list({row["id"]: row for rows in listed for row in rows}.values())
    found = await request.app[FRAGMENTS].by_id(
        keys, partial(projects.by_ids, db), lambda row: render.project(base, row, actor)
    )
    return [
        [
            {**render.issue(base, row["project"], row, row["thread"]), "project": found[row["id"]]}
            for row in rows
            if row["id"] in found
        ]
        for rows in listed
    ]
