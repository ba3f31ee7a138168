"""Endpoints for flags, with which programs report on commits and on the newest commit of a pull request."""

import re
import uuid
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from app.actor import Actor
from app.core.flags import STATUSES, FlagCommit
from app.core.pull_requests import require_pull_requests
from app.dialects.pagure import forms, render
from app.dialects.pagure.commits import read_commit
from app.dialects.pagure.errors import ApiError
from app.dialects.pagure.pull_requests import read_number
from app.dialects.pagure.trackers import render_caller
from app.dialects.pagure.urls import PagureRoutes
from app.http.commands import execute
from app.http.keys import DATABASE
from app.http.responses import json_reply
from app.queries import pull_requests, users

routes = PagureRoutes()
Row = Mapping[str, Any]

MAX_UID_LENGTH = 32
HEX = re.compile(r"[0-9a-fA-F]{4,40}\Z")


@routes.project("GET", "/c/{hash}/flag", "read-code")
async def list_commit_flags(request: web.Request, _: Actor, project: Row) -> web.Response:
    if not HEX.match(request.match_info["hash"]):
        raise ApiError(404, "ENOCOMMIT")
    try:
        commit = (await read_commit(request, project)).id
    except ApiError:
        return json_reply({"flags": [], "total_flags": 0})
    shown = await _render_flags(request, project, commit)
    return json_reply({"flags": shown, "total_flags": len(shown)})


async def _render_flags(request: web.Request, project: Row, commit: str) -> list[dict[str, Any]]:
    rows = await pull_requests.list_flags(request.config_dict[DATABASE], project["project_id"], commit)
    return [render.flag(render.base_url(request), row) for row in rows]


@routes.project("POST", "/c/{hash}/flag", "flag-commit")
async def flag_commit(request: web.Request, actor: Actor, project: Row) -> web.Response:
    commit = (await read_commit(request, project)).id
    form = await forms.read_form(request)
    if "status" not in form.fields:
        form.complain("status", forms.REQUIRED)
    return json_reply(await _execute_flag(request, actor, project, commit, form))


async def _execute_flag(
    request: web.Request, actor: Actor, project: Row, commit: str, form: forms.Form, number: int | None = None
) -> dict[str, Any]:
    """Flag a commit, or the pull request with this number, whose newest commit it is."""
    db = request.config_dict[DATABASE]
    percent = _read_percent(form)
    command = FlagCommit(
        project_id=project["project_id"],
        commit=commit,
        uid=_read_uid(form),
        username=form.required("username").strip(),
        status=_read_status(form, percent),
        percent=percent,
        comment=form.required("comment").strip(),
        url=_read_url(form),
        pull_request=number,
    )
    form.check()
    flagged = await execute(request, actor, command, seen=project)
    caller = await users.find(db, actor.username)
    email = caller["email"] if caller and flagged.row["author"] == actor.username else None
    return {
        "flag": render.flag(render.base_url(request), flagged.row, email=email),
        "message": "Flag added" if flagged.row["created_at"] == flagged.row["updated_at"] else "Flag updated",
        "uid": flagged.row["uid"],
    }


def _read_uid(form: forms.Form) -> str:
    given = form.optional("uid")
    if given and len(given) > MAX_UID_LENGTH:
        form.complain("uid", f"Field cannot be longer than {MAX_UID_LENGTH} characters.")
    return given or uuid.uuid4().hex


def _read_percent(form: forms.Form) -> int | None:
    text = form.optional("percent")
    if text is None:
        return None
    if not re.fullmatch(r"-?[0-9]{1,9}", text):
        form.complain("percent", "Not a valid integer value.")
        return None
    return int(text)


def _read_status(form: forms.Form, percent: int | None) -> str:
    """Read the status, or derive it from the percentage."""
    if "status" not in form.fields:
        return "pending" if percent is None else "failure" if percent == 0 else "success"
    status = form.required("status").strip()
    if status and status not in STATUSES:
        form.complain("status", forms.NOT_A_CHOICE)
    return status


def _read_url(form: forms.Form) -> str:
    form.required("url")
    return (form.url("url") if form.optional("url") else None) or ""


@routes.project("GET", "/pull-request/{request:[0-9]+}/flag", "read-pull-requests", requires=require_pull_requests)
async def list_pull_request_flags(request: web.Request, _: Actor, project: Row) -> web.Response:
    base, key = render.base_url(request), project["project_id"]
    rows = await pull_requests.find_with_flags(request.config_dict[DATABASE], key, read_number(request))
    shown = [{**render.flag(base, row), "pull_request_uid": row["pull_request_uid"]} for row in rows if row["author"]]
    return json_reply({"flags": shown})


@routes.project("POST", "/pull-request/{request:[0-9]+}/flag", "flag-pull-request", requires=require_pull_requests)
async def flag_pull_request(request: web.Request, actor: Actor, project: Row) -> web.Response:
    number = read_number(request)
    pull_request = await pull_requests.find(request.config_dict[DATABASE], project["project_id"], number, thread=False)
    commit = pull_request["commit_stop"]
    if commit is None:
        raise ApiError(400, "ENOCODE", message="This pull-request has no commit to flag")
    body = await _execute_flag(request, actor, project, commit, await forms.read_form(request), number)
    body["flag"]["pull_request_uid"] = pull_request["uid"]
    return json_reply({**body, **await render_caller(request, actor)})
