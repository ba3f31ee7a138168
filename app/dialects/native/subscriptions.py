"""Subscriptions: where events are sent, and what has become of each that was."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from aiohttp import web

from app.actor import Actor
from app.core import paths
from app.core.access import require
from app.core.subscriptions import (
    ChangeSubscription,
    CreateSubscription,
    DeleteSubscription,
    parse_endpoint,
    require_headers,
    require_not_web_hook,
    require_secret,
)
from app.dialects.native import read
from app.dialects.native.problems import invalid_request
from app.dialects.native.routes import NativeRoutes
from app.feed import formats, signing
from app.http.commands import execute
from app.http.keys import DATABASE
from app.http.pagination import format_cursor, next_link
from app.http.responses import format_moment, json_reply
from app.queries import projects, subscriptions
from app.stores import deliveries

routes = NativeRoutes()
FIELDS = {
    "url": str, "types": list, "project": str, "secret": str, "format": str, "ordered": bool, "headers": dict,
    "active": bool,
}  # fmt: skip
DEFAULT_OVERLAP = 24 * 3600  # seconds that an old secret signs beside the new one
MAX_OVERLAP = 30 * 24 * 3600
STATUSES = ("waiting", "delivered", "failed", "suppressed")
NO_STORE = {"Cache-Control": "no-store"}


def render_subscription(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "id": str(row["subscription_id"]),
        "owner": row["owner"],
        "project": row["path"],
        "types": row["types"],
        "format": row["format"],
        "ordered": row["ordered"],
        "host": row["host"],
        "active": row["status"] in ("active", "paused"),
        "status": row["status"],
        "reason": row["reason"],
        "failures": row["failures"] or 0,
        "failing_since": format_moment(row["failing_since"]),
        "created_at": format_moment(row["created_at"]),
        "changed_at": format_moment(row["changed_at"]),
    }


def render_delivery(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "id": str(row["delivery_id"]),
        "subscription": str(row["subscription_id"]),
        "seq": row["seq"] or None,
        "type": row["type"],
        "status": row["status"],
        "reason": row["reason"],
        "attempts": [
            {
                "at": format_moment(datetime.fromisoformat(tried["at"])),
                "status": tried["status"],
                "duration_ms": tried["duration_ms"],
                "error": tried["error"],
                "response_excerpt": tried["excerpt"],
            }
            for tried in row["tried"]
        ],
        "created_at": format_moment(row["created_at"]),
        "ended_at": format_moment(row["ended_at"]),
        "next_attempt_at": format_moment(row["due_at"]),
    }


async def _find_own(request: web.Request, actor: Actor) -> Mapping[str, Any]:
    """The subscription that the path names, if the actor manages it."""
    db, key = request.config_dict[DATABASE], read.parse_uuid(request.match_info["id"])
    found: Mapping[str, Any] = await subscriptions.find(db, actor, key)
    return found


@routes.call("POST", "/subscriptions", "manage-subscriptions")
async def create(request: web.Request, actor: Actor) -> web.Response:
    db = request.config_dict[DATABASE]
    given = await read.read_body(request, FIELDS, ("url",))
    project_id = None
    if "project" in given:
        project = await projects.by_address(db, paths.address_from_path(given["project"]))
        require(actor, "read-project", project)
        project_id = project["project_id"]
    url, secret, headers = (
        parse_endpoint(given["url"]),
        given.get("secret") or signing.new_secret(),
        given.get("headers", {}),
    )
    require_secret(secret)
    require_headers(headers)
    subscription_id = uuid4()
    command = CreateSubscription(
        subscription_id=str(subscription_id),
        project_id=project_id,
        types=given.get("types"),
        format=given.get("format", "standard"),
        ordered=given.get("ordered", True),
        host=url.host or "",
        active=given.get("active", True),
    )
    async with deliveries.storing_endpoint(db, subscription_id, given["url"], secret, headers):
        await execute(request, actor, command)
    found = await subscriptions.find(db, actor, subscription_id)
    return json_reply({**render_subscription(found), "secret": secret}, 201, headers=NO_STORE)


@routes.call("GET", "/subscriptions", "manage-subscriptions")
async def list_subscriptions(request: web.Request, actor: Actor) -> web.Response:
    db = request.config_dict[DATABASE]
    values = read.read_query(request, "limit", "cursor")
    limit = read.read_integer(values, "limit", 50, 1, 100)
    rows = await subscriptions.list_of_owner(db, actor, read.read_cursor(values), limit + 1)
    more = format_cursor(rows[limit - 1]["subscription_id"]) if len(rows) > limit else None
    return json_reply(
        {"subscriptions": [render_subscription(row) for row in rows[:limit]], "next": more},
        headers=next_link(request, more),
    )


@routes.call("GET", "/subscriptions/{id}", "manage-subscriptions")
async def view(request: web.Request, actor: Actor) -> web.Response:
    found = await _find_own(request, actor)
    read.read_query(request)
    return json_reply(render_subscription(found))


@routes.call("PATCH", "/subscriptions/{id}", "manage-subscriptions")
async def change(request: web.Request, actor: Actor) -> web.Response:
    db = request.config_dict[DATABASE]
    found = await _find_own(request, actor)
    fields = {name: kind for name, kind in FIELDS.items() if name not in ("project", "secret")}
    given = await read.read_body(request, fields, ())
    changed: dict[str, Any] = {name: given[name] for name in ("types", "format", "ordered", "active") if name in given}
    headers = given.get("headers")
    if headers is not None:
        require_headers(headers)
    if "url" in given:
        changed["host"] = parse_endpoint(given["url"]).host
    subscription_id = found["subscription_id"]
    await execute(request, actor, ChangeSubscription(subscription_id=str(subscription_id), changed=changed))
    await deliveries.move_endpoint(db, subscription_id, given.get("url"), headers)
    if changed.get("active"):
        await deliveries.wake(db, subscription_id)
    return json_reply(render_subscription(await subscriptions.find(db, actor, subscription_id)))


@routes.call("DELETE", "/subscriptions/{id}", "manage-subscriptions")
async def delete(request: web.Request, actor: Actor) -> web.Response:
    db = request.config_dict[DATABASE]
    found = await _find_own(request, actor)
    read.read_query(request)
    await execute(request, actor, DeleteSubscription(subscription_id=str(found["subscription_id"])))
    await deliveries.delete_endpoint(db, found["subscription_id"])
    await deliveries.wake(db, found["subscription_id"])  # so that what waits is given up now
    return web.Response(status=204)


@routes.call("POST", "/subscriptions/{id}/secret", "manage-subscriptions")
async def rotate(request: web.Request, actor: Actor) -> web.Response:
    """A new secret; the old one signs beside it for a while."""
    db = request.config_dict[DATABASE]
    found = await _find_own(request, actor)
    require_not_web_hook(found)
    given = await read.read_body(request, {"secret": str, "overlap_s": int}, ())
    secret, overlap = given.get("secret") or signing.new_secret(), given.get("overlap_s", DEFAULT_OVERLAP)
    require_secret(secret)
    if not 0 <= overlap <= MAX_OVERLAP:
        raise invalid_request(("/overlap_s", f"This has to be a whole number from 0 to {MAX_OVERLAP}."))
    until = await deliveries.rotate_secret(db, found["subscription_id"], secret, overlap)
    return json_reply({"secret": secret, "previous_until": format_moment(until)}, headers=NO_STORE)


@routes.call("POST", "/subscriptions/{id}/ping", "manage-subscriptions")
async def ping(request: web.Request, actor: Actor) -> web.Response:
    db = request.config_dict[DATABASE]
    found = await _find_own(request, actor)
    await read.require_no_input(request)
    delivery_id = await deliveries.ping(db, found["subscription_id"])
    return json_reply({"delivery": render_delivery(await subscriptions.find_delivery(db, actor, delivery_id))}, 202)


@routes.call("POST", "/subscriptions/{id}/replay", "manage-subscriptions")
async def replay(request: web.Request, actor: Actor) -> web.Response:
    db = request.config_dict[DATABASE]
    found = await _find_own(request, actor)
    given = await read.read_body(request, {"after": int, "to": int}, ("after",))
    after, to = given["after"], given.get("to", 2**62)
    if not 0 <= after <= to <= 2**62:
        raise invalid_request(("/after", "This has to be the number of an event, and no greater than `to`."))
    key, unsupported = found["subscription_id"], formats.list_unsupported()
    if await deliveries.count_wanted(db, key, after, to, unsupported) > deliveries.MAX_REPLAY:
        most = f"{deliveries.MAX_REPLAY:,}"
        raise invalid_request(
            ("/after", f"More than {most} deliveries would wait then. Name a smaller part with `to`.")
        )
    return json_reply({"count": await deliveries.replay(db, key, after, to, unsupported)}, 202)


@routes.call("GET", "/subscriptions/{id}/deliveries", "manage-subscriptions")
async def list_deliveries(request: web.Request, actor: Actor) -> web.Response:
    db = request.config_dict[DATABASE]
    subscription_id = read.parse_uuid(request.match_info["id"])
    values = read.read_query(request, "status", "after", "limit", "cursor")
    status = values.get("status")
    if status is not None and status not in STATUSES:
        raise invalid_request(("?status", "This has to be one of " + ", ".join(STATUSES) + "."))
    limit, after = read.read_integer(values, "limit", 50, 1, 100), read.read_integer(values, "after", 0, 0, 2**62)
    before = read.read_cursor(values) if "cursor" in values else None
    rows = await subscriptions.list_deliveries(db, actor, subscription_id, status, after, before, limit + 1)
    more = format_cursor(rows[limit - 1]["delivery_id"]) if len(rows) > limit else None
    return json_reply(
        {"deliveries": [render_delivery(row) for row in rows[:limit]], "next": more},
        headers=next_link(request, more),
    )


@routes.call("GET", "/deliveries/{id}", "manage-subscriptions")
async def view_delivery(request: web.Request, actor: Actor) -> web.Response:
    read.read_query(request)
    found = await subscriptions.find_delivery(
        request.config_dict[DATABASE], actor, read.parse_uuid(request.match_info["id"])
    )
    return json_reply(render_delivery(found))


@routes.call("POST", "/deliveries/{id}/redeliver", "manage-subscriptions")
async def redeliver(request: web.Request, actor: Actor) -> web.Response:
    db = request.config_dict[DATABASE]
    await read.require_no_input(request)
    delivery_id: UUID = read.parse_uuid(request.match_info["id"])
    await subscriptions.find_delivery(db, actor, delivery_id)
    await deliveries.redeliver(db, delivery_id)
    return json_reply(render_delivery(await subscriptions.find_delivery(db, actor, delivery_id)), 202)
