"""Endpoints for issues and their comments."""

from collections.abc import Mapping
from typing import Any

from aiohttp import web

from app.actor import Actor
from app.core.access import Level, level
from app.core.issues import CommentOnIssue, OpenIssue, require_visible
from app.database import Row
from app.dialects.pagure import filters, forms, render
from app.dialects.pagure.attachments import store_attachments
from app.dialects.pagure.auth import BadTokenPolicy
from app.dialects.pagure.errors import ApiError
from app.dialects.pagure.trackers import (
    check_form,
    read_number,
    read_number_or_uid,
    render_caller,
    require_readable_tracker,
    require_writable_tracker,
)
from app.dialects.pagure.urls import PagureRoutes
from app.errors import NotFound, Subject
from app.http.commands import execute
from app.http.keys import DATABASE
from app.http.projects import parse_number
from app.http.responses import json_reply
from app.queries import issues
from app.queries.issues import IssueFilter

routes = PagureRoutes()


@routes.project("POST", "/new_issue", "open-issue", requires=require_writable_tracker)
async def new_issue(request: web.Request, actor: Actor, project: Row) -> web.Response:
    form = await forms.read_form(request)
    title, content = form.required("title"), form.required("issue_content")
    milestone = form.choice("milestone", project["milestones"])
    priority = form.choice("priority", project["priorities"])
    form.check()
    async with store_attachments(request, project, form, content) as (text, files):
        command = OpenIssue(
            project_id=project["project_id"],
            title=title,
            content=text,
            private=form.boolean("private"),
            tags=form.words("tag"),
            assignee=form.optional("assignee"),
            milestone=milestone,
            priority=priority,
            files=files,
        )
        opened = await execute(request, actor, command, seen=project)
    shown = render.issue(render.base_url(request), project, opened.row, [])
    return json_reply({"issue": shown, "message": "Issue created"})


@routes.project(
    "GET", "/issues", "read-issues", bad=BadTokenPolicy.REFUSED, bound=True, requires=require_readable_tracker
)
async def list_issues(request: web.Request, actor: Actor, project: Row) -> web.Response:
    query = forms.Query(request)
    page = query.page()
    issue_filter = _read_filter(query, project)
    found = await issues.search(
        request.config_dict[DATABASE],
        project["project_id"],
        issue_filter,
        page,
        username=actor.username,
        everything=level(actor, project) >= Level.WRITE,
    )
    base = render.base_url(request)
    return json_reply(
        {
            "args": _render_args(query),
            "issues": [render.issue(base, project, row, row["thread"]) for row in found.rows],
            "pagination": render.pagination(request, found),
            "total_issues": len(found.rows),
        }
    )


def _read_filter(query: forms.Query, project: Mapping[str, Any]) -> IssueFilter:
    return IssueFilter(
        **filters.parse_assignee(query.text("assignee")),
        author=query.text("author"),
        priority=_read_priority(query.text("priority"), project),
        **filters.read_issue_filters(query),
        number_like=query.text("query_id"),
        ascending=query.text("order") == "asc",
    )


def _render_args(query: forms.Query) -> dict[str, Any]:
    """Repeat the query parameters as they were given."""
    since = query.text("since")
    return {
        "assignee": query.text("assignee"),
        "author": query.text("author"),
        "milestones": query.all("milestones"),
        "no_stones": query.flag("no_stones"),
        "order": query.text("order"),
        "priority": query.text("priority"),
        "since": int(since) if since and since.isascii() and since.isdigit() else since,
        "status": query.text("status"),
        "tags": query.all("tags"),
    }


def _read_priority(value: str | None, project: Mapping[str, Any]) -> int | None:
    """Read a priority: its key, or its label in any case. Raises ApiError."""
    if value is None:
        return None
    for key, label in project["priorities"].items():
        if value == key or value.lower() == str(label).lower():
            return int(key)
    raise ApiError(400, "EINVALIDPRIORITY")


@routes.project(
    "GET", "/issue/{issue}", "read-issues", bad=BadTokenPolicy.REFUSED, bound=True, requires=require_readable_tracker
)
async def view_issue(request: web.Request, actor: Actor, project: Row) -> web.Response:
    comments = forms.Query(request).flag("comments") is not False
    key = read_number_or_uid(request)
    issue = await issues.find_with_thread(request.config_dict[DATABASE], project["project_id"], key, thread=comments)
    require_visible(actor, project, issue)
    return json_reply(render.issue(render.base_url(request), project, issue, issue["thread"]))


@routes.project(
    "GET",
    "/issue/{issue}/comment/{comment:[0-9]+}",
    "read-issues",
    bad=BadTokenPolicy.REFUSED,
    bound=True,
    requires=require_readable_tracker,
)
async def view_comment(request: web.Request, actor: Actor, project: Row) -> web.Response:
    db = request.config_dict[DATABASE]
    issue = await issues.find(db, project["project_id"], read_number_or_uid(request))
    require_visible(actor, project, issue)
    key = parse_number(request.match_info["comment"])
    if key is None:
        raise NotFound(Subject.COMMENT)
    found = await issues.find_comment(db, project["project_id"], issue["number"], key)
    shown = render.comment(render.base_url(request), project, found)
    shown["avatar_url"] = render.avatar_url(found["email"], 16)
    shown["comment_date"] = found["created_at"].strftime("%Y-%m-%d %H:%M")
    return json_reply(shown)


@routes.project("POST", "/issue/{issue:[0-9]+}/comment", "comment-on-issue", requires=require_writable_tracker)
async def add_comment(request: web.Request, actor: Actor, project: Row) -> web.Response:
    key = read_number(request)
    form = await forms.read_form(request)
    text = form.required("comment")
    await check_form(request, form, actor, project, key, require_visible)
    command = CommentOnIssue(project_id=project["project_id"], number=key, comment=text)
    await execute(request, actor, command, seen=project)
    return json_reply({**await render_caller(request, actor), "message": "Comment added"})
