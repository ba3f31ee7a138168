"""Endpoints for a project's settings, owner and tokens, and its deletion."""

import re
import uuid
from collections.abc import Mapping
from contextlib import AsyncExitStack
from datetime import UTC, date, datetime, timedelta
from typing import Any

from aiohttp import web

from app.actor import Actor
from app.core import credentials, plugins, web_hooks
from app.core.access import PROJECT_ACLS, may, require, require_direct_access
from app.core.project_settings import DEFAULTS
from app.core.projects import ConfigureProject, DeleteProject, TransferProject
from app.core.sharing import RefreshAccess
from app.core.users import IssueProjectToken
from app.database import Row
from app.dialects.pagure import forms, render
from app.dialects.pagure.errors import ApiError, invalid_request
from app.dialects.pagure.urls import PROJECT_FORMS, PagureRoutes
from app.errors import NotFound, Subject
from app.http.commands import execute, was_carried_out
from app.http.keys import DATABASE
from app.http.responses import NO_STORE, json_reply
from app.http.tasks import task_location
from app.queries import users
from app.stores import project_secrets

routes = PagureRoutes()

# Pagure's names of the settings of a project, and our names.
NAMES = {
    "Enforce_signed-off_commits_in_pull-request": "enforce_signed_off_commits",
    "Minimum_score_to_merge_pull-request": "minimum_score_to_merge",
    "Only_assignee_can_merge_pull-request": "only_assignee_can_merge",
    "Web-hooks": "web_hooks",
    "always_merge": "always_merge",
    "disable_non_fast-forward_merges": "non_fast_forward_merges",
    "fedmsg_notifications": "fedmsg_notifications",
    "issue_tracker": "issue_tracker",
    "issue_tracker_read_only": "issue_tracker_read_only",
    "issues_default_to_private": "issues_default_to_private",
    "mqtt_notifications": "mqtt_notifications",
    "notify_on_commit_flag": "notify_on_commit_flag",
    "notify_on_pull-request_flag": "notify_on_pull_request_flag",
    "open_metadata_access_to_all": "open_metadata_access_to_all",
    "project_documentation": "project_documentation",
    "pull_request_access_only": "pull_request_access_only",
    "pull_requests": "pull_requests",
    "stomp_notifications": "stomp_notifications",
}
NEGATED = {"disable_non_fast-forward_merges"}
TRUE_OPTIONS = ("true", "1", "y")
SCORE = re.compile(r"[+-]?[0-9]{1,9}\Z", re.ASCII)
NO_SCORE = "Please enter a numeric value for the 'minimum score to merge pull request' field."

DEFAULT_LIFETIME, MAX_LIFETIME = timedelta(days=180), timedelta(days=730)
TOO_LONG = "API tokens can only be created up to 2 years"


def render_options(project: Mapping[str, Any], hooks: str | None) -> dict[str, Any]:
    """Render the settings under Pagure's names; `hooks` are the URLs of the web hooks."""
    values = {**DEFAULTS, **project["settings"], "web_hooks": hooks}
    return {name: not values[key] if name in NEGATED else values[key] for name, key in NAMES.items()}


def parse_option(name: str, text: str) -> bool | int | str | None:
    """Parse the new value of a setting. Raises ApiError."""
    match DEFAULTS[NAMES[name]]:
        case bool():
            return (text.strip().lower() in TRUE_OPTIONS) != (name in NEGATED)
        case int() as default:
            if text.strip() and not SCORE.match(text.strip()):
                raise ApiError(400, "ENOCODE", message=NO_SCORE)
            return int(text.strip() or "0") or default
        case _:
            return None if text.strip() in forms.FALSE_FIELDS else text


@routes.project("GET", "/options", "read-options", bound=True)
async def view_options(request: web.Request, actor: Actor, project: Row) -> web.Response:
    is_admin = may(actor, "configure-project", project)
    hooks = await web_hooks.show_web_hooks(request.config_dict[DATABASE], project) if is_admin else None
    return json_reply({"settings": render_options(project, hooks), "status": "ok"})


@routes.project("POST", "/options/update", "configure-project")
async def update_options(request: web.Request, actor: Actor, project: Row) -> web.Response:
    form = await forms.read_data(request)
    form.fields.require_readable(NAMES)
    given: dict[str, Any] = {
        NAMES[name]: parse_option(name, values[0]) for name, values in form.fields.items() if name in NAMES
    }
    async with AsyncExitStack() as stack:
        if "web_hooks" in given and not was_carried_out(request):
            # Their addresses are not part of the command, so they are stored before it.
            require(actor, "configure-project", project)
            given["web_hooks"] = await stack.enter_async_context(
                web_hooks.storing_web_hooks(request.config_dict[DATABASE], project["project_id"], given["web_hooks"])
            )
        command = ConfigureProject(project_id=project["project_id"], settings=given)
        changed = (await execute(request, actor, command, seen=project)).recorded
    edited = f"Edited successfully settings of repo: {render.fullname(project)}"
    return json_reply({"message": edited if changed else "No settings to change", "status": "ok"})


