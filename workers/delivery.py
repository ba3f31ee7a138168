"""Sending events to those who subscribed to them: at least once, in order within a lane, no lane waiting for another.

Postgres knows what is due, how often it was tried and which endpoints are better left alone; a worker that ends at any
moment leaves a lease behind, and another one goes on where it was. Receivers tell a repetition by its id.

A worker stays at a lane for a moment only (FRESH): what it has read about the subscription, its owner's rights and the
events is good for that long, and no lane that is always busy keeps its place from the others.
"""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from typing import Any
from uuid import UUID, uuid4

from redis.asyncio import Redis

import app.dialects.pagure.hooks.envelope  # noqa: F401 - register the format
from app.actor import NOBODY, Actor
from app.core import credentials
from app.core.commands import execute
from app.core.subscriptions import MarkSubscription
from app.database import DB_ERRORS, Row
from app.errors import NotFound, Refused
from app.feed import formats, pages, signing
from app.feed.tail import HEAD, listen
from app.git.errors import GitError
from app.logs import log
from app.metrics import DELIVERIES
from app.outgoing.client import Client, open_client
from app.outgoing.failures import OutgoingError
from app.outgoing.guard import Guard
from app.queries import delivery_chains
from app.queries import feed as log_pages
from app.stores import deliveries, lanes, project_secrets
from app.stores.lanes import Attempt, Lane
from workers.reactions import WorkerContext

# Seconds until each further attempt, some 75 hours in all, each longer or shorter by up to a fifth.
SCHEDULE = (5, 30, 120, 600, 1800, 7200, 18_000, 36_000, 86_400, 118_800)
JITTER = 0.2
MAX_PAUSE = 86_400.0  # seconds that an endpoint may ask to be left alone
FAILURES_TO_OPEN, OPEN_SECONDS, MAX_OPEN_SECONDS = (
    5,
    30.0,
    600.0,
)  # failures in a row that open the circuit; seconds that it stays open
FAILURE_GRACE = timedelta(days=5)  # of failures only, before a subscription is paused
PROBE_INTERVAL = 86_400.0  # seconds between probes of a paused one
PROBE_GRACE = timedelta(days=30)  # of probes, before it ends
CACHE_SECONDS = 1.0  # seconds for which what has been read is good
ORPHAN_PAUSE = (
    60.0  # seconds until a lane is looked at again whose subscription cannot be found, although nobody deleted it
)
MAX_LANES = 256  # that one worker sends at once
MAX_LANES_PER_SUBSCRIPTION = 16  # of them for one subscription
BATCH_SIZE = 50
MAX_EXCERPT = 2000  # characters of an answer that are kept
POLL_INTERVAL = 1.0
FORGE = Actor("forge", admin=True)
HIDDEN = "The subscription's owner may not see this event."
PRIVATE = "Not everybody may see this event."
UNREADABLE = "What it is about can no longer be read."
EXPIRED = "Its token has expired."
UNSUPPORTED = "The format has no words for this."
MAX_CHAIN = 5  # deliveries of a subscription that may lead to each other
LOOP = f"{MAX_CHAIN} deliveries of this have led to each other and to this: it may go round in a circle."
USER_AGENT = f"polyforge/{version('polyforge')}"
GONE = 410


Subscription = Mapping[str, Any]  # a row, with its address and what signs


