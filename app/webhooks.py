"""What deliveries say, how they are signed and checked: Standard Webhooks 1.0.0, CloudEvents 1.0.2 and Pagure's way."""

import base64
import binascii
import hashlib
import hmac
import re
import secrets
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import orjson

from app.config import Settings
from app.database import Database
from app.feed import render_cloudevent
from events.event import TYPES

PREFIX = "whsec_"
VISIBLE_SECRET = re.compile(r"[!-~]{16,128}\Z")
TOLERANCE = 300  # seconds that a delivery may be old, or early by the receiver's clock
MAX_BODY = 256 << 10  # bytes of a body; what is larger is sent without its data, with a link instead


def new_secret() -> str:
    return PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()


def signing_key(secret: str) -> bytes | None:
    """What signs: the decoded bytes of `whsec_…`, else the text itself. None for what is no secret of ours."""
    if not secret.startswith(PREFIX):
        return secret.encode() if VISIBLE_SECRET.match(secret) else None
    try:
        decoded = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):
        return None
    return decoded if 24 <= len(decoded) <= 64 else None


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


def formats(format: str, types: Collection[str]) -> Callable[[Formatter], Formatter]:
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


def sign(keys: Sequence[bytes], id: str, timestamp: int, body: bytes) -> str:
    """The header `webhook-signature`: one signature for every key that is good at the moment."""
    signed = b"%s.%d.%s" % (id.encode(), timestamp, body)
    return " ".join("v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode() for key in keys)


def sign_pagure(secret: str, body: bytes) -> dict[str, str]:
    """Pagure's headers: the whole secret is the key, the raw body what is signed."""
    return {
        "X-Pagure-Signature": hmac.new(secret.encode(), body, hashlib.sha1).hexdigest(),
        "X-Pagure-Signature-256": hmac.new(secret.encode(), body, hashlib.sha256).hexdigest(),
    }


class SignatureError(Exception):
    """A delivery that anybody may have sent. Its text says why."""


def verify(secret: str, headers: Mapping[str, str], body: bytes, now: float) -> None:
    """What a receiver asks before it believes a delivery; `headers` take no notice of case. Raises Unverified."""
    standard, pagure = headers.get("webhook-signature"), headers.get("X-Pagure-Signature-256")
    if standard is None and pagure is None:
        raise SignatureError("it is not signed")
    if pagure is not None and not _equal(pagure, sign_pagure(secret, body)["X-Pagure-Signature-256"]):
        raise SignatureError("X-Pagure-Signature-256 is of another secret or body")
    if standard is None:
        return
    timestamp = headers.get("webhook-timestamp", "")
    if not re.fullmatch(r"[0-9]{1,12}", timestamp):
        raise SignatureError("it has no time")
    if abs(now - int(timestamp)) > TOLERANCE:
        raise SignatureError("it is more than five minutes " + ("old" if int(timestamp) < now else "early"))
    signing = signing_key(secret)
    expected = sign([signing], headers.get("webhook-id", ""), int(timestamp), body) if signing else ""
    if not any(_equal(each, expected) for each in standard.split(" ")):
        raise SignatureError("webhook-signature is of another secret or body")


def _equal(said: str, expected: str) -> bool:
    return hmac.compare_digest(said.encode(errors="surrogateescape"), expected.encode())
