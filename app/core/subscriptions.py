"""What people may ask of subscriptions: where events are sent, which, and in what form."""

import re
import uuid
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from yarl import URL

from app.core.access import Actor, require, require_acl
from app.core.commands import Command, Deciding, handles
from app.database import Row
from app.errors import Conflict, Forbidden, Invalid
from app.queries import projects, subscriptions
from app.webhooks import key
from events.event import TYPES
from events.record import Next
from events.subscriptions import SubscriptionChanged, SubscriptionCreated, SubscriptionDeleted

FORMATS = ("standard", "pagure", "cloudevents")
LONGEST_URL = 2048
MOST = 100  # subscriptions of one user, those that have ended included
MOST_HEADERS = 20
LONGEST_HEADER = 1024
HEADER = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,128}\Z")  # RFC 9110, 5.6.2
VALUE = re.compile(r"[\t -~]*\Z")
# What the forge itself says, what belongs to the connection, and what would lend the forge another face.
OURS = re.compile(
    r"(host|connection|content-.*|transfer-encoding|te|trailer|upgrade|expect|keep-alive|proxy-.*|user-agent|cookie"
    r"|accept-encoding|forwarded|x-forwarded-.*|x-real-ip|x-request-id|via|webhook-.*|x-pagure.*|ce-.*)\Z",
    re.IGNORECASE,
)


def endpoint(url: str) -> URL:
    """The address, if it is one that something can be sent to. Where it leads is asked when the connection is made."""
    parsed = None
    with suppress(ValueError, UnicodeError):
        parsed = URL(url)
    if parsed is None or len(url) > LONGEST_URL or parsed.scheme not in ("http", "https") or not parsed.host:
        raise Invalid("url", "This has to be an address that begins with http:// or https://.")
    if parsed.user or parsed.password or parsed.fragment:
        raise Invalid("url", "An address has no user and no fragment; a header can carry credentials.")
    return parsed


def require_secret(secret: str) -> None:
    if key(secret) is None:
        raise Invalid("secret", "This has to be whsec_ and base64 of 24 to 64 bytes, or 16 to 128 visible characters.")


def require_headers(headers: Mapping[str, Any]) -> None:
    """What is sent along may say anything but what the forge says itself."""
    if len(headers) > MOST_HEADERS:
        raise Invalid("headers", f"No more than {MOST_HEADERS} headers can be sent along.")
    for name, value in headers.items():
        if not HEADER.match(name) or OURS.match(name):
            raise Invalid("headers", "A header has this name already, or there can be none of this name.")
        if not isinstance(value, str) or len(value) > LONGEST_HEADER or not VALUE.match(value):
            raise Invalid("headers", f"A header has up to {LONGEST_HEADER} visible characters.")


def require_types(types: list[str] | None) -> None:
    families = {f"{type.partition('.')[0]}.*" for type in TYPES}
    unknown = sorted(set(types or ()) - TYPES.keys() - families)
    if unknown:
        raise Invalid("types", f"There is no such type of event: {unknown[0][:100]}")


def require_format(format: str) -> None:
    if format not in FORMATS:
        raise Invalid("format", "This has to be one of " + ", ".join(FORMATS) + ".")


@dataclass(frozen=True, kw_only=True)
class CreateSubscription(Command):
    """The address and what signs are kept elsewhere beforehand; of the address only the host is told."""

    subscription_id: str
    project_id: int | None
    types: list[str] | None
    format: str
    ordered: bool
    host: str
    active: bool


@handles(CreateSubscription)
async def create_subscription(deciding: Deciding, wish: CreateSubscription) -> list[Next]:
    actor = deciding.actor
    if actor.anonymous or actor.acls is not None:
        raise Forbidden("subscriptions")
    require_acl(actor, "", wish.project_id)
    if wish.project_id is None and not actor.admin:
        raise Invalid("project", "All that one may read is for administrators to follow; name a project.")
    if wish.project_id is not None:
        require(actor, "read-project", await projects.by_id(deciding.db, wish.project_id))
    require_types(wish.types)
    require_format(wish.format)
    if await subscriptions.count(deciding.db, actor.username) >= MOST:
        raise Conflict("subscription", f"Nobody has more than {MOST} of them; delete one that is not needed.")
    created = SubscriptionCreated(
        subscription_id=wish.subscription_id,
        username=actor.username,
        token_id=str(actor.token_id) if actor.token_id else None,
        project_id=wish.project_id,
        types=wish.types,
        format=wish.format,
        ordered=wish.ordered,
        host=wish.host,
        status="active" if wish.active else "inactive",
    )
    return [Next(created)]


@dataclass(frozen=True, kw_only=True)
class ChangeSubscription(Command):
    """`changed` are any of types, format, ordered, host and active."""

    subscription_id: str
    changed: dict[str, Any] = field(default_factory=dict)


@handles(ChangeSubscription)
async def change_subscription(deciding: Deciding, wish: ChangeSubscription) -> list[Next]:
    found = await _mine(deciding, wish.subscription_id)
    require_no_hook(found)
    changed = dict(wish.changed)
    if "types" in changed:
        require_types(changed["types"])
    if "format" in changed:
        require_format(changed["format"])
    if "active" in changed:
        if found["status"] == "ended":
            raise Conflict("subscription", "It has ended; make another one.")
        changed["status"] = "active" if changed.pop("active") else "inactive"
    if all(found[name] == value for name, value in changed.items()):
        return []
    return [Next(_changed(found, changed), None)]


@dataclass(frozen=True, kw_only=True)
class MarkSubscription(Command):
    """The forge's own wish: its endpoint has failed for long, has recovered, or is gone for good."""

    subscription_id: str
    status: str
    reason: str | None


@handles(MarkSubscription)
async def mark_subscription(deciding: Deciding, wish: MarkSubscription) -> list[Next]:
    found = await _mine(deciding, wish.subscription_id)
    if found["status"] == wish.status or found["status"] not in ("active", "paused"):
        return []
    return [Next(_changed(found, {"status": wish.status, "reason": wish.reason}), None)]


@dataclass(frozen=True, kw_only=True)
class DeleteSubscription(Command):
    subscription_id: str


@handles(DeleteSubscription)
async def delete_subscription(deciding: Deciding, wish: DeleteSubscription) -> list[Next]:
    found = await _mine(deciding, wish.subscription_id)
    require_no_hook(found)
    deleted = SubscriptionDeleted(
        subscription_id=wish.subscription_id, username=found["owner"], project_id=found["project_id"]
    )
    return [Next(deleted, None)]


async def _mine(deciding: Deciding, subscription_id: str) -> Row:
    """A subscription that the actor looks after; a token for something else does not."""
    require_keeper(deciding.actor)
    return await subscriptions.find(deciding.db, deciding.actor, uuid.UUID(subscription_id))


def require_no_hook(found: Mapping[str, Any]) -> None:
    """A project's web hooks are what its option says, and signed with its token."""
    if found["hook"] is not None:
        raise Conflict("web hook", "This is a web hook of the project, whose option says where it goes.")


def require_keeper(actor: Actor) -> None:
    if actor.anonymous or actor.acls is not None:
        raise Forbidden("subscriptions")


def _changed(found: Mapping[str, Any], changed: dict[str, Any]) -> SubscriptionChanged:
    return SubscriptionChanged(
        subscription_id=str(found["subscription_id"]),
        username=found["owner"],
        project_id=found["project_id"],
        changed=changed,
    )
