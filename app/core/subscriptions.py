"""Commands on subscriptions: where events are sent, which ones, and in which format."""

import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from app.actor import Actor
from app.core.access import require, require_unblocked
from app.core.commands import Command, CommandContext, handles
from app.database import Row
from app.errors import Conflict, Forbidden, Invalid, Subject
from app.feed.signing import signing_key
from app.queries import projects, subscriptions
from events.event import list_unknown
from events.record import NewEvent
from events.subscriptions import SubscriptionChanged, SubscriptionCreated, SubscriptionDeleted

FORMATS = ("standard", "pagure", "cloudevents")
MAX_SUBSCRIPTIONS = 100  # subscriptions of one user, those that have ended included
MAX_HEADERS = 20
MAX_HEADER_LENGTH = 1024
HEADER = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,128}\Z")  # RFC 9110, 5.6.2
VALUE = re.compile(r"[\t -~]*\Z")
# Headers that the forge sets itself, that belong to the connection, or that would fake who sends.
FORGE_HEADERS = re.compile(
    r"(host|connection|content-.*|transfer-encoding|te|trailer|upgrade|expect|keep-alive|proxy-.*|user-agent|cookie"
    r"|accept-encoding|forwarded|x-forwarded-.*|x-real-ip|x-request-id|via|webhook-.*|x-pagure.*|ce-.*)\Z",
    re.IGNORECASE,
)


def require_secret(secret: str) -> None:
    if signing_key(secret) is None:
        raise Invalid(Subject.SECRET, "secret")


def require_headers(headers: Mapping[str, Any]) -> None:
    """Refuse headers that are malformed or that only the forge may set."""
    if len(headers) > MAX_HEADERS:
        raise Invalid(Subject.TOO_MANY_HEADERS, "headers", limit=MAX_HEADERS)
    for name, value in headers.items():
        if not HEADER.match(name) or FORGE_HEADERS.match(name):
            raise Invalid(Subject.HEADER_NAME, "headers", name=name)
        if not isinstance(value, str) or len(value) > MAX_HEADER_LENGTH or not VALUE.match(value):
            raise Invalid(Subject.HEADER_VALUE, "headers", name=name, limit=MAX_HEADER_LENGTH)


def require_types(types: list[str] | None) -> None:
    if unknown := list_unknown(types or ()):
        raise Invalid(Subject.EVENT_TYPE, "types", name=unknown[0][:100])


def require_format(name: str) -> None:
    if name not in FORMATS:
        raise Invalid(Subject.CHOICE, "format", choices=FORMATS)


@dataclass(frozen=True, kw_only=True)
class CreateSubscription(Command, shows_secret=True):
    """Create a subscription. Its URL and secret are stored separately beforehand; the event names only the host."""

    subscription_id: str
    project_id: int | None
    types: list[str] | None
    format: str
    ordered: bool
    host: str
    active: bool


@handles(CreateSubscription)
async def create_subscription(ctx: CommandContext, command: CreateSubscription) -> list[NewEvent]:
    actor = ctx.actor
    if actor.anonymous or actor.acls is not None:
        raise Forbidden(Subject.SUBSCRIPTIONS)
    if actor.token_project not in (None, command.project_id):
        raise Forbidden(Subject.TOKEN)
    if command.project_id is None and not actor.admin:
        raise Invalid(Subject.PROJECT_REQUIRED, "project")
    if command.project_id is not None:
        project = await projects.by_id(ctx.db, command.project_id)
        require(actor, "read-project", project)
        require_unblocked(actor, "manage-subscriptions", project)
    require_types(command.types)
    require_format(command.format)
    if await subscriptions.count_of_owner(ctx.db, actor.username) >= MAX_SUBSCRIPTIONS:
        raise Conflict(Subject.TOO_MANY_SUBSCRIPTIONS, limit=MAX_SUBSCRIPTIONS)
    created = SubscriptionCreated(
        subscription_id=command.subscription_id,
        username=actor.username,
        token_id=str(actor.token_id) if actor.token_id else None,
        project_id=command.project_id,
        types=command.types,
        format=command.format,
        ordered=command.ordered,
        host=command.host,
        status="active" if command.active else "inactive",
    )
    return [NewEvent(created)]


@dataclass(frozen=True, kw_only=True)
class ChangeSubscription(Command):
    """Change a subscription; `changed` holds any of types, format, ordered, host and active."""

    subscription_id: str
    changed: dict[str, Any] = field(default_factory=dict)


@handles(ChangeSubscription)
async def change_subscription(ctx: CommandContext, command: ChangeSubscription) -> list[NewEvent]:
    found = await _find_own(ctx, command.subscription_id)
    require_changeable(ctx.actor, found)
    require_not_web_hook(found)
    changed = dict(command.changed)
    if "types" in changed:
        require_types(changed["types"])
    if "format" in changed:
        require_format(changed["format"])
    if "active" in changed:
        if found["status"] == "ended":
            raise Conflict(Subject.SUBSCRIPTION_ENDED, "active")
        changed["status"] = "active" if changed.pop("active") else "inactive"
    if all(found[name] == value for name, value in changed.items()):
        return []
    return [NewEvent(_build_change(found, changed), None)]


@dataclass(frozen=True, kw_only=True)
class MarkSubscription(Command):
    """Record that the endpoint keeps failing, has recovered, or is gone. Issued by the forge itself."""

    subscription_id: str
    status: str
    reason: str | None


@handles(MarkSubscription)
async def mark_subscription(ctx: CommandContext, command: MarkSubscription) -> list[NewEvent]:
    found = await _find_own(ctx, command.subscription_id)
    if found["status"] == command.status or found["status"] not in ("active", "paused"):
        return []
    return [NewEvent(_build_change(found, {"status": command.status, "reason": command.reason}), None)]


@dataclass(frozen=True, kw_only=True)
class DeleteSubscription(Command):
    subscription_id: str


@handles(DeleteSubscription)
async def delete_subscription(ctx: CommandContext, command: DeleteSubscription) -> list[NewEvent]:
    found = await _find_own(ctx, command.subscription_id)
    require_not_web_hook(found)
    if found["owner"] != ctx.actor.username:  # what is their own may be given up by blocked users too
        require_changeable(ctx.actor, found)
    deleted = SubscriptionDeleted(
        subscription_id=command.subscription_id, username=found["owner"], project_id=found["project_id"]
    )
    return [NewEvent(deleted, None)]


async def _find_own(ctx: CommandContext, subscription_id: str) -> Row:
    """A subscription that the actor may manage."""
    require_manager(ctx.actor)
    return await subscriptions.find(ctx.db, ctx.actor, uuid.UUID(subscription_id))


def require_not_web_hook(found: Mapping[str, Any]) -> None:
    """Refuse changes to a web hook: its URL is an option of the project, and its secret the project's token."""
    if found["hook"] is not None:
        raise Conflict(Subject.WEB_HOOK)


def require_changeable(actor: Actor, found: Mapping[str, Any]) -> None:
    """Raise Forbidden if the project of the subscription has blocked the actor."""
    if found["blocked"] is not None:  # it is about a project that exists
        require_unblocked(actor, "manage-subscriptions", found)


def require_manager(actor: Actor) -> None:
    if actor.anonymous or actor.acls is not None:
        raise Forbidden(Subject.SUBSCRIPTIONS)


def _build_change(found: Mapping[str, Any], changed: dict[str, Any]) -> SubscriptionChanged:
    return SubscriptionChanged(
        subscription_id=str(found["subscription_id"]),
        username=found["owner"],
        project_id=found["project_id"],
        changed=changed,
    )
