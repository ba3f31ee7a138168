"""Pagure's issue endpoints."""

from collections.abc import Mapping
from typing import Any

from aiohttp import web

from app.core.access import Level, level
from app.core.issues import CommentOnIssue, OpenIssue, require_visible
from app.dialects.pagure import filters, forms, render
from app.dialects.pagure.attachments import attached
from app.dialects.pagure.errors import Said
from app.dialects.pagure.trackers import check, issue_number, number_or_uid, signed, to_read, to_write
from app.dialects.pagure.urls import PagureRoutes, number
from app.errors import NotFound
from app.queries import issues
from app.queries.issues import IssueFilter
from app.web import DATABASE, execute, reply

routes = PagureRoutes()


@routes.project("POST", "/new_issue", "open-issue")
async def new_issue(request: web.Request) -> web.Response:
    actor, project = await to_write(request, "issue_create")
    form = await forms.form(request)
    title, content = form.required("title"), form.required("issue_content")
    milestone = form.choice("milestone", project["milestones"])
    priority = form.choice("priority", project["priorities"])
    form.check()
    async with attached(request, project, form, content) as (text, files):
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
    shown = render.issue(render.base(request), project, opened.row, [])
    return reply({"issue": shown, "message": "Issue created"})


@routes.project("GET", "/issues", "read-issues")
async def list_issues(request: web.Request) -> web.Response:
    actor, project = await to_read(request)
    query = forms.Query(request)
    page = query.page()
    wanted = _wanted(query, project)
    found = await issues.search(
        request.config_dict[DATABASE],
        project["project_id"],
        wanted,
        page,
        username=actor.username,
        everything=level(actor, project) >= Level.WRITE,
    )
    base = render.base(request)
    return reply(
        {
            "args": _args(query),
            "issues": [render.issue(base, project, row, row["thread"]) for row in found.rows],
            "pagination": render.pagination(request, found),
            "total_issues": len(found.rows),
        }
    )


def _wanted(query: forms.Query, project: Mapping[str, Any]) -> IssueFilter:
    return IssueFilter(
        **filters.assignee(query.text("assignee")),
        author=query.text("author"),
        priority=_priority(query.text("priority"), project),
        **filters.tracker(query),
        number_like=query.text("query_id"),
        ascending=query.text("order") == "asc",
    )


def _args(query: forms.Query) -> dict[str, Any]:
    """What was asked for, as it was asked."""
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


def _priority(value: str | None, project: Mapping[str, Any]) -> int | None:
    """A key of the project's priorities, or a label in any case."""
    if value is None:
        return None
    for key, label in project["priorities"].items():
        if value == key or value.lower() == str(label).lower():
            return int(key)
    raise Said(400, "EINVALIDPRIORITY")


@routes.project("GET", "/issue/{issue}", "read-issues")
async def view_issue(request: web.Request) -> web.Response:
    actor, project = await to_read(request)
    wanted = forms.Query(request).flag("comments") is not False
    key = number_or_uid(request)
    issue = await issues.shown(request.config_dict[DATABASE], project["project_id"], key, thread=wanted)
    require_visible(actor, project, issue)
    return reply(render.issue(render.base(request), project, issue, issue["thread"]))


@routes.project("GET", "/issue/{issue}/comment/{comment:[0-9]+}", "read-issues")
async def view_comment(request: web.Request) -> web.Response:
    actor, project = await to_read(request)
    db = request.config_dict[DATABASE]
    issue = await issues.find(db, project["project_id"], number_or_uid(request))
    require_visible(actor, project, issue)
    key = number(request.match_info["comment"])
    if key is None:
        raise NotFound("comment")
    found = await issues.comment(db, project["project_id"], issue["number"], key)
    shown = render.comment(render.base(request), found)
    shown["avatar_url"] = render.avatar(found["email"], 16)
    shown["comment_date"] = found["created_at"].strftime("%Y-%m-%d %H:%M")
    return reply(shown)


@routes.project("POST", "/issue/{issue:[0-9]+}/comment", "comment-on-issue")
async def comment(request: web.Request) -> web.Response:
    actor, project = await to_write(request, "issue_comment", "issue_update")
    key = issue_number(request)
    form = await forms.form(request)
    text = form.required("comment")
    await check(request, form, actor, project, key, require_visible)
    command = CommentOnIssue(project_id=project["project_id"], number=key, comment=text)
    await execute(request, actor, command, seen=project)
    return reply({**await signed(request, actor), "message": "Comment added"})