class Deliverer:
    """One worker's share of the sending."""

    def __init__(self, ctx: WorkerContext, redis: Redis, client: Client) -> None:
        self.ctx = ctx
        self.db = ctx.db
        self.redis = redis
        self.client = client
        self._woken = asyncio.Event()
        self._at: dict[asyncio.Task[None], Lane] = {}
        self._leases: dict[UUID, asyncio.Timeout] = {}
        self._closing = False

    async def run(self) -> None:
        """Send until cancelled; what is on its way is waited for."""
        listener, heart = asyncio.create_task(listen(self.redis, HEAD, self._woken)), asyncio.create_task(self._renew())
        try:
            while True:
                try:
                    await self._claim()
                except DB_ERRORS as error:
                    log.warning("delivery", error=type(error).__name__)
                with suppress(TimeoutError):
                    async with asyncio.timeout(POLL_INTERVAL):
                        await self._woken.wait()
                self._woken.clear()
        finally:
            self._closing = True
            listener.cancel()
            await asyncio.gather(listener, *self._at, return_exceptions=True)
            heart.cancel()
            await asyncio.gather(heart, return_exceptions=True)

    async def _claim(self) -> None:
        while room := MAX_LANES - len(self._at):
            taken, ends = Counter(lane.subscription_id for lane in self._at.values()), self._lease_from_now()
            claimed = await lanes.claim(
                self.db, self.ctx.settings.lease, taken, MAX_LANES_PER_SUBSCRIPTION, FAILURES_TO_OPEN, room
            )
            for lane in claimed:
                task = asyncio.create_task(self._attend(lane, ends))
                self._at[task] = lane
                task.add_done_callback(self._done)
            if not claimed:
                return

    def _done(self, task: asyncio.Task[None]) -> None:
        del self._at[task]
        self._woken.set()

    def _lease_from_now(self) -> float:
        """When a lease ends that is about to be asked for; the database's ends a little later."""
        return asyncio.get_running_loop().time() + self.ctx.settings.lease

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(self.ctx.settings.lease / 3)
            if not self._at:
                continue
            ends = self._lease_from_now()
            try:
                renewed = await lanes.renew(self.db, self.ctx.settings.lease, list(self._at.values()))
            except DB_ERRORS as error:
                log.warning("delivery", error=type(error).__name__)
                continue
            for token in renewed & self._leases.keys():
                if not self._leases[token].expired():
                    self._leases[token].reschedule(ends)

    async def _attend(self, lane: Lane, ends: float) -> None:
        try:
            # What is on its way when the lease ends is cut off: two never send one lane at once.
            async with asyncio.timeout_at(ends) as lease:
                self._leases[lane.token] = lease
                await self._send_lane(lane)
        except DB_ERRORS as error:
            # The lease has run out, or will: somebody goes on.
            log.warning("delivery", error=type(error).__name__)
        except Exception:  # a mistake of ours ends no worker: it is logged, and the lane is due when its lease ends
            log.exception("delivery failed", subscription=str(lane.subscription_id))
        finally:
            self._leases.pop(lane.token, None)

    async def _send_lane(self, lane: Lane) -> None:
        began = time.monotonic()
        # In this order: whoever makes the subscription active, and then wakes the lane, is noticed by one of both. And
        # what has happened to the subscription is known before it is told.
        waiting = await lanes.list_waiting(self.db, lane, BATCH_SIZE)
        subscription = await self._subscription(lane.subscription_id)
        if waiting is None:
            return
        if subscription is None and not await deliveries.is_deleted(self.db, lane.subscription_id):
            await lanes.release(self.db, lane, ORPHAN_PAUSE)  # the read tables are being made anew
            return
        at_rest, sends = True, subscription is not None and subscription["status"] in ("active", "paused")
        if subscription is None or subscription["status"] == "ended" or subscription["secret"] is None:
            reason = (subscription and subscription["reason"]) or "The subscription is gone."
            sends = subscription is not None and None not in (subscription["gone"], subscription["secret"])
            at_rest = not await lanes.abandon(self.db, lane, reason, farewell=sends)
        if subscription is not None and sends:
            sent = await self._send_batch(lane, subscription, waiting.deliveries, began)
            if sent is None:
                return
            at_rest = at_rest and sent
        if not (at_rest and await lanes.release_idle(self.db, lane, waiting.news)):
            await lanes.release(self.db, lane)  # there is more: it is due again at once

    async def _subscription(self, subscription_id: UUID) -> Subscription | None:
        """With its address and what signs, None where that is gone. A web hook is signed with its project's token."""
        found = await lanes.find_endpoint(self.db, subscription_id)
        if found is None or found["hook"] is None:
            return found and await self._unless_expired(dict(found))
        secret = None
        with suppress(NotFound):
            secret = await project_secrets.ensure_hook_token(self.db, found["project_id"])
        return {**found, "secret": secret}

    async def _unless_expired(self, subscription: Subscription) -> Subscription:
        """What was made with a token ends with it, at the latest when something is to be sent."""
        if not subscription["expired"] or subscription["status"] not in ("active", "paused"):
            return subscription
        await self._mark(subscription, "ended", EXPIRED)
        await deliveries.wake(self.db, subscription["subscription_id"])  # for what waits in its other lanes
        return {**subscription, "status": "ended", "reason": EXPIRED}

    async def _send_batch(
        self, lane: Lane, subscription: Subscription, deliveries: list[Row], began: float
    ) -> bool | None:
        """True when all of them were sent and no more were there, None when one failed and the lane was let go."""
        gone = subscription["gone"] is not None
        events = await self._events(await self._reader(subscription), deliveries)
        for n, delivery in enumerate(deliveries):
            event = events.get(delivery["seq"]) if delivery["seq"] else _ping(delivery)
            if gone and (event is None or event["type"] != "project.deleted"):
                continue  # it was given up
            if n and (self._closing or time.monotonic() > began + CACHE_SECONDS):
                return False
            if not await self._deliver(lane, subscription, delivery, event):
                return None
        if gone:
            await project_secrets.delete_for_deleted_project(self.db, subscription["project_id"])
        return len(deliveries) < BATCH_SIZE

    async def _reader(self, subscription: Subscription) -> Actor:
        """Whoever is to see what is sent: for a project's web hooks everybody, or it is not sent."""
        if subscription["gone"] is not None:
            return FORGE  # nothing is left to be told of the project but its end
        return NOBODY if subscription["hook"] else await credentials.find_actor(self.db, subscription["owner"])

    async def _deliver(
        self, lane: Lane, subscription: Subscription, delivery: Row, event: dict[str, Any] | None
    ) -> bool:
        """True when the next of the lane may follow."""
        if event is None:
            return await self._suppress(lane, delivery, HIDDEN if subscription["hook"] is None else PRIVATE)
        if (
            await delivery_chains.measure_depth(self.db, event.get("request", ""), lane.subscription_id, MAX_CHAIN)
            == MAX_CHAIN
        ):
            return await self._suppress(lane, delivery, LOOP)
        try:
            messages = await self._messages(subscription, delivery, event)
        except (NotFound, GitError):
            return await self._suppress(lane, delivery, UNREADABLE)
        except DB_ERRORS:
            raise
        except Exception:  # a format's mistake: logged and on record as a failed attempt, so that the lane goes on
            return await self._tried(
                lane, subscription, delivery, _internal_failure(str(delivery["delivery_id"])), whole=True
            )
        if delivery["parts"] >= len(messages):
            return await self._suppress(lane, delivery, UNSUPPORTED)
        for n, message in enumerate(messages[delivery["parts"] :], delivery["parts"]):
            name = f"{delivery['delivery_id']}-{n}" if n else str(delivery["delivery_id"])
            attempt = await self._attempt(subscription, name, message)
            if not await self._tried(lane, subscription, delivery, attempt, whole=n + 1 == len(messages)):
                return False
        return True

    async def _suppress(self, lane: Lane, delivery: Row, reason: str) -> bool:
        DELIVERIES.labels("suppressed").inc()
        return await lanes.mark_suppressed(self.db, lane, delivery, reason)

    async def _tried(
        self, lane: Lane, subscription: Subscription, delivery: Row, attempt: Attempt, *, whole: bool
    ) -> bool:
        """What came of sending one message, the last one if it is `whole` now; True when the next may follow."""
        log.info("delivery", id=str(delivery["delivery_id"]), status=attempt.status, error=attempt.error,
                 ms=attempt.duration_ms)  # fmt: skip
        if attempt.delivered:
            DELIVERIES.labels("delivered").inc()
            if subscription["status"] == "paused":
                await self._mark(subscription, "active", None)
                await deliveries.wake(self.db, lane.subscription_id)  # its other lanes
            return await lanes.mark_delivered(self.db, lane, delivery, attempt, whole=whole)
        DELIVERIES.labels("failed").inc()
        await self._failed(lane, subscription, delivery, attempt)
        return False

    async def _events(self, reader: Actor, deliveries: list[Row]) -> dict[int, dict[str, Any]]:
        """What is to be said, by number: the events that the reader may see at this moment."""
        seqs = [delivery["seq"] for delivery in deliveries if delivery["seq"]]
        rows = await log_pages.read_numbers(self.db, seqs, pages.build_reader(reader)) if seqs else []
        return {row["seq"]: pages.render_event(row, reader) for row in rows}

    async def _messages(
        self, subscription: Subscription, delivery: Row, event: Mapping[str, Any]
    ) -> list[formats.Message]:
        occasion = formats.DeliveryContext(
            db=self.db,
            settings=self.ctx.settings,
            event=event,
            delivery_id=delivery["delivery_id"],
            secret=subscription["secret"],
            project_id=subscription["project_id"],
            gone=subscription["gone"],
        )
        return await formats.build_messages(subscription["format"], occasion)

    async def _attempt(self, subscription: Subscription, name: str, message: formats.Message) -> Attempt:
        try:
            return await self._post(subscription, name, message)
        except DB_ERRORS:
            raise
        except Exception:  # a mistake in sending: logged and on record as a failed attempt
            return _internal_failure(name)

    async def _post(self, subscription: Subscription, id: str, message: formats.Message) -> Attempt:
        at, began = datetime.now(UTC), time.perf_counter()
        status, error, excerpt, again = None, None, None, 0.0
        headers = self._headers(subscription, id, int(at.timestamp()), message)
        try:
            answer = await self.client.send("POST", subscription["url"], body=message.body, headers=headers)
        except OutgoingError as failed:
            error = str(failed)
        else:
            status, again = answer.status, min(answer.retry_after, MAX_PAUSE)
            error = None if 200 <= status < 300 else "status"
            excerpt = answer.body.decode(errors="replace").replace("\x00", "\ufffd")[:MAX_EXCERPT]
        return Attempt(at, status, round((time.perf_counter() - began) * 1000), error, excerpt, again)

    def _headers(self, subscription: Subscription, id: str, now: int, message: formats.Message) -> dict[str, str]:
        secrets = [subscription["secret"], *filter(None, [subscription["previous_secret"]])]
        keys = [key for secret in secrets if (key := signing.signing_key(secret)) is not None]
        return {
            **subscription["headers"],
            "Content-Type": message.media,
            "User-Agent": USER_AGENT,
            "X-Request-Id": id,  # which many programs pass on to what they ask for because of it
            "webhook-id": id,
            "webhook-timestamp": str(now),
            "webhook-signature": signing.sign(keys, id, now, message.body),
            **message.headers,
        }

    async def _failed(self, lane: Lane, subscription: Subscription, delivery: Row, attempt: Attempt) -> None:
        tried = delivery["attempts"]
        after = max(_jitter(SCHEDULE[tried]), attempt.again) if tried < len(SCHEDULE) else None
        if subscription["status"] == "paused" or attempt.status == GONE:
            after, attempt = PROBE_INTERVAL, replace(attempt, again=PROBE_INTERVAL)  # whichever of its lanes it was
        since = await lanes.mark_failed(
            self.db, lane, delivery, attempt, after, FAILURES_TO_OPEN, OPEN_SECONDS, MAX_OPEN_SECONDS
        )
        if attempt.status == GONE:
            await self._mark(subscription, "ended", "The endpoint answered that it is gone.")
            await deliveries.wake(self.db, subscription["subscription_id"])  # for the others that wait to hear it
        elif since is not None and since < datetime.now(UTC) - FAILURE_GRACE - PROBE_GRACE:
            await self._mark(subscription, "ended", "The endpoint has failed for 35 days.")
            await deliveries.wake(self.db, subscription["subscription_id"])
        elif since is not None and since < datetime.now(UTC) - FAILURE_GRACE:
            await self._mark(subscription, "paused", "The endpoint has failed for five days; it is tried once a day.")

    async def _mark(self, subscription: Subscription, status: str, reason: str | None) -> None:
        command = MarkSubscription(subscription_id=str(subscription["subscription_id"]), status=status, reason=reason)
        with suppress(Refused):
            await execute(self.db, FORGE, command, command_id=uuid4())
            await self.ctx.ring()


def _internal_failure(name: str) -> Attempt:
    """One of ours is tried again like any other failure, and holds up no lane for ever."""
    log.exception("delivery failed", id=name)
    return Attempt(datetime.now(UTC), None, 0, "internal", None)


def _ping(delivery: Row) -> dict[str, Any]:
    """A ping is about nothing."""
    at = delivery["created_at"].isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return {"seq": 0, "id": str(delivery["delivery_id"]), "type": "ping", "at": at, "subject": "ping", "data": {}}


def _jitter(seconds: float) -> float:
    return seconds * random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311 - no secret


async def run_delivery(ctx: WorkerContext, redis: Redis) -> None:
    """Send until cancelled."""
    async with open_client(Guard(tuple(ctx.settings.webhook_allow))) as made:
        await Deliverer(ctx, redis, made).run()
