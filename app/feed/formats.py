"""Delivery formats: Standard Webhooks 1.0.0, CloudEvents 1.0.2, and those that dialects register."""

from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import orjson

from app.config import Settings
from app.database import Database
from app.feed.pages import render_cloudevent
from events.event import TYPES

MAX_BODY = 256 << 10  # bytes; a larger event is sent without its data and with a link instead


@dataclass(frozen=True)
class Message:
    """A body that is ready to be sent, with its media type and the headers of its format."""

    body: bytes
    media: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class DeliveryContext:
    """The input of a formatter.

    `event` is the event as the feed shows it to the receiver, `data` all of its fields, for formats that choose what
    they show. `project_id` is the subscription's project, None for a
    subscription to everything that its owner may read; `gone` is the row of a project from before its deletion.
    """

    db: Database
    settings: Settings
    event: Mapping[str, Any]
    data: Mapping[str, Any]
    delivery_id: UUID
    secret: str
    project_id: int | None
    gone: Mapping[str, Any] | None


Formatter = Callable[[DeliveryContext], Awaitable[list[Message]]]
FORMATTERS: dict[str, tuple[Formatter, frozenset[str]]] = {}


def register_format(name: str, types: Collection[str]) -> Callable[[Formatter], Formatter]:
    """Register a formatter, which turns a delivery into any number of messages, and the event types it supports."""

    def register(formatter: Formatter) -> Formatter:
        FORMATTERS[name] = (formatter, frozenset(types))
        return formatter

    return register


def list_unsupported() -> list[str]:
    """List pairs of a format and an event type that it does not support, such as `pagure user.created`."""
    return [
        f"{name} {event_type}"
        for name, (_, types) in sorted(FORMATTERS.items())
        for event_type in sorted(TYPES.keys() - types)
    ]


async def build_messages(name: str, ctx: DeliveryContext) -> list[Message]:
    """Build the messages of a delivery in this format, in the order of sending.

    Errors from reading the project or its repository are passed on.
    """
    if name in FORMATTERS:
        return await FORMATTERS[name][0](ctx)
    return [build_message(name, ctx.event, ctx.settings.url)]


def standard_message(event: Mapping[str, Any]) -> Message:
    return Message(orjson.dumps({"type": event["type"], "timestamp": event["at"], "data": event}))


def cloudevents_message(event: Mapping[str, Any], source: str) -> Message:
    return Message(orjson.dumps(render_cloudevent(event, source)), "application/cloudevents+json")


def build_message(name: str, event: Mapping[str, Any], url: str) -> Message:
    """Build the message of an event in a native format, `standard` or `cloudevents`; `url` is the forge's base URL."""

    def render(event: Mapping[str, Any]) -> Message:
        return cloudevents_message(event, url) if name == "cloudevents" else standard_message(event)

    whole = render(event)
    if len(whole.body) <= MAX_BODY:
        return whole
    return render({**event, "data": None, "link": f"{url}/v1/events/{event['seq']}"})
