"""What a delivery says and how it is signed: Standard Webhooks 1.0.0, CloudEvents 1.0.2, Pagure's signatures."""

import base64
import binascii
import hashlib
import hmac
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from app.feed import cloudevent

MARK = "whsec_"
VISIBLE = re.compile(r"[!-~]{16,128}\Z")
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
