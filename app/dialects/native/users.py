"""Users and their tokens."""

import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from app.actor import Actor
from app.core import credentials
from app.core.access import may_see_email, require_self
from app.core.users import CreateUser, IssueToken, RevokeToken
from app.dialects.native import listings, requests
from app.dialects.native.problems import invalid_request
from app.dialects.native.routes import NativeRoutes
from app.errors import NotFound, Subject
from app.http.commands import execute
from app.http.keys import DATABASE
from app.http.pagination import format_cursor
from app.http.responses import NO_STORE, format_moment, json_reply
from app.queries import users

routes = NativeRoutes()


def render_user(row: Mapping[str, Any], *, email: bool) -> dict[str, Any]:
    shown = {"username": row["username"], "fullname": row["fullname"], "admin": row["admin"]}
    return {**shown, "email": row["email"]} if email else shown


def render_token(row: Mapping[str, Any], project: str | None) -> dict[str, Any]:
    return {
        "id": str(row["token_id"]),
        "prefix": row["prefix"],
        "description": row["description"],
        "acls": row["acls"],
        "project": project,
        "expires_at": format_moment(_parse_moment(row["expires_at"])),
        "created_at": format_moment(_parse_moment(row["created_at"])),
    }


def _parse_moment(at: datetime | str | None) -> datetime | None:
    return datetime.fromisoformat(at) if isinstance(at, str) else at


@routes.call("POST", "/users", "create-user")
async def create_user(request: web.Request, actor: Actor) -> web.Response:
    fields = {"username": str, "fullname": str, "email": str, "password": str, "admin": bool}
    given = await requests.read_body(request, fields, ("username", "email"))
    password = given.pop("password", None)
    if password is not None and not 8 <= len(password) <= 1024:
        raise invalid_request(("/password", "`password` must have 8 to 1,024 characters."))
    given.setdefault("fullname", given["username"])
    created = await execute(request, actor, CreateUser(**given))
    if password is not None:
        await credentials.store_first_password(request.config_dict[DATABASE], given["username"], password)
    return json_reply(render_user(created.row, email=True), 201)


@routes.call("GET", "/users/{username}", "read-user")
async def view_user(request: web.Request, actor: Actor) -> web.Response:
    requests.read_query(request)
    user = await users.find(request.config_dict[DATABASE], _read_username(request))
    if user is None:
        raise NotFound(Subject.USER)
    return json_reply(render_user(user, email=may_see_email(actor, user["username"])))


def _read_username(request: web.Request) -> str:
    name = request.match_info["username"]
    if not name.isprintable():
        raise NotFound(Subject.USER)
    return name


@routes.call("POST", "/users/{username}/tokens", "manage-tokens")
async def issue_token(request: web.Request, actor: Actor) -> web.Response:
    require_self(actor, _read_username(request))
    fields = {"description": str, "acls": list, "project": str, "expires_at": str}
    given = await requests.read_body(request, fields, ("description",))
    project = await requests.find_project(request, actor, given)
    token, token_id = credentials.new_token(), str(uuid.uuid4())
    command = IssueToken(
        token_id=token_id,
        username=_read_username(request),
        prefix=credentials.visible_prefix(token),
        description=given["description"],
        acls=given.get("acls"),
        token_project=project["project_id"] if project else None,
        expires_at=_parse_expiry(given.get("expires_at")),
    )
    async with credentials.storing_token(request.config_dict[DATABASE], token_id, token):
        issued = await execute(request, actor, command)
    shown = render_token(issued.row, project["path"] if project else None)
    return json_reply({**shown, "token": token}, 201, headers=NO_STORE)


def _parse_expiry(text: str | None) -> str | None:
    if text is None:
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise invalid_request(("/expires_at", "`expires_at` must be a time in RFC 3339 format.")) from None
    if at.tzinfo is None or at <= datetime.now(UTC):
        raise invalid_request(("/expires_at", "`expires_at` must be in the future and have a time zone."))
    try:
        return at.astimezone(UTC).isoformat()
    except OverflowError:
        raise invalid_request(("/expires_at", "`expires_at` is too far in the future.")) from None


@routes.call("GET", "/users/{username}/tokens", "manage-tokens")
async def list_tokens(request: web.Request, actor: Actor) -> web.Response:
    require_self(actor, _read_username(request))
    values = requests.read_query(request, "limit", "cursor")
    limit, after = listings.read_limit(values), listings.read_cursor(values)
    rows = await users.list_tokens(request.config_dict[DATABASE], _read_username(request), after, limit + 1)
    return listings.reply_with_page(
        request,
        "tokens",
        rows,
        limit,
        lambda row: render_token(row, row["path"]),
        lambda row: format_cursor(row["token_id"]),
    )


@routes.call("DELETE", "/tokens/{id}", "manage-tokens")
async def revoke_token(request: web.Request, actor: Actor) -> web.Response:
    requests.read_query(request)
    await execute(request, actor, RevokeToken(token_id=str(requests.parse_uuid(request.match_info["id"]))))
    return web.Response(status=204)
