"""Pagure's endpoints that change an issue: what it says, status, milestone, assignee, custom fields, subscription."""

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
from app.dialects.pagure.trackers import caller_keys, check_form, read_number, read_number_or_uid, writable_tracker
from app.dialects.pagure.urls import PagureRoutes
from app.dialects.pagure.words import describe_changes
from app.http.commands import execute
from app.http.keys import DATABASE
from app.http.responses import json_reply
from app.queries import issues
from events.issues import IssueUpdated

routes = PagureRoutes()

UNCHANGED = "No changes"


@routes.project("POST", "/issue/{issue:[0-9]+}/status", "change-issue-status", requires=writable_tracker)
async def change_status(request: web.Request, actor: Actor, project: Row) -> web.Response:
    key = read_number(request)
    form = await forms.read_form(request)
    status, close_status = _read_status(form, project)
    await check_form(request, form, actor, project, key, require_closer)
    command = ChangeIssueStatus(project_id=project["project_id"], number=key, status=status, close_status=close_status)
    return _describe_edit(key, await execute(request, actor, command, seen=project))


def _read_status(form: Form, project: Row) -> tuple[str, str | None]:
    """The status and the reason. Alone, a reason to close stands for closing for it."""
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


@routes.project("POST", "/issue/{issue:[0-9]+}/milestone", "set-milestone", own_token=True, requires=writable_tracker)
async def set_milestone(request: web.Request, actor: Actor, project: Row) -> web.Response:
    key = read_number(request)
    form = await forms.read_form(request)
    command = SetMilestone(project_id=project["project_id"], number=key, milestone=form.first("milestone"))
    return _describe_edit(key, await execute(request, actor, command, seen=project))


def _describe_edit(number: int, outcome: Outcome) -> web.Response:
    return json_reply({"message": f"Successfully edited issue #{number}" if outcome.events else UNCHANGED})


@routes.project("POST", "/issue/{issue:[0-9]+}/assign", "assign-issue", own_token=True, requires=writable_tracker)
async def assign(request: web.Request, actor: Actor, project: Row) -> web.Response:
    key = read_number(request)
    form = await forms.read_form(request)
    assignee = form.optional("assignee")
    command = AssignIssue(project_id=project["project_id"], number=key, assignee=assignee)
    if not (await execute(request, actor, command, seen=project)).events:
        return json_reply({"message": "Nothing to change"})
    return json_reply({"message": "Issue assigned" if assignee else "Assignee reset"})


@routes.project(
    "POST", "/issue/{issue:[0-9]+}/custom/{field}", "set-custom-fields", own_token=True, requires=writable_tracker
)
async def set_custom_field(request: web.Request, actor: Actor, project: Row) -> web.Response:
    key, name = read_number(request), request.match_info["field"]
    value = (await forms.read_form(request)).first("value")
    told = await _set_fields(request, actor, project, key, {name: value})
    message = told.get(name, UNCHANGED)
    return json_reply({"message": "Custom field adjusted" if value and name in told else message})


@routes.project("POST", "/issue/{issue:[0-9]+}/custom", "set-custom-fields", own_token=True, requires=writable_tracker)
async def set_custom_fields(request: web.Request, actor: Actor, project: Row) -> web.Response:
    """The fields' names are the keys of the form."""
    key = read_number(request)
    form = await forms.read_form(request)
    told = await _set_fields(request, actor, project, key, {name: form.first(name) for name in form.fields})
    return json_reply({"messages": [{name: told.get(name, UNCHANGED)} for name in form.fields]})


async def _set_fields(
    request: web.Request, actor: Actor, project: Row, key: int, fields: dict[str, str | None]
) -> dict[str, str]:
    """What became of those fields that have changed, in sentences."""
    command = SetCustomFields(project_id=project["project_id"], number=key, fields=fields)
    outcome = await execute(request, actor, command, seen=project)
    changes = [event for event in outcome.events if isinstance(event, IssueUpdated)]
    return {
        name: describe_changes(each.changed, each.previous)[0]
        for each in changes
        for name in each.changed["custom_fields"]
    }


@routes.project(
    "POST", "/issue/{issue:[0-9]+}/subscribe", "subscribe-to-issue", own_token=True, requires=writable_tracker
)
async def subscribe(request: web.Request, actor: Actor, project: Row) -> web.Response:
    key = read_number(request)
    wanted = (await forms.read_form(request)).boolean("status")
    command = SubscribeToIssue(project_id=project["project_id"], number=key, subscribed=wanted)
    await execute(request, actor, command, seen=project)
    message = "User subscribed" if wanted else "You are no longer watching this issue"
    return json_reply({**await caller_keys(request, actor), "message": message})


@routes.project("POST", "/issue/{issue}", "edit-issue", own_token=True, requires=writable_tracker)
async def edit(request: web.Request, actor: Actor, project: Row) -> web.Response:
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
