"""Endpoints that open, list, show and change pull requests and their comments."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from aiohttp import web

from app.actor import Actor
from app.core import paths
from app.core.access import is_bound_elsewhere, may, require
from app.core.mentions import linked_issues
from app.core.pull_requests import (
    AssignPullRequest,
    ClosePullRequest,
    CommentOnPullRequest,
    EditPullRequest,
    OpenPullRequest,
    ReopenPullRequest,
    SubscribeToPullRequest,
    find_commit_span,
    find_heads,
    require_editor,
    require_pull_requests,
)
from app.dialects.pagure import filters, forms, render
from app.dialects.pagure.errors import ApiError, bad_token
from app.dialects.pagure.forms import Form
from app.dialects.pagure.trackers import render_caller
from app.dialects.pagure.urls import PagureRoutes
from app.errors import NotFound, Subject
from app.git.errors import GitError, NoRepository, NotSignedOff
from app.http.commands import execute
from app.http.keys import DATABASE, SETTINGS
from app.http.projects import parse_number
from app.http.responses import json_reply
from app.queries import projects, pull_requests
from app.queries.filters import ItemFilter

routes = PagureRoutes()

Row = Mapping[str, Any]
Rule = Callable[[Actor, Row, Row], None]


def read_number(request: web.Request) -> int:
    number = parse_number(request.match_info["request"])
    if number is None:
        raise NotFound(Subject.PULL_REQUEST)
    return number


async def check_form(
    request: web.Request, form: Form, actor: Actor, project: Row, key: int, rule: Rule | None = None
) -> None:
    """Refuse a form with errors. A missing pull request, and the rule's refusal of the actor, take precedence."""
    if form.errors:
        pull_request = await pull_requests.find(request.config_dict[DATABASE], project["project_id"], key, thread=False)
        if rule is not None:
            rule(actor, project, pull_request)
        form.check()


@routes.project("GET", "/pull-requests", "read-pull-requests", requires=require_pull_requests)
async def list_pull_requests(request: web.Request, actor: Actor, project: Row) -> web.Response:
    query = forms.Query(request)
    page = query.page()
    tags = filters.read_tags(query)
    item_filter = ItemFilter(
        **filters.parse_pull_request_status(query.text("status")),
        **filters.parse_assignee(query.text("assignee")),
        author=query.text("author"),
        tags=tags,
    )
    found = await pull_requests.search(request.config_dict[DATABASE], project["project_id"], item_filter, page)
    base = render.base_url(request)
    return json_reply(
        {
            "args": {
                "assignee": query.text("assignee"),
                "author": query.text("author"),
                "page": page.number,
                "per_page": page.size,
                "status": query.text("status") or True,
                "tags": tags,
            },
            "pagination": render.pagination(request, found),
            "requests": [render.pull_request(base, project, row, actor) for row in found.rows],
            "total_requests": found.total,
        }
    )


@routes.project("GET", "/pull-request/{request:[0-9]+}", "read-pull-requests", requires=require_pull_requests)
async def view_pull_request(request: web.Request, actor: Actor, project: Row) -> web.Response:
    comments = forms.Query(request).flag("comments") is not False
    pull_request = await pull_requests.find(
        request.config_dict[DATABASE], project["project_id"], read_number(request), thread=comments
    )
    return json_reply(render.pull_request(render.base_url(request), project, pull_request, actor))


@routes.call("GET", "/pull-requests/{uid}", "read-pull-requests")
async def view_by_uid(request: web.Request, actor: Actor) -> web.Response:
    db, uid = request.config_dict[DATABASE], request.match_info["uid"]
    if not re.fullmatch(r"[0-9a-f]{32}", uid):
        raise NotFound(Subject.PULL_REQUEST)
    pull_request = await pull_requests.find_by_uid(db, uid)
    project = await projects.by_id(db, pull_request["project_id"])
    if not may(actor, "read-pull-requests", project):
        raise NotFound(Subject.PULL_REQUEST)
    require_pull_requests(project)
    return json_reply(render.pull_request(render.base_url(request), project, pull_request, actor))


@routes.project(
    "GET",
    "/pull-request/{request:[0-9]+}/comment/{comment:[0-9]+}",
    "read-pull-requests",
    requires=require_pull_requests,
)
async def view_comment(request: web.Request, _: Actor, project: Row) -> web.Response:
    db = request.config_dict[DATABASE]
    pull_request = await pull_requests.find(db, project["project_id"], read_number(request), thread=False)
    key = parse_number(request.match_info["comment"])
    if key is None:
        raise NotFound(Subject.COMMENT)
    comment = await pull_requests.find_comment(db, project["project_id"], pull_request["number"], key)
    return json_reply(render.pull_request_comment(render.base_url(request), project, comment))


@routes.project("POST", "/pull-request/{request:[0-9]+}", "edit-pull-request", requires=require_pull_requests)
async def edit_pull_request(request: web.Request, actor: Actor, project: Row) -> web.Response:
    key = read_number(request)
    form = await forms.read_form(request)
    title, comment = form.required("title").strip(), (form.first("initial_comment") or "").strip()
    await check_form(request, form, actor, project, key, require_editor)
    about = linked_issues(comment, render.project_url(request, project))
    command = EditPullRequest(
        project_id=project["project_id"], number=key, title=title, initial_comment=comment, about=about
    )
    await execute(request, actor, command, seen=project)
    pull_request = await pull_requests.find(request.config_dict[DATABASE], project["project_id"], key)
    return json_reply(render.pull_request(render.base_url(request), project, pull_request, actor))