@routes.project("PATCH", "", "transfer-project", forms=PROJECT_FORMS[:2])
async def modify_project(request: web.Request, actor: Actor, project: Row) -> web.Response:
    require(actor, "configure-project", project)
    form = await forms.read_data(request)
    form.fields.require_readable()
    if not form.fields or not form.fields.keys() <= {"main_admin", "retain_access"}:
        raise invalid_request()
    shown: Mapping[str, Any] = project
    owner = form.optional("main_admin")
    if owner:
        retain = (form.first("retain_access") or "").strip().lower() in ("true", "1")
        command = TransferProject(project_id=project["project_id"], owner=owner, retain=retain)
        try:
            outcome = await execute(request, actor, command, seen=project)
        except NotFound as missing:
            raise (ApiError(400, "ENOUSER") if missing.subject is Subject.USER else missing) from None
        shown = outcome.project(project)
    user = await users.find(request.config_dict[DATABASE], shown["owner"])
    body = render.project(render.base_url(request), shown, actor)
    return json_reply({**body, "user": render.add_emails(body["user"], user["email"] if user else None)})


@routes.project("POST", "/git/generateacls", "refresh-access")
async def generate_acls(request: web.Request, actor: Actor, project: Row) -> web.Response:
    """Refresh access. There is nothing to generate, so the task has ended before the response is sent."""
    wait = (await forms.read_data(request)).flag("wait")
    task = (await execute(request, actor, RefreshAccess(project_id=project["project_id"]), seen=project)).command_id
    if wait:
        return json_reply({"message": "Project ACLs generated"})
    queued = {"message": "Project ACL generation queued", "taskid": str(task)}
    return json_reply(queued, headers=task_location(request, task))


@routes.project("POST", "/delete", "delete-project", own_token=True)
async def delete_project(request: web.Request, actor: Actor, project: Row) -> web.Response:
    await execute(request, actor, DeleteProject(project_id=project["project_id"]), seen=project)
    return json_reply(
        {"message": "Project deleted", "project": render.project(render.base_url(request), project, actor)}
    )


@routes.project("POST", "/token/new", "manage-project-tokens")
async def new_token(request: web.Request, actor: Actor, project: Row) -> web.Response:
    require(actor, "manage-project-tokens", project)
    form = await forms.read_form(request)
    acls, description = form.all("acls"), form.optional("description")
    if not acls:
        form.complain("acls", forms.REQUIRED)
    if not PROJECT_ACLS.issuperset(acls):
        form.complain("acls", forms.NOT_A_CHOICE)
    expires = _read_expiry(form, actor)
    form.check()
    token, token_id = credentials.new_token(), str(uuid.uuid4())
    command = IssueProjectToken(
        project_id=project["project_id"],
        token_id=token_id,
        prefix=credentials.visible_prefix(token),
        description=description or "",
        acls=acls,
        expires_at=expires.isoformat(),
    )
    async with credentials.storing_token(request.config_dict[DATABASE], token_id, token):
        await execute(request, actor, command)
    shown = {"description": description, "id": token}
    return json_reply({"token": shown}, headers=NO_STORE)


def _read_expiry(form: forms.Form, actor: Actor) -> datetime:
    """Read the beginning of the day on which the token expires: by default in half a year, or with the actor's own
    token if that is earlier. Raises ApiError.
    """
    today = datetime.now(UTC).date()
    text, last = form.optional("expiration_date"), today + DEFAULT_LIFETIME
    if not text:
        return min(_begin_day(last), actor.token_expires_at or _begin_day(last))
    try:
        last = datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC).date()
    except ValueError:
        form.complain("expiration_date", forms.INVALID)
    if last <= today:
        form.complain("expiration_date", forms.INVALID)
    form.check()
    if last - today > MAX_LIFETIME:
        raise ApiError(400, "ENOCODE", message=TOO_LONG)
    return _begin_day(last)


def _begin_day(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


@routes.project("GET", "/connector", "read-connector", bound=True)
async def view_connector(request: web.Request, actor: Actor, project: Row) -> web.Response:
    """Show the hook token, the token of a CI server if the project has one, and the ids of the API tokens."""
    db, key = request.config_dict[DATABASE], project["project_id"]
    hook_token, found = await project_secrets.find_connector(db, key, actor.username)
    tokens = [
        {"description": row["description"] or None, "expired": row["expired"], "id": str(row["token_id"])}
        for row in found
    ]
    shown = {"api_tokens": tokens, "hook_token": hook_token}
    if plugins.CI in project["plugins"]:
        shown["ci_token"] = await project_secrets.ensure_ci_token(db, key)
    return json_reply({"connector": shown, "status": "ok"}, headers=NO_STORE)


@routes.project("GET", "/webhook/token", "read-hook-token", bound=True)
async def view_hook_token(request: web.Request, actor: Actor, project: Row) -> web.Response:
    require_direct_access(actor, project)
    hook_token = await project_secrets.ensure_hook_token(request.config_dict[DATABASE], project["project_id"])
    return json_reply({"webhook": {"token": hook_token}, "status": "ok"}, headers=NO_STORE)
