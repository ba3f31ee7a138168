"""Endpoints that change an issue: its text, status, milestone, assignee, custom fields and subscriptions."""

from aiohttp import web

from app.actor import Actor
from app.core.commands import Outcome
from app.core.issue_metadata import (
    STATUSES,
    AssignIssue,
    ChangeIssueStatus,
    SetCustomFields,
    SetMilestone,
    require_closer,
)
from app.core.issues import EditIssue, SubscribeToIssue, require_editor
from app.database import Row
from app.dialects.pagure import forms, render
from app.dialects.pagure.forms import Form
from app.dialects.pagure.trackers import (
    check_form,
    read_number,
    read_number_or_uid,
    render_caller,
    require_writable_tracker,
)
from app.dialects.pagure.urls import PagureRoutes
from app.dialects.pagure.words import describe_changes
from app.http.commands import execute
from app.http.keys import DATABASE
from app.http.responses import json_reply
from app.queries import issues
from events.issues import IssueUpdated

routes = PagureRoutes()

UNCHANGED = "No changes"


@routes.project("POST", "/issue/{issue:[0-9]+}/status", "change-issue-status", requires=require_writable_tracker)
async def change_status(request: web.Request, actor: Actor, project: Row) -> web.Response:
    key = read_number(request)
    form = await forms.read_form(request)
    status, close_status = _read_status(form, project)
    await check_form(request, form, actor, project, key, require_closer)
    command = ChangeIssueStatus(project_id=project["project_id"], number=key, status=status, close_status=close_status)
    return _reply_with_edit(key, await execute(request, actor, command, seen=project))


def _read_status(form: Form, project: Row) -> tuple[str, str | None]:
    """Read the status and the close status. A close status given as the status closes the issue."""
    status, reason = form.first("status"), form.first("close_status")
    if reason and reason not in project["close_status"]:
        form.complain("close_status", forms.NOT_A_CHOICE)
    if not reason and status not in STATUSES and status in project["close_status"]:
        return "Closed", status
    if status is not None and not status.strip():
        form.complain("status", forms.REQUIRED)
    elif status not in STATUSES:
        form.complain("status", forms.NOT_A_CHOICE)
    return status or "", reason


@routes.project(
    "POST", "/issue/{issue:[0-9]+}/milestone", "set-milestone", own_token=True, requires=require_writable_tracker
)
async def set_milestone(request: web.Request, actor: Actor, project: Row) -> web.Response:
    key = read_number(request)
    form = await forms.read_form(request)
    command = SetMilestone(project_id=project["project_id"], number=key, milestone=form.first("milestone"))
    return _reply_with_edit(key, await execute(request, actor, command, seen=project))


def _reply_with_edit(number: int, outcome: Outcome) -> web.Response:
    return json_reply({"message": f"Successfully edited issue #{number}" if outcome.events else UNCHANGED})


@routes.project(
    "POST", "/issue/{issue:[0-9]+}/assign", "assign-issue", own_token=True, requires=require_writable_tracker
)
async def assign_issue(request: web.Request, actor: Actor, project: Row) -> web.Response:
    key = read_number(request)
    form = await forms.read_form(request)
    assignee = form.optional("assignee")
    command = AssignIssue(project_id=project["project_id"], number=key, assignee=assignee)
    if not (await execute(request, actor, command, seen=project)).events:
        return json_reply({"message": "Nothing to change"})
    return json_reply({"message": "Issue assigned" if assignee else "Assignee reset"})


@routes.project(
    "POST",
    "/issue/{issue:[0-9]+}/custom/{field}",
    "set-custom-fields",
    own_token=True,
    requires=require_writable_tracker,
)
async def set_custom_field(request: web.Request, actor: Actor, project: Row) -> web.Response:
    key, name = read_number(request), request.match_info["field"]
    value = (await forms.read_form(request)).first("value")
    messages = await _set_fields(request, actor, project, key, {name: value})
    message = messages.get(name, UNCHANGED)
    return json_reply({"message": "Custom field adjusted" if value and name in messages else message})


@routes.project(
    "POST", "/issue/{issue:[0-9]+}/custom", "set-custom-fields", own_token=True, requires=require_writable_tracker
)
async def set_custom_fields(request: web.Request, actor: Actor, project: Row) -> web.Response:
    """Set the custom fields whose names are the keys of the form."""
    key = read_number(request)
    form = await forms.read_form(request)
    form.fields.require_readable()
    messages = await _set_fields(request, actor, project, key, {name: form.first(name) for name in form.fields})
    return json_reply({"messages": [{name: messages.get(name, UNCHANGED)} for name in form.fields]})


async def _set_fields(
    request: web.Request, actor: Actor, project: Row, key: int, fields: dict[str, str | None]
) -> dict[str, str]:
    """Set custom fields and return a message for each one that has changed."""
    command = SetCustomFields(project_id=project["project_id"], number=key, fields=fields)
    outcome = await execute(request, actor, command, seen=project)
    changes = [event for event in outcome.events if isinstance(event, IssueUpdated)]
    return {
        name: describe_changes(each.changed, each.previous)[0]
        for each in changes
        for name in each.changed["custom_fields"]
    }


@routes.project(
    "POST", "/issue/{issue:[0-9]+}/subscribe", "subscribe-to-issue", own_token=True, requires=require_writable_tracker
)
async def subscribe(request: web.Request, actor: Actor, project: Row) -> web.Response:
    key = read_number(request)
    subscribed = (await forms.read_form(request)).boolean("status")
    command = SubscribeToIssue(project_id=project["project_id"], number=key, subscribed=subscribed)
    await execute(request, actor, command, seen=project)
    message = "User subscribed" if subscribed else "You are no longer watching this issue"
    return json_reply({**await render_caller(request, actor), "message": message})


@routes.project("POST", "/issue/{issue}", "edit-issue", own_token=True, requires=require_writable_tracker)
async def edit_issue(request: web.Request, actor: Actor, project: Row) -> web.Response:
    key = read_number_or_uid(request)
    form = await forms.read_form(request)
    title, content = form.required("title").strip(), form.required("issue_content")
    for name in ("milestone", "priority"):
        if form.first(name):
            form.complain(name, forms.NOT_A_CHOICE)
    await check_form(request, form, actor, project, key, require_editor)
    db = request.config_dict[DATABASE]
    if isinstance(key, str):
        key = (await issues.find(db, project["project_id"], key))["number"]
    command = EditIssue(project_id=project["project_id"], number=key, title=title, content=content)
    await execute(request, actor, command, seen=project)
    issue = await issues.find_with_thread(db, project["project_id"], key)
    shown = render.issue(render.base_url(request), project, issue, issue["thread"])
    return json_reply({"issue": shown, "message": "Issue edited"})
