"""Signatures of deliveries: Standard Webhooks 1.0.0 and Pagure's headers."""

import base64
import binascii
import hashlib
import hmac
import re
import secrets
from collections.abc import Mapping, Sequence

PREFIX = "whsec_"
VISIBLE_SECRET = re.compile(r"[!-~]{16,128}\Z")
TOLERANCE = 300  # seconds by which a delivery's timestamp may differ from the receiver's clock


def new_secret() -> str:
    return PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()


def signing_key(secret: str) -> bytes | None:
    """The key of a secret: the decoded bytes of `whsec_…`, else the text itself. None if the secret is invalid."""
    if not secret.startswith(PREFIX):
        return secret.encode() if VISIBLE_SECRET.match(secret) else None
    try:
        decoded = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):
        return None
    return decoded if 24 <= len(decoded) <= 64 else None


def sign(keys: Sequence[bytes], message_id: str, timestamp: int, body: bytes) -> str:
    """Build the header `webhook-signature`: one signature for each key that is valid at the moment."""
    signed = b"%s.%d.%s" % (message_id.encode(), timestamp, body)
    return " ".join("v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode() for key in keys)


def sign_pagure(secret: str, body: bytes) -> dict[str, str]:
    """Build Pagure's signature headers: the key is the whole secret, the raw body is signed."""
    return {
        "X-Pagure-Signature": hmac.new(secret.encode(), body, hashlib.sha1).hexdigest(),
        "X-Pagure-Signature-256": hmac.new(secret.encode(), body, hashlib.sha256).hexdigest(),
    }


class SignatureError(Exception):
    """The signature of a delivery is missing or wrong; the message says why."""


def verify(secret: str, headers: Mapping[str, str], body: bytes, now: float) -> None:
    """Check a delivery as a receiver should. `headers` must be case-insensitive. Raises SignatureError."""
    standard, pagure = headers.get("webhook-signature"), headers.get("X-Pagure-Signature-256")
    if standard is None and pagure is None:
        raise SignatureError("it has no signature")
    if pagure is not None and not _equal(pagure, sign_pagure(secret, body)["X-Pagure-Signature-256"]):
        raise SignatureError("X-Pagure-Signature-256 does not match the secret and the body")
    if standard is None:
        return
    timestamp = headers.get("webhook-timestamp", "")
    if not re.fullmatch(r"[0-9]{1,12}", timestamp):
        raise SignatureError("webhook-timestamp is missing or not a number")
    if abs(now - int(timestamp)) > TOLERANCE:
        raise SignatureError("it is more than five minutes " + ("old" if int(timestamp) < now else "early"))
    key = signing_key(secret)
    expected = sign([key], headers.get("webhook-id", ""), int(timestamp), body) if key else ""
    if not any(_equal(each, expected) for each in standard.split(" ")):
        raise SignatureError("webhook-signature does not match the secret and the body")


def _equal(given: str, expected: str) -> bool:
    return hmac.compare_digest(given.encode(errors="surrogateescape"), expected.encode())
