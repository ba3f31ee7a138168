"""Sending a message of a delivery once: the request, its headers and signature, and what became of it."""

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

from app.database import DB_ERRORS
from app.feed import formats, signing
from app.logs import log
from app.outgoing.client import Client
from app.outgoing.failures import OutgoingError
from app.stores.lanes import Attempt

MAX_PAUSE = 86_400.0  # seconds for which an endpoint may ask for no requests
MAX_EXCERPT = 2000  # characters of an endpoint's answer that are stored
USER_AGENT = f"polyforge/{version('polyforge')}"

Subscription = Mapping[str, Any]  # a row with URL and secrets


async def attempt_message(
    client: Client, subscription: Subscription, message_id: str, message: formats.Message
) -> Attempt:
    """Send a message once. Raises what the database raises, and nothing else."""
    try:
        return await _post(client, subscription, message_id, message)
    except DB_ERRORS:
        raise
    except Exception:  # a bug in sending counts as a failed attempt
        return log_internal_failure(message_id)


async def _post(client: Client, subscription: Subscription, message_id: str, message: formats.Message) -> Attempt:
    at, began = datetime.now(UTC), time.perf_counter()
    status, error, excerpt, again = None, None, None, 0.0
    headers = _build_headers(subscription, message_id, int(at.timestamp()), message)
    try:
        answer = await client.send("POST", subscription["url"], body=message.body, headers=headers)
    except OutgoingError as failure:
        error = str(failure)
    else:
        status, again = answer.status, min(answer.retry_after, MAX_PAUSE)
        error = None if 200 <= status < 300 else "status"
        excerpt = answer.body.decode(errors="replace").replace("\x00", "\ufffd")[:MAX_EXCERPT]
    return Attempt(at, status, round((time.perf_counter() - began) * 1000), error, excerpt, again)


def _build_headers(subscription: Subscription, message_id: str, now: int, message: formats.Message) -> dict[str, str]:
    secrets = [subscription["secret"], *filter(None, [subscription["previous_secret"]])]
    keys = [key for secret in secrets if (key := signing.signing_key(secret)) is not None]
    return {
        **subscription["headers"],
        "Content-Type": message.media,
        "User-Agent": USER_AGENT,
        # Many programs pass this id on to the requests that they make as a consequence.
        "X-Request-Id": message_id,
        "webhook-id": message_id,
        "webhook-timestamp": str(now),
        "webhook-signature": signing.sign(keys, message_id, now, message.body),
        **message.headers,
    }


def log_internal_failure(message_id: str) -> Attempt:
    """Log the current exception and return it as a failed attempt, which is retried like any other."""
    log.exception("delivery failed", id=message_id)
    return Attempt(datetime.now(UTC), None, 0, "internal", None)
