"""Subscriptions: where events are sent, and what has become of each that was."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from aiohttp import web

from app import webhooks
from app.core import paths
from app.core.access import Actor, require
from app.core.subscriptions import (
    ChangeSubscription,
    CreateSubscription,
    DeleteSubscription,
    endpoint,
    require_headers,
    require_keeper,
    require_no_hook,
    require_secret,
)
from app.database import Database
from app.dialects.native import read
from app.dialects.native.problems import somebody, unprocessable
from app.queries import projects, subscriptions
from app.web import DATABASE, Routes, execute, reply

routes = Routes()
FIELDS = {
    "url": str, "types": list, "project": str, "secret": str, "format": str, "ordered": bool, "headers": dict,
    "active": bool,
}  # fmt: skip
OVERLAP = 24 * 3600  # seconds that an old secret signs beside the new one
LONGEST_OVERLAP = 30 * 24 * 3600
STATUSES = ("waiting", "delivered", "failed", "suppressed")
NO_STORE = {"Cache-Control": "no-store"}


def shown(row: Mapping[str, Any]) -> dict[str, Any]:
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
        "failing_since": read.moment(row["failing_since"]),
        "created_at": read.moment(row["created_at"]),
        "changed_at": read.moment(row["changed_at"]),
    }


def shown_delivery(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "id": str(row["delivery_id"]),
        "subscription": str(row["subscription_id"]),
        "seq": row["seq"] or None,
        "type": row["type"],
        "status": row["status"],
        "reason": row["reason"],
        "attempts": [
            {
                "at": read.moment(datetime.fromisoformat(tried["at"])),
                "status": tried["status"],
                "duration_ms": tried["duration_ms"],
                "error": tried["error"],
                "response_excerpt": tried["excerpt"],
            }
            for tried in row["tried"]
        ],
        "created_at": read.moment(row["created_at"]),
        "ended_at": read.moment(row["ended_at"]),
        "next_attempt_at": read.moment(row["due_at"]),
    }


async def _named(request: web.Request) -> tuple[Actor, Database, Mapping[str, Any]]:
    """Who asks, and the subscription of the path, if it is theirs to look after."""
    actor, db = await somebody(request), request.config_dict[DATABASE]
    require_keeper(actor)
    return actor, db, await subscriptions.find(db, actor, read.uuid(request.match_info["id"]))


@routes.add("POST", "/subscriptions", "manage-subscriptions")
async def create(request: web.Request) -> web.Response:
    actor, db = await somebody(request), request.config_dict[DATABASE]
    wish = await read.body(request, FIELDS, ("url",))
    project_id = None
    if "project" in wish:
        project = await projects.by_address(db, paths.address_of(wish["project"]))
        require(actor, "read-project", project)
        project_id = project["project_id"]
    url, secret, headers = endpoint(wish["url"]), wish.get("secret") or webhooks.new_secret(), wish.get("headers", {})
    require_secret(secret)
    require_headers(headers)
    subscription_id = uuid4()
    command = CreateSubscription(
        subscription_id=str(subscription_id),
        project_id=project_id,
        types=wish.get("types"),
        format=wish.get("format", "standard"),
        ordered=wish.get("ordered", True),
        host=url.host or "",
        active=wish.get("active", True),
    )
    async with subscriptions.keeping(db, subscription_id, wish["url"], secret, headers):
        await execute(request, actor, command)
    found = await subscriptions.find(db, actor, subscription_id)
    return reply({**shown(found), "secret": secret}, 201, headers=NO_STORE)


@routes.add("GET", "/subscriptions", "manage-subscriptions")
async def list_subscriptions(request: web.Request) -> web.Response:
    actor, db = await somebody(request), request.config_dict[DATABASE]
    require_keeper(actor)
    values = read.query(request, "limit", "cursor")
    limit = read.integer(values, "limit", 50, 1, 100)
    rows = await subscriptions.of(db, actor, read.cursor(values), limit + 1)
    more = read.next_cursor(rows[limit - 1]["subscription_id"]) if len(rows) > limit else None
    return reply(
        {"subscriptions": [shown(row) for row in rows[:limit]], "next": more}, headers=read.link(request, more)
    )


@routes.add("GET", "/subscriptions/{id}", "manage-subscriptions")
async def view(request: web.Request) -> web.Response:
    _, _, found = await _named(request)
    read.query(request)
    return reply(shown(found))


@routes.add("PATCH", "/subscriptions/{id}", "manage-subscriptions")
async def change(request: web.Request) -> web.Response:
    actor, db, found = await _named(request)
    fields = {name: kind for name, kind in FIELDS.items() if name not in ("project", "secret")}
    wish = await read.body(request, fields, ())
    changed: dict[str, Any] = {name: wish[name] for name in ("types", "format", "ordered", "active") if name in wish}
    headers = wish.get("headers")
    if headers is not None:
        require_headers(headers)
    if "url" in wish:
        changed["host"] = endpoint(wish["url"]).host
    subscription_id = found["subscription_id"]
    await execute(request, actor, ChangeSubscription(subscription_id=str(subscription_id), changed=changed))
    await subscriptions.move_endpoint(db, subscription_id, wish.get("url"), headers)
    if changed.get("active"):
        await subscriptions.wake(db, subscription_id)
    return reply(shown(await subscriptions.find(db, actor, subscription_id)))


@routes.add("DELETE", "/subscriptions/{id}", "manage-subscriptions")
async def delete(request: web.Request) -> web.Response:
    actor, db, found = await _named(request)
    read.query(request)
    await execute(request, actor, DeleteSubscription(subscription_id=str(found["subscription_id"])))
    await subscriptions.forget_endpoint(db, found["subscription_id"])
    await subscriptions.wake(db, found["subscription_id"])  # so that what waits is given up now
    return web.Response(status=204)


@routes.add("POST", "/subscriptions/{id}/secret", "manage-subscriptions")
async def rotate(request: web.Request) -> web.Response:
    """A new secret; the old one signs beside it for a while."""
    _, db, found = await _named(request)
    require_no_hook(found)
    wish = await read.body(request, {"secret": str, "overlap_s": int}, ())
    secret, overlap = wish.get("secret") or webhooks.new_secret(), wish.get("overlap_s", OVERLAP)
    require_secret(secret)
    if not 0 <= overlap <= LONGEST_OVERLAP:
        raise unprocessable(("/overlap_s", f"This has to be a whole number from 0 to {LONGEST_OVERLAP}."))
    until = await subscriptions.rotate(db, found["subscription_id"], secret, overlap)
    return reply({"secret": secret, "previous_until": read.moment(until)}, headers=NO_STORE)


@routes.add("POST", "/subscriptions/{id}/ping", "manage-subscriptions")
async def ping(request: web.Request) -> web.Response:
    actor, db, found = await _named(request)
    await read.nothing(request)
    delivery_id = await subscriptions.ping(db, found["subscription_id"])
    return reply({"delivery": shown_delivery(await subscriptions.delivery(db, actor, delivery_id))}, 202)


@routes.add("POST", "/subscriptions/{id}/replay", "manage-subscriptions")
async def replay(request: web.Request) -> web.Response:
    _, db, found = await _named(request)
    wish = await read.body(request, {"after": int, "to": int}, ("after",))
    after, to = wish["after"], wish.get("to", 2**62)
    if not 0 <= after <= to <= 2**62:
        raise unprocessable(("/after", "This has to be the number of an event, and no greater than `to`."))
    if await subscriptions.wanted(db, found["subscription_id"], after, to) > subscriptions.MOST:
        most = f"{subscriptions.MOST:,}"
        raise unprocessable(("/after", f"More than {most} deliveries would wait then. Name a smaller part with `to`."))
    return reply({"count": await subscriptions.replay(db, found["subscription_id"], after, to)}, 202)


@routes.add("GET", "/subscriptions/{id}/deliveries", "manage-subscriptions")
async def list_deliveries(request: web.Request) -> web.Response:
    actor, db = await somebody(request), request.config_dict[DATABASE]
    require_keeper(actor)
    subscription_id = read.uuid(request.match_info["id"])
    values = read.query(request, "status", "after", "limit", "cursor")
    status = values.get("status")
    if status is not None and status not in STATUSES:
        raise unprocessable(("?status", "This has to be one of " + ", ".join(STATUSES) + "."))
    limit, after = read.integer(values, "limit", 50, 1, 100), read.integer(values, "after", 0, 0, 2**62)
    before = read.cursor(values) if "cursor" in values else None
    rows = await subscriptions.deliveries(db, actor, subscription_id, status, after, before, limit + 1)
    more = read.next_cursor(rows[limit - 1]["delivery_id"]) if len(rows) > limit else None
    return reply(
        {"deliveries": [shown_delivery(row) for row in rows[:limit]], "next": more}, headers=read.link(request, more)
    )


@routes.add("GET", "/deliveries/{id}", "manage-subscriptions")
async def view_delivery(request: web.Request) -> web.Response:
    actor = await somebody(request)
    require_keeper(actor)
    read.query(request)
    found = await subscriptions.delivery(request.config_dict[DATABASE], actor, read.uuid(request.match_info["id"]))
    return reply(shown_delivery(found))


@routes.add("POST", "/deliveries/{id}/redeliver", "manage-subscriptions")
async def redeliver(request: web.Request) -> web.Response:
    actor, db = await somebody(request), request.config_dict[DATABASE]
    require_keeper(actor)
    await read.nothing(request)
    delivery_id: UUID = read.uuid(request.match_info["id"])
    await subscriptions.delivery(db, actor, delivery_id)
    await subscriptions.redeliver(db, delivery_id)
    return reply(shown_delivery(await subscriptions.delivery(db, actor, delivery_id)), 202)
