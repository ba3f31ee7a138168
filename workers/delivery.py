"""Sending events to those who subscribed to them: at least once, in order within a lane, no lane waiting for another.

Postgres knows what is due, how often it was tried and which endpoints are better left alone; a worker that ends at any
moment leaves a lease behind, and another one goes on where it was. Receivers tell a repetition by its id.
"""

import asyncio
import random
import time
from collections import Counter
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from typing import Any
from uuid import UUID, uuid4

from redis.asyncio import Redis
from redis.exceptions import RedisError

from app import feed, webhooks
from app.core import credentials
from app.core.access import Actor
from app.core.commands import execute
from app.core.subscriptions import MarkSubscription
from app.database import TROUBLE, Row
from app.errors import Refused
from app.logs import log
from app.metrics import DELIVERIES
from app.outgoing.client import Client, client
from app.outgoing.failures import Failed
from app.outgoing.guard import Guard
from app.queries import feed as log_pages
from app.queries import lanes, subscriptions
from app.queries.feed import FeedFilter
from app.queries.lanes import Attempt, Lane
from app.tail import HEAD
from workers.reactions import Hands

# Seconds until each further attempt, some 75 hours in all, each longer or shorter by up to a fifth.
SCHEDULE = (5, 30, 120, 600, 1800, 7200, 18_000, 36_000, 86_400, 118_800)
JITTER = 0.2
LONGEST_PAUSE = 86_400.0  # seconds that an endpoint may ask to be left alone
OPENING, OPEN, LONGEST_OPEN = 5, 30.0, 600.0  # failures in a row that open the circuit; seconds that it stays open
PATIENCE = timedelta(days=5)  # of failures only, before a subscription is paused
PROBE = 86_400.0  # seconds between probes of a paused one
PROBATION = timedelta(days=30)  # of probes, before it ends
LEASE = 60.0
LANES = 256  # that one worker sends at once
SHARE = 16  # of them for one subscription
BATCH = 20
POLL = 1.0
USER_AGENT = f"polyforge/{version('polyforge')}"
GONE = 410


