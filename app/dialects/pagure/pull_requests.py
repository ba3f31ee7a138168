"""Pagure's pull requests: listing, reading, talking about them."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from aiohttp import web

from app.actor import Actor
from app.core.access import may
from app.core.mentions import linked_issues
from app.core.pull_requests import (
    AssignPullRequest,
    ClosePullRequest,
    CommentOnPullRequest,
    EditPullRequest,
    ReopenPullRequest,
    SubscribeToPullRequest,
    require_editor,
    require_pull_requests,
)
from app.dialects.pagure import auth, filters, forms, render
from app.dialects.pagure.forms import Form
from app.dialects.pagure.trackers import caller_keys
from app.dialects.pagure.urls import PagureRoutes, find_project
from app.errors import NotFound
from app.http.commands import execute
from app.http.keys import DATABASE
from app.http.projects import parse_number
from app.http.responses import json_reply
from app.queries import projects, pull_requests
from app.queries.filters import ItemFilter

routes = PagureRoutes()

Row = Mapping[str, Any]
Found = tuple[Actor, Row, int]
Rule = Callable[[Actor, Row, Row], None]


def read_number(request: web.Request) -> int:
    found = parse_number(request.match_info["request"])
    if found is None:
        raise NotFound("pull request")
    return found


async def require_writable(request: web.Request, *acls: str, own_token: bool = False) -> Found:
    """Who asks, the project and the number of one of its pull requests, for those who bring a token for it.

    `own_token`: with one made for it and no other.
    """
    actor, project = await find_project(request, auth.require_acls(*acls))
    require_pull_requests(project)
    (auth.require_project_token if own_token else auth.require_bound)(actor, project)
    return actor, project, read_number(request)


async def check_form(
    request: web.Request, form: Form, actor: Actor, project: Row, key: int, rule: Rule | None = None
) -> None:
    """Refuse a form with mistakes, unless it is about nothing or the rule has something against the actor first."""
    if form.errors:
        found = await pull_requests.find(request.config_dict[DATABASE], project["project_id"], key, thread=False)
        if rule is not None:
            rule(actor, project, found)
        form.check()


@routes.project("GET", "/pull-requests", "read-pull-requests")
async def list_pull_requests(request: web.Request) -> web.Response:
    actor, project = await find_project(request, auth.ignore_bad_token)
    require_pull_requests(project)
    query = forms.Query(request)
    page = query.page()
    tags = filters.read_tags(query)
    wanted = ItemFilter(
        **filters.parse_pull_request_status(query.text("status")),
        **filters.parse_assignee(query.text("assignee")),
        author=query.text("author"),
        tags=tags,
    )
    found = await pull_requests.search(request.config_dict[DATABASE], project["project_id"], wanted, page)
    base = render.base_url(request)
    return json_reply(
        {
            "args": {
                "assignee": query.text("assignee"),
                "author": query.text("author"),
                "page": page.number,
                "per_page": page.size,
                "status": query.text("status") or True,
                "tags": tags or None,
            },
            "pagination": render.pagination(request, found),
            "requests": [render.pull_request(base, project, row, actor) for row in found.rows],
            "total_requests": found.total,
        }
    )


@routes.project("GET", "/pull-request/{request:[0-9]+}", "read-pull-requests")
async def view(request: web.Request) -> web.Response:
    actor, project = await find_project(request, auth.ignore_bad_token)
    require_pull_requests(project)
    wanted = forms.Query(request).flag("comments") is not False
    found = await pull_requests.find(
        request.config_dict[DATABASE], project["project_id"], read_number(request), thread=wanted
    )
    return json_reply(render.pull_request(render.base_url(request), project, found, actor))


@routes.add("GET", "/pull-requests/{uid}", "read-pull-requests")
async def view_by_uid(request: web.Request) -> web.Response:
    db, uid = request.config_dict[DATABASE], request.match_info["uid"]
    actor = await auth.identify_caller(request, auth.ignore_bad_token)
    if not re.fullmatch(r"[0-9a-f]{32}", uid):
        raise NotFound("pull request")
    found = await pull_requests.find_by_uid(db, uid)
    project = await projects.by_id(db, found["project_id"])
    if not may(actor, "read-pull-requests", project):
        raise NotFound("pull request")
    require_pull_requests(project)
    return json_reply(render.pull_request(render.base_url(request), project, found, actor))


@routes.project("GET", "/pull-request/{request:[0-9]+}/comment/{comment:[0-9]+}", "read-pull-requests")
async def view_comment(request: web.Request) -> web.Response:
    db = request.config_dict[DATABASE]
    _, project = await find_project(request, auth.ignore_bad_token)
    require_pull_requests(project)
    found = await pull_requests.find(db, project["project_id"], read_number(request), thread=False)
    key = parse_number(request.match_info["comment"])
    if key is None:
        raise NotFound("comment")
    said = await pull_requests.find_comment(db, project["project_id"], found["number"], key)
    return json_reply(render.pull_request_comment(render.base_url(request), said))


@routes.project("POST", "/pull-request/{request:[0-9]+}", "read-pull-requests")
async def update(request: web.Request) -> web.Response:
    actor, project, key = await require_writable(request, "pull_request_update")
    form = await forms.read_form(request)
    title, comment = form.required("title").strip(), (form.first("initial_comment") or "").strip()
    await check_form(request, form, actor, project, key, require_editor)
    about = linked_issues(comment, render.project_url(request, project))
    command = EditPullRequest(
        project_id=project["project_id"], number=key, title=title, initial_comment=comment, about=about
    )
    await execute(request, actor, command, seen=project)
    found = await pull_requests.find(request.config_dict[DATABASE], project["project_id"], key)
    return json_reply(render.pull_request(render.base_url(request), project, found, actor))


@routes.project("POST", "/pull-request/{request:[0-9]+}/comment", "comment-on-pull-request")
async def comment(request: web.Request) -> web.Response:
    actor, project, key = await require_writable(request, "pull_request_comment")
    form = await forms.read_form(request)
    text, row = form.required("comment"), form.optional("row")
    if row is not None and not re.fullmatch(r"[+-]?[0-9]{1,9}", row):
        form.complain("row", "Not a valid integer value.")
    for name in ("commit", "tree_id"):
        if len(form.first(name) or "") > 40:
            form.complain(name, "Field cannot be longer than 40 characters.")
    await check_form(request, form, actor, project, key)
    command = CommentOnPullRequest(
        project_id=project["project_id"],
        number=key,
        comment=text,
        commit=form.optional("commit"),
        tree=form.optional("tree_id"),
        filename=form.optional("filename"),
        line=int(row) if row else None,
    )
    await execute(request, actor, command, seen=project)
    return json_reply({"message": "Comment added"})


@routes.project("POST", "/pull-request/{request:[0-9]+}/close", "merge-pull-request")
async def close(request: web.Request) -> web.Response:
    actor, project, key = await require_writable(request, "pull_request_close")
    await execute(request, actor, ClosePullRequest(project_id=project["project_id"], number=key), seen=project)
    return json_reply({"message": "Pull-request closed!"})


@routes.project("POST", "/pull-request/{request:[0-9]+}/reopen", "merge-pull-request")
async def reopen(request: web.Request) -> web.Response:
    actor, project, key = await require_writable(request, "pull_request_close", "pull_request_update")
    await execute(request, actor, ReopenPullRequest(project_id=project["project_id"], number=key), seen=project)
    return json_reply({"message": "Pull-request reopened!"})


@routes.project("POST", "/pull-request/{request:[0-9]+}/assign", "triage-pull-requests")
async def assign(request: web.Request) -> web.Response:
    actor, project, key = await require_writable(request, "pull_request_assign", "pull_request_update", own_token=True)
    form = await forms.read_form(request)
    command = AssignPullRequest(project_id=project["project_id"], number=key, assignee=form.optional("assignee"))
    done = await execute(request, actor, command, seen=project)
    if not done.recorded:
        return json_reply({"message": "Nothing to change"})
    return json_reply({"message": "pull-request assigned" if command.assignee else "Request assignee reset"})


@routes.project("POST", "/pull-request/{request:[0-9]+}/subscribe", "read-pull-requests")
async def subscribe(request: web.Request) -> web.Response:
    actor, project, key = await require_writable(request, "pull_request_subscribe", own_token=True)
    wanted = (await forms.read_form(request)).boolean("status")
    command = SubscribeToPullRequest(project_id=project["project_id"], number=key, subscribed=wanted)
    await execute(request, actor, command, seen=project)
    said = "You are now watching this pull-request" if wanted else "You are no longer watching this pull-request"
    return json_reply({**await caller_keys(request, actor), "message": said})
