"""Webhook subscriptions and their deliveries."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import uuid4

from aiohttp import web

from app.actor import NOBODY, Actor
from app.core import credentials
from app.core.subscriptions import (
    ChangeSubscription,
    CreateSubscription,
    DeleteSubscription,
    require_changeable,
    require_headers,
    require_not_web_hook,
    require_secret,
)
from app.core.urls import parse_endpoint
from app.dialects.native import listings, requests
from app.dialects.native.problems import invalid_request
from app.dialects.native.routes import NativeRoutes
from app.feed import formats, pages, signing
from app.http.commands import execute, was_carried_out
from app.http.keys import DATABASE
from app.http.pagination import format_cursor
from app.http.responses import NO_STORE, format_moment, json_reply
from app.queries import subscriptions
from app.stores import deliveries

routes = NativeRoutes()
FIELDS = {
    "url": str, "types": list, "project": str, "secret": str, "format": str, "ordered": bool, "headers": dict,
    "active": bool,
}  # fmt: skip
DEFAULT_OVERLAP = 24 * 3600  # seconds that a replaced secret still signs deliveries
MAX_OVERLAP = 30 * 24 * 3600  # seconds
STATUSES = ("waiting", "delivered", "failed", "suppressed")


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
                "at": format_moment(datetime.fromisoformat(attempt["at"])),
                "status": attempt["status"],
                "duration_ms": attempt["duration_ms"],
                "error": attempt["error"],
                "response_excerpt": attempt["excerpt"],
            }
            for attempt in row["tried"]
        ],
        "created_at": format_moment(row["created_at"]),
        "ended_at": format_moment(row["ended_at"]),
        "next_attempt_at": format_moment(row["due_at"]),
    }


async def _find_own(request: web.Request, actor: Actor) -> Mapping[str, Any]:
    """Find the subscription that the path names. Raises NotFound unless the actor manages it."""
    db, key = request.config_dict[DATABASE], requests.parse_uuid(request.match_info["id"])
    subscription: Mapping[str, Any] = await subscriptions.find(db, actor, key)
    return subscription


async def _find_changeable(request: web.Request, actor: Actor) -> Mapping[str, Any]:
    """Find the subscription that the path names. Raises Forbidden too, for users whom its project has blocked."""
    subscription = await _find_own(request, actor)
    require_changeable(actor, subscription)
    return subscription


@routes.call("POST", "/subscriptions", "manage-subscriptions")
async def create_subscription(request: web.Request, actor: Actor) -> web.Response:
    db = request.config_dict[DATABASE]
    given = await requests.read_body(request, FIELDS, ("url",))
    project = await requests.find_project(request, actor, given)
    host, headers = parse_endpoint(given["url"]), given.get("headers", {})
    secret = given.get("secret") or signing.new_secret()
    require_secret(secret)
    require_headers(headers)
    subscription_id = uuid4()
    command = CreateSubscription(
        subscription_id=str(subscription_id),
        project_id=project["project_id"] if project else None,
        types=given.get("types"),
        format=given.get("format", "standard"),
        ordered=given.get("ordered", True),
        host=host,
        active=given.get("active", True),
    )
    async with deliveries.storing_endpoint(db, subscription_id, given["url"], secret, headers):
        await execute(request, actor, command)
    subscription = await subscriptions.find(db, actor, subscription_id)
    return json_reply({**render_subscription(subscription), "secret": secret}, 201, headers=NO_STORE)


@routes.call("GET", "/subscriptions", "manage-subscriptions")
async def list_subscriptions(request: web.Request, actor: Actor) -> web.Response:
    values = requests.read_query(request, "limit", "cursor")
    limit, after = listings.read_limit(values), listings.read_cursor(values)
    rows = await subscriptions.list_of_owner(request.config_dict[DATABASE], actor, after, limit + 1)
    return listings.reply_with_page(
        request, "subscriptions", rows, limit, render_subscription, lambda row: format_cursor(row["subscription_id"])
    )


@routes.call("GET", "/subscriptions/{id}", "manage-subscriptions")
async def view_subscription(request: web.Request, actor: Actor) -> web.Response:
    subscription = await _find_own(request, actor)
    requests.read_query(request)
    return json_reply(render_subscription(subscription))


@routes.call("PATCH", "/subscriptions/{id}", "manage-subscriptions")
async def change_subscription(request: web.Request, actor: Actor) -> web.Response:
    db = request.config_dict[DATABASE]
    subscription = await _find_changeable(request, actor)
    fields = {name: kind for name, kind in FIELDS.items() if name not in ("project", "secret")}
    given = await requests.read_body(request, fields, ())
    changed: dict[str, Any] = {name: given[name] for name in ("types", "format", "ordered", "active") if name in given}
    headers = given.get("headers")
    if headers is not None:
        require_headers(headers)
    if "url" in given:
        changed["host"] = parse_endpoint(given["url"])
    subscription_id = subscription["subscription_id"]
    command = ChangeSubscription(subscription_id=str(subscription_id), changed=changed)
    outcome = await execute(request, actor, command)
    # Not when a late retry finds that the subscription has been changed again.
    if not was_carried_out(request) or subscription["changed_at"] == outcome.recorded[0].at:
        await deliveries.move_endpoint(db, subscription_id, given.get("url"), headers)
    if changed.get("active"):
        await deliveries.wake(db, subscription_id)
    return json_reply(render_subscription(await subscriptions.find(db, actor, subscription_id)))


@routes.call("DELETE", "/subscriptions/{id}", "manage-subscriptions")
async def delete_subscription(request: web.Request, actor: Actor) -> web.Response:
    db = request.config_dict[DATABASE]
    subscription_id = requests.parse_uuid(request.match_info["id"])
    if not was_carried_out(request):
        await _find_own(request, actor)
    requests.read_query(request)
    await execute(request, actor, DeleteSubscription(subscription_id=str(subscription_id)))
    await deliveries.delete_endpoint(db, subscription_id)
    await deliveries.wake(db, subscription_id)  # so that waiting deliveries are given up now
    return web.Response(status=204)


@routes.call("POST", "/subscriptions/{id}/secret", "manage-subscriptions")
async def rotate_secret(request: web.Request, actor: Actor) -> web.Response:
    """Replace the secret; the old one signs deliveries too until the overlap ends."""
    db = request.config_dict[DATABASE]
    subscription = await _find_changeable(request, actor)
    require_not_web_hook(subscription)
    given = await requests.read_body(request, {"secret": str, "overlap_s": int}, ())
    secret, overlap = given.get("secret") or signing.new_secret(), given.get("overlap_s", DEFAULT_OVERLAP)
    require_secret(secret)
    if not 0 <= overlap <= MAX_OVERLAP:
        raise invalid_request(("/overlap_s", f"`overlap_s` must be a number from 0 to {MAX_OVERLAP:,}."))
    until = await deliveries.rotate_secret(db, subscription["subscription_id"], secret, overlap)
    return json_reply({"secret": secret, "previous_until": format_moment(until)}, headers=NO_STORE)


@routes.call("POST", "/subscriptions/{id}/ping", "manage-subscriptions")
async def ping(request: web.Request, actor: Actor) -> web.Response:
    db = request.config_dict[DATABASE]
    subscription = await _find_changeable(request, actor)
    await requests.require_no_input(request)
    delivery_id = await deliveries.ping(db, subscription["subscription_id"])
    return json_reply({"delivery": render_delivery(await subscriptions.find_delivery(db, actor, delivery_id))}, 202)


@routes.call("POST", "/subscriptions/{id}/replay", "manage-subscriptions")
async def replay(request: web.Request, actor: Actor) -> web.Response:
    db = request.config_dict[DATABASE]
    subscription = await _find_changeable(request, actor)
    given = await requests.read_body(request, {"after": int, "to": int}, ("after",))
    after, to = given["after"], given.get("to", requests.MAX_SEQ)
    if not 0 <= after <= to <= requests.MAX_SEQ:
        raise invalid_request(("/after", "`after` must be an event number that is not greater than `to`."))
    key, unsupported = subscription["subscription_id"], formats.list_unsupported()
    owner = NOBODY if subscription["hook"] else await credentials.find_actor(db, subscription["owner"])
    reader = pages.build_reader(owner)
    if await deliveries.count_wanted(db, key, after, to, unsupported, reader) > deliveries.MAX_REPLAY:
        raise invalid_request(
            ("/after", f"This would queue more than {deliveries.MAX_REPLAY:,} deliveries; set `to` to replay fewer.")
        )
    return json_reply({"count": await deliveries.replay(db, key, after, to, unsupported, reader)}, 202)


@routes.call("GET", "/subscriptions/{id}/deliveries", "manage-subscriptions")
async def list_deliveries(request: web.Request, actor: Actor) -> web.Response:
    db = request.config_dict[DATABASE]
    subscription_id = requests.parse_uuid(request.match_info["id"])
    values = requests.read_query(request, "status", "after", "limit", "cursor")
    status = requests.read_choice(values, "status", STATUSES)
    limit, after = listings.read_limit(values), requests.read_integer(values, "after", 0, 0, requests.MAX_SEQ)
    before = listings.read_cursor(values) if "cursor" in values else None
    rows = await subscriptions.list_deliveries(db, actor, subscription_id, status, after, before, limit + 1)
    return listings.reply_with_page(
        request, "deliveries", rows, limit, render_delivery, lambda row: format_cursor(row["delivery_id"])
    )


@routes.call("GET", "/deliveries/{id}", "manage-subscriptions")
async def view_delivery(request: web.Request, actor: Actor) -> web.Response:
    requests.read_query(request)
    delivery_id = requests.parse_uuid(request.match_info["id"])
    delivery = await subscriptions.find_delivery(request.config_dict[DATABASE], actor, delivery_id)
    return json_reply(render_delivery(delivery))


@routes.call("POST", "/deliveries/{id}/redeliver", "manage-subscriptions")
async def redeliver(request: web.Request, actor: Actor) -> web.Response:
    db = request.config_dict[DATABASE]
    await requests.require_no_input(request)
    delivery_id = requests.parse_uuid(request.match_info["id"])
    delivery = await subscriptions.find_delivery(db, actor, delivery_id)
    require_changeable(actor, await subscriptions.find(db, actor, delivery["subscription_id"]))
    await deliveries.redeliver(db, delivery_id)
    return json_reply(render_delivery(await subscriptions.find_delivery(db, actor, delivery_id)), 202)