class Deliverer:
    """One worker's share of the sending."""

    def __init__(self, hands: Hands, redis: Redis, client: Client) -> None:
        self.hands = hands
        self.db = hands.db
        self.redis = redis
        self.client = client
        self._woken = asyncio.Event()
        self._at: dict[asyncio.Task[None], UUID] = {}

    async def run(self) -> None:
        """Send until cancelled; what is on its way is waited for."""
        listener = asyncio.create_task(self._listen())
        try:
            while True:
                try:
                    await self._claim()
                except TROUBLE as trouble:
                    log.warning("delivery", trouble=type(trouble).__name__)
                with suppress(TimeoutError):
                    async with asyncio.timeout(POLL):
                        await self._woken.wait()
                self._woken.clear()
        finally:
            listener.cancel()
            await asyncio.gather(listener, *self._at, return_exceptions=True)

    async def _claim(self) -> None:
        while room := LANES - len(self._at):
            share = Counter(self._at.values())
            full = [subscription for subscription, count in share.items() if count >= SHARE]
            claimed = await lanes.claim(self.db, LEASE, full, min(room, SHARE))
            for lane in claimed:
                task = asyncio.create_task(self._attend(lane))
                self._at[task] = lane.subscription_id
                task.add_done_callback(self._done)
            if not claimed:
                return

    def _done(self, task: asyncio.Task[None]) -> None:
        del self._at[task]
        self._woken.set()

    async def _attend(self, lane: Lane) -> None:
        try:
            await self._send_lane(lane)
        except TROUBLE as trouble:
            log.warning("delivery", trouble=type(trouble).__name__)  # the lease runs out, and somebody goes on
        except Exception:
            log.exception("delivery failed", subscription=str(lane.subscription_id))

    async def _send_lane(self, lane: Lane) -> None:
        subscription = await lanes.endpoint(self.db, lane.subscription_id)
        if subscription is None or subscription["status"] == "ended" or subscription["url"] is None:
            await lanes.give_up(self.db, lane, (subscription and subscription["reason"]) or "The subscription is gone.")
        elif subscription["status"] != "inactive":
            owner = await credentials.acting(self.db, subscription["owner"])
            while batch := await lanes.waiting(self.db, lane, BATCH):
                for delivery in batch:
                    if not await self._deliver(lane, subscription, owner, delivery):
                        return
        if not await lanes.rest(self.db, lane):
            await lanes.let_go(self.db, lane)  # something was added: it is due again at once

    async def _deliver(self, lane: Lane, subscription: Row, owner: Actor, delivery: Row) -> bool:
        """True when the next of the lane may follow."""
        event = await self._event(owner, delivery)
        if event is None:
            DELIVERIES.labels("suppressed").inc()
            reason = "The subscription's owner may not see this event."
            return await lanes.suppressed(self.db, lane, LEASE, delivery, reason)
        message = webhooks.message(subscription["format"], event, self.hands.settings.url)
        attempt = await self._post(subscription, str(delivery["delivery_id"]), message)
        log.info("delivery", id=str(delivery["delivery_id"]), status=attempt.status, error=attempt.error,
                 ms=attempt.duration_ms)  # fmt: skip
        if attempt.delivered:
            DELIVERIES.labels("delivered").inc()
            if subscription["status"] == "paused":
                await self._mark(subscription, "active", None)
            return await lanes.delivered(self.db, lane, LEASE, delivery, attempt)
        DELIVERIES.labels("failed").inc()
        await self._failed(lane, subscription, delivery, attempt)
        return False

    async def _event(self, owner: Actor, delivery: Row) -> dict[str, Any] | None:
        """What is to be said, as its owner may see it at this moment; a ping is about nothing."""
        if not delivery["seq"]:
            at = delivery["created_at"].isoformat(timespec="milliseconds").replace("+00:00", "Z")
            return {
                "seq": 0,
                "id": str(delivery["delivery_id"]),
                "type": "ping",
                "at": at,
                "subject": "ping",
                "data": {},
            }
        rows = await log_pages.read(self.db, delivery["seq"] - 1, delivery["seq"], 1, FeedFilter(), feed.reader(owner))
        return feed.shown(rows[0], owner) if rows else None

    async def _post(self, subscription: Row, id: str, message: webhooks.Message) -> Attempt:
        at, began = datetime.now(UTC), time.perf_counter()
        status, error, excerpt, again = None, None, None, 0.0
        headers = self._headers(subscription, id, int(at.timestamp()), message)
        try:
            answer = await self.client.send("POST", subscription["url"], body=message.body, headers=headers)
        except Failed as failed:
            error = str(failed)
        else:
            status, again = answer.status, _asked(answer.headers.get("Retry-After"))
            error = None if 200 <= status < 300 else "status"
            excerpt = answer.body.decode(errors="replace").replace("\x00", "\ufffd")
        return Attempt(at, status, round((time.perf_counter() - began) * 1000), error, excerpt, again)

    def _headers(self, subscription: Row, id: str, now: int, message: webhooks.Message) -> dict[str, str]:
        secrets = [subscription["secret"], *filter(None, [subscription["previous_secret"]])]
        keys = [key for secret in secrets if (key := webhooks.key(secret)) is not None]
        return {
            **subscription["headers"],
            "Content-Type": message.media,
            "User-Agent": USER_AGENT,
            "webhook-id": id,
            "webhook-timestamp": str(now),
            "webhook-signature": webhooks.signatures(keys, id, now, message.body),
            **message.headers,
        }

    async def _failed(self, lane: Lane, subscription: Row, delivery: Row, attempt: Attempt) -> None:
        tried = delivery["attempts"]
        after = max(_spread(SCHEDULE[tried]), attempt.again) if tried < len(SCHEDULE) else None
        if subscription["status"] == "paused" or attempt.status == GONE:
            after = PROBE
        since = await lanes.failed(self.db, lane, delivery, attempt, after, OPENING, OPEN, LONGEST_OPEN)
        if attempt.status == GONE:
            await self._mark(subscription, "ended", "The endpoint answered that it is gone.")
            await subscriptions.wake(self.db, subscription["subscription_id"])  # for the others that wait to hear it
        elif since is not None and since < datetime.now(UTC) - PATIENCE - PROBATION:
            await self._mark(subscription, "ended", "The endpoint has failed for 35 days.")
        elif since is not None and since < datetime.now(UTC) - PATIENCE:
            await self._mark(subscription, "paused", "The endpoint has failed for five days; it is tried once a day.")

    async def _mark(self, subscription: Row, status: str, reason: str | None) -> None:
        wish = MarkSubscription(subscription_id=str(subscription["subscription_id"]), status=status, reason=reason)
        with suppress(Refused):
            await execute(self.db, Actor("forge", admin=True), wish, command_id=uuid4())
            await self.hands.ring()

    async def _listen(self) -> None:
        while True:
            try:
                async with self.redis.pubsub() as channel:
                    await channel.subscribe(HEAD)
                    async for _ in channel.listen():
                        self._woken.set()
            except (OSError, RedisError):
                await asyncio.sleep(POLL)


def _spread(seconds: float) -> float:
    return seconds * random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311 - no secret


def _asked(text: str | None) -> float:
    """Retry-After in seconds, if it says so; dates are not worth the trouble."""
    return min(float(text), LONGEST_PAUSE) if text and text.isascii() and text.isdigit() and len(text) < 10 else 0.0


async def deliver(hands: Hands, redis: Redis) -> None:
    """Send until cancelled."""
    async with client(Guard(tuple(hands.settings.webhook_allow))) as made:
        await Deliverer(hands, redis, made).run()
