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
from app.feed import cloudevent
from events.event import TYPES

MARK = "whsec_"
VISIBLE = re.compile(r"[!-~]{16,128}\Z")
TOLERANCE = 300  # seconds that a delivery may be old, or early by the receiver's clock
LARGEST = 256 << 10  # bytes of a body; what is larger is sent without its data, with a link instead


def new_secret() -> str:
    return MARK + base64.b64encode(secrets.token_bytes(32)).decode()


def key(secret: str) -> bytes | None:
    """What signs: the decoded bytes of `whsec_…`, else the text itself. None for what is no secret of ours."""
    if not secret.startswith(MARK):
        return secret.encode() if VISIBLE.match(secret) else None
    try:
        decoded = base64.b64decode(secret.removeprefix(MARK), validate=True)
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
class Occasion:
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


Tell = Callable[[Occasion], Awaitable[list[Message]]]
SPOKEN: dict[str, tuple[Tell, frozenset[str]]] = {}


def speaks(format: str, types: Collection[str]) -> Callable[[Tell], Tell]:
    """Register what puts an occasion into the messages of a format, several or none, and the types of events that it
    has words for.
    """

    def register(tell: Tell) -> Tell:
        SPOKEN[format] = (tell, frozenset(types))
        return tell

    return register


def silent() -> list[str]:
    """Formats with the types of events that they have no words for: `pagure user.created`."""
    return [
        f"{format} {type}" for format, (_, types) in sorted(SPOKEN.items()) for type in sorted(TYPES.keys() - types)
    ]


async def messages(format: str, occasion: Occasion) -> list[Message]:
    """What is sent, in its order. Raises what reading that raises."""
    if format in SPOKEN:
        return await SPOKEN[format][0](occasion)
    return [message(format, occasion.event, occasion.settings.url)]


def standard(event: Mapping[str, Any]) -> Message:
    return Message(orjson.dumps({"type": event["type"], "timestamp": event["at"], "data": event}))


def structured(event: Mapping[str, Any], source: str) -> Message:
    return Message(orjson.dumps(cloudevent(event, source)), "application/cloudevents+json")


def message(format: str, event: Mapping[str, Any], url: str) -> Message:
    """The event in a format of ours; `url` is the forge's address."""

    def said(event: Mapping[str, Any]) -> Message:
        return structured(event, url) if format == "cloudevents" else standard(event)

    whole = said(event)
    if len(whole.body) <= LARGEST:
        return whole
    return said({**event, "data": None, "link": f"{url}/v1/events/{event['seq']}"})


def signatures(keys: Sequence[bytes], id: str, timestamp: int, body: bytes) -> str:
    """The header `webhook-signature`: one signature for every key that is good at the moment."""
    signed = b"%s.%d.%s" % (id.encode(), timestamp, body)
    return " ".join("v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode() for key in keys)


def pagure_signatures(secret: str, body: bytes) -> dict[str, str]:
    """Pagure's headers: the whole secret is the key, the raw body what is signed."""
    return {
        "X-Pagure-Signature": hmac.new(secret.encode(), body, hashlib.sha1).hexdigest(),
        "X-Pagure-Signature-256": hmac.new(secret.encode(), body, hashlib.sha256).hexdigest(),
    }


class Unverified(Exception):
    """A delivery that anybody may have sent. Its text says why."""


def verify(secret: str, headers: Mapping[str, str], body: bytes, now: float) -> None:
    """What a receiver asks before it believes a delivery; `headers` take no notice of case. Raises Unverified."""
    standard, pagure = headers.get("webhook-signature"), headers.get("X-Pagure-Signature-256")
    if standard is None and pagure is None:
        raise Unverified("it is not signed")
    if pagure is not None and not _same(pagure, pagure_signatures(secret, body)["X-Pagure-Signature-256"]):
        raise Unverified("X-Pagure-Signature-256 is of another secret or body")
    if standard is None:
        return
    timestamp = headers.get("webhook-timestamp", "")
    if not re.fullmatch(r"[0-9]{1,12}", timestamp):
        raise Unverified("it has no time")
    if abs(now - int(timestamp)) > TOLERANCE:
        raise Unverified("it is more than five minutes " + ("old" if int(timestamp) < now else "early"))
    signing = key(secret)
    expected = signatures([signing], headers.get("webhook-id", ""), int(timestamp), body) if signing else ""
    if not any(_same(each, expected) for each in standard.split(" ")):
        raise Unverified("webhook-signature is of another secret or body")


def _same(said: str, expected: str) -> bool:
    return hmac.compare_digest(said.encode(errors="surrogateescape"), expected.encode())
