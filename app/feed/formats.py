"""What deliveries say, how they are signed and checked: Standard Webhooks 1.0.0, CloudEvents 1.0.2 and Pagure's way."""

from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import orjson

from app.config import Settings
from app.database import Database
from app.feed.pages import render_cloudevent
from events.event import TYPES

MAX_BODY = 256 << 10  # bytes of a body; what is larger is sent without its data, with a link instead


@dataclass(frozen=True)
class Message:
    """A body, ready to be sent, and the headers that its format asks for."""

    body: bytes
    media: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class DeliveryContext:
    """What a delivery is about, for formats that have words of their own.

    `event` is as the feed shows it to whoever is told. `project_id` is the subscription's, None if it is about all that
    its owner may read; `gone` is a project as it was before it was deleted.
    """

    db: Database
    settings: Settings
    event: Mapping[str, Any]
    delivery_id: UUID
    secret: str
    project_id: int | None
    gone: Mapping[str, Any] | None


Formatter = Callable[[DeliveryContext], Awaitable[list[Message]]]
FORMATTERS: dict[str, tuple[Formatter, frozenset[str]]] = {}


def register_format(format: str, types: Collection[str]) -> Callable[[Formatter], Formatter]:
    """Register what puts an occasion into the messages of a format, several or none, and the types of events that it
    has words for.
    """

    def register(tell: Formatter) -> Formatter:
        FORMATTERS[format] = (tell, frozenset(types))
        return tell

    return register


def list_unsupported() -> list[str]:
    """Formats with the types of events that they have no words for: `pagure user.created`."""
    return [
        f"{format} {type}" for format, (_, types) in sorted(FORMATTERS.items()) for type in sorted(TYPES.keys() - types)
    ]


async def build_messages(format: str, occasion: DeliveryContext) -> list[Message]:
    """What is sent, in its order. Raises what reading that raises."""
    if format in FORMATTERS:
        return await FORMATTERS[format][0](occasion)
    return [build_message(format, occasion.event, occasion.settings.url)]


def standard_message(event: Mapping[str, Any]) -> Message:
    return Message(orjson.dumps({"type": event["type"], "timestamp": event["at"], "data": event}))


def cloudevents_message(event: Mapping[str, Any], source: str) -> Message:
    return Message(orjson.dumps(render_cloudevent(event, source)), "application/cloudevents+json")


def build_message(format: str, event: Mapping[str, Any], url: str) -> Message:
    """The event in a format of ours; `url` is the forge's address."""

    def said(event: Mapping[str, Any]) -> Message:
        return cloudevents_message(event, url) if format == "cloudevents" else standard_message(event)

    whole = said(event)
    if len(whole.body) <= MAX_BODY:
        return whole
    return said({**event, "data": None, "link": f"{url}/v1/events/{event['seq']}"})