def parse_vote(comment: str) -> int | None:
    """The vote in a comment: 1, -1 or none."""
    if "-1" in comment or ":thumbsdown:" in comment:
        return -1
    return 1 if "+1" in comment or ":thumbsup:" in comment else None


@routes.project(
    "POST", "/pull-request/{request:[0-9]+}/comment", "comment-on-pull-request", requires=require_pull_requests
)
async def add_comment(request: web.Request, actor: Actor, project: Row) -> web.Response:
    key = read_number(request)
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
        vote=parse_vote(text),
    )
    await execute(request, actor, command, seen=project)
    return json_reply({"message": "Comment added"})


@routes.project("POST", "/pull-request/{request:[0-9]+}/close", "close-pull-request", requires=require_pull_requests)
async def close_pull_request(request: web.Request, actor: Actor, project: Row) -> web.Response:
    return await _change_status(request, actor, project, ClosePullRequest, "Pull-request closed!")


@routes.project("POST", "/pull-request/{request:[0-9]+}/reopen", "reopen-pull-request", requires=require_pull_requests)
async def reopen_pull_request(request: web.Request, actor: Actor, project: Row) -> web.Response:
    return await _change_status(request, actor, project, ReopenPullRequest, "Pull-request reopened!")


async def _change_status(
    request: web.Request, actor: Actor, project: Row, command: type[ClosePullRequest | ReopenPullRequest], message: str
) -> web.Response:
    number = read_number(request)
    await execute(request, actor, command(project_id=project["project_id"], number=number), seen=project)
    return json_reply({"message": message})


@routes.project(
    "POST",
    "/pull-request/{request:[0-9]+}/assign",
    "assign-pull-request",
    own_token=True,
    requires=require_pull_requests,
)
async def assign_pull_request(request: web.Request, actor: Actor, project: Row) -> web.Response:
    key = read_number(request)
    form = await forms.read_form(request)
    command = AssignPullRequest(project_id=project["project_id"], number=key, assignee=form.optional("assignee"))
    outcome = await execute(request, actor, command, seen=project)
    if not outcome.recorded:
        return json_reply({"message": "Nothing to change"})
    return json_reply({"message": "pull-request assigned" if command.assignee else "Request assignee reset"})


@routes.project(
    "POST",
    "/pull-request/{request:[0-9]+}/subscribe",
    "subscribe-to-pull-request",
    own_token=True,
    requires=require_pull_requests,
)
async def subscribe(request: web.Request, actor: Actor, project: Row) -> web.Response:
    key = read_number(request)
    subscribed = (await forms.read_form(request)).boolean("status")
    command = SubscribeToPullRequest(project_id=project["project_id"], number=key, subscribed=subscribed)
    await execute(request, actor, command, seen=project)
    message = f"You are {'now' if subscribed else 'no longer'} watching this pull-request"
    return json_reply({**await render_caller(request, actor), "message": message})


@routes.project("POST", "/pull-request/new", "open-pull-request")
async def new_pull_request(request: web.Request, actor: Actor, target: Row) -> web.Response:
    form = await forms.read_form(request)
    source = await _find_source(request, actor, target, form)
    require_pull_requests(target)
    if is_bound_elsewhere(actor, source):
        raise bad_token()
    for name in ("title", "branch_to", "branch_from"):
        form.required(name)
        form.check()
    branch, branch_from = (form.first("branch_to") or "").strip(), (form.first("branch_from") or "").strip()
    target_head, source_head = await find_heads(
        request.config_dict[DATABASE], actor, target, source, branch, branch_from
    )
    root = request.config_dict[SETTINGS].repositories
    try:
        span = await find_commit_span(root, target, source, target_head, source_head)
    except NotSignedOff:
        raise ApiError(400, "ENOSIGNEDOFF") from None
    except NoRepository:
        raise ApiError(404, "ENOPROJECT") from None
    except GitError:
        raise ApiError(400, "EGITERROR") from None
    command = OpenPullRequest(
        project_id=target["project_id"],
        title=form.first("title") or "",
        branch=branch,
        branch_from=branch_from,
        repo_from=source["project_id"],
        initial_comment=form.optional("initial_comment"),
        about=linked_issues(form.first("initial_comment"), render.project_url(request, target)),
        allow_rebase=form.boolean("allow_rebase"),
        commit_start=span.start if span else None,
        commit_stop=span.stop if span else None,
    )
    opened = await execute(request, actor, command, seen=target)
    stored = await pull_requests.find(request.config_dict[DATABASE], target["project_id"], opened.row["number"])
    # Show the pull request as it was opened: a worker may have updated its merge status since.
    return json_reply(render.pull_request(render.base_url(request), target, {**stored, **opened.row}, actor))


async def _find_source(request: web.Request, actor: Actor, target: Row, form: forms.Form) -> Row:
    """Find the source project: the target itself unless the form names another. Raises NotFound."""
    name = form.optional("repo_from")
    if name is None:
        return target
    address = paths.build_address(name, form.optional("repo_from_namespace"), form.optional("repo_from_username"))
    source: Row = await projects.by_address(request.config_dict[DATABASE], address)
    require(actor, "read-project", source)
    return source
