"""Sign deliveries and check signatures: Standard Webhooks 1.0.0 and Pagure's headers."""

import base64
import binascii
import hashlib
import hmac
import re
import secrets
from collections.abc import Mapping, Sequence

PREFIX = "whsec_"
VISIBLE_SECRET = re.compile(r"[!-~]{16,128}\Z")
TOLERANCE = 300  # seconds that a delivery may be old, or early by the receiver's clock


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
