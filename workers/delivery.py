"""Delivery of events to webhook subscriptions: at least once, in order within a lane, with independent lanes.

PostgreSQL knows what is due, how often it was tried and which circuits are open. A worker that dies leaves a lease
behind; when it has expired, another worker continues. Receivers recognise a repetition by its id.

A worker keeps a lane only for a moment (CACHE_SECONDS). What it has read about the subscription, its owner's rights and
the events is reused for that long, and a lane that is always busy cannot starve the others.
"""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID, uuid4

from redis.asyncio import Redis

import app.dialects.pagure.hooks.envelope  # noqa: F401 - register the format
from app.actor import NOBODY, Actor
from app.background import end_task, insist, repeat
from app.core import credentials
from app.core.access import may
from app.core.commands import execute
from app.core.subscriptions import MarkSubscription
from app.database import DB_ERRORS, Row, is_unavailable
from app.errors import NotFound, Refused
from app.feed import formats, pages
from app.feed.tail import HEAD, listen
from app.git.errors import GitError
from app.logs import log
from app.metrics import DELIVERIES
from app.outgoing.client import Client, open_client
from app.outgoing.guard import Guard
from app.points import Point, reach
from app.queries import delivery_chains, projects
from app.queries import feed as log_pages
from app.stores import deliveries, lanes, project_secrets
from app.stores.lanes import Attempt, Lane
from workers.messages import Subscription, attempt_message, log_internal_failure
from workers.reactions import WorkerContext

# Seconds until each further attempt, about 75 hours in all; each is varied by the jitter.
SCHEDULE = (5, 30, 120, 600, 1800, 7200, 18_000, 36_000, 86_400, 118_800)
JITTER = 0.2  # share by which a pause is lengthened or shortened at most
FAILURES_TO_OPEN = 5  # failures in a row that open the circuit
OPEN_SECONDS = 30.0  # seconds that the circuit stays open at first
MAX_OPEN_SECONDS = 600.0  # seconds that it stays open at most
FAILURE_GRACE = timedelta(days=5)  # time of failures only until a subscription is paused
PROBE_INTERVAL = 86_400.0  # seconds between attempts of a paused subscription
PROBE_GRACE = timedelta(days=30)  # time that a subscription stays paused until it ends
CACHE_SECONDS = 1.0  # seconds for which a worker reuses what it has read
ORPHAN_PAUSE = 60.0  # seconds until the next look at a lane whose subscription is missing but was not deleted
MAX_LANES = 256  # lanes that one worker sends at once
MAX_LANES_PER_SUBSCRIPTION = 16  # of those, lanes of one subscription
BATCH_SIZE = 50  # deliveries read at once
POLL_INTERVAL = 1.0  # seconds between polls when nothing rings
FORGE = Actor("forge", admin=True)
HIDDEN = "The subscription's owner may not see this event."
PRIVATE = "This event is not public."
UNREADABLE = "The event's project or repository can no longer be read."
EXPIRED = "Its token has expired."
NO_RIGHT = "Its owner may no longer read the project."
UNSUPPORTED = "The format does not support this type of event."
MAX_CHAIN = 5  # deliveries of a subscription that may lead to each other
LOOP = f"Possible loop: {MAX_CHAIN} deliveries of this subscription led to each other and to this event."
GONE = 410


@dataclass(frozen=True)
class ReadableEvent:
    """An event as the feed shows it to the owner of the subscription, with all of its fields."""

    shown: Mapping[str, Any]
    data: Mapping[str, Any]


class Deliverer:
    """The delivery loop of one worker process."""

    def __init__(self, ctx: WorkerContext, redis: Redis, client: Client) -> None:
        self.ctx = ctx
        self.db = ctx.db
        self.redis = redis
        self.client = client
        self._woken = asyncio.Event()
        self._running: dict[asyncio.Task[None], Lane] = {}
        self._leases: dict[UUID, asyncio.Timeout] = {}
        self._closing = False

    async def run(self) -> None:
        """Send until cancelled; then wait for the requests that are on their way."""
        listener = asyncio.create_task(listen(self.redis, HEAD, self._woken))
        renewal = asyncio.create_task(repeat("leases of lanes", self._renew_leases, self.ctx.settings.lease / 3))
        try:
            while True:
                try:
                    await self._claim()
                except Exception as error:
                    log.warning("delivery", error=type(error).__name__, exc_info=not is_unavailable(error))
                with suppress(TimeoutError):
                    async with asyncio.timeout(POLL_INTERVAL):
                        await self._woken.wait()
                self._woken.clear()
        finally:
            self._closing = True
            await end_task(listener)
            await asyncio.gather(*self._running, return_exceptions=True)
            await end_task(renewal)

    async def _claim(self) -> None:
        while room := MAX_LANES - len(self._running):
            taken = Counter(lane.subscription_id for lane in self._running.values())
            ends_at = self._lease_end()
            claimed = await lanes.claim(
                self.db,
                self.ctx.settings.lease,
                taken,
                MAX_LANES_PER_SUBSCRIPTION,
                FAILURES_TO_OPEN,
                room,
                self.ctx.holder,
            )
            for lane in claimed:
                task = asyncio.create_task(self._process_lane(lane, ends_at))
                self._running[task] = lane
                task.add_done_callback(self._forget_task)
            if not claimed:
                return

    def _forget_task(self, task: asyncio.Task[None]) -> None:
        del self._running[task]
        self._woken.set()

    def _lease_end(self) -> float:
        """The loop time at which a lease requested now ends; in the database it ends a little later."""
        return asyncio.get_running_loop().time() + self.ctx.settings.lease

    async def _renew_leases(self) -> None:
        if not self._running:
            return
        ends_at = self._lease_end()
        renewed = await lanes.renew(self.db, self.ctx.settings.lease, list(self._running.values()))
        for token in renewed & self._leases.keys():
            if not self._leases[token].expired():
                self._leases[token].reschedule(ends_at)

    async def _process_lane(self, lane: Lane, ends_at: float) -> None:
        reach(Point.DELIVERY_CLAIMED)
        try:
            # A request is cut off when the lease ends, so that two workers never send one lane at once.
            async with asyncio.timeout_at(ends_at) as lease:
                self._leases[lane.token] = lease
                await self._send_lane(lane)
        except DB_ERRORS as error:
            log.warning("delivery", error=type(error).__name__)
            await self._release_after_outage(lane, ends_at)
        except Exception:  # a bug must not end the worker; it is logged, and the lane is due when its lease ends
            log.exception("delivery failed", subscription=str(lane.subscription_id))
        finally:
            self._leases.pop(lane.token, None)

    async def _release_after_outage(self, lane: Lane, ends_at: float) -> None:
        """Make the lane due again as soon as the database is back, or leave it to the end of its lease."""
        with suppress(*DB_ERRORS):
            await insist(partial(lanes.release, self.db, lane), ends_at - asyncio.get_running_loop().time())

    async def _send_lane(self, lane: Lane) -> None:
        began = time.monotonic()
        # Read the lane before the subscription: a request that makes the subscription active and then wakes the lane is
        # seen by one of the two. It also means that the state of the subscription includes the events to send.
        waiting = await lanes.list_waiting(self.db, lane, BATCH_SIZE)
        subscription = await self._find_subscription(lane.subscription_id)
        if waiting is None:
            return
        if subscription is None and not await deliveries.is_deleted(self.db, lane.subscription_id):
            await lanes.release(self.db, lane, ORPHAN_PAUSE)  # the read tables are being rebuilt
            return
        finished, sends = True, subscription is not None and subscription["status"] in ("active", "paused")
        if subscription is None or subscription["status"] == "ended" or subscription["secret"] is None:
            reason = (subscription and subscription["reason"]) or "The subscription was deleted."
            sends = subscription is not None and None not in (subscription["gone"], subscription["secret"])
            finished = not await lanes.abandon(self.db, lane, reason, keep_deletion=sends)
        if subscription is not None and sends:
            sent = await self._send_batch(lane, subscription, waiting.deliveries, began)
            if sent is None:
                return
            finished = finished and sent
        if not (finished and await lanes.release_idle(self.db, lane, waiting.news)):
            await lanes.release(self.db, lane)  # there is more to send, so it is due again at once

    async def _find_subscription(self, subscription_id: UUID) -> Subscription | None:
        """Find a subscription with its URL and secret; None if it was deleted. A web hook has its project's hook token
        as secret, or None if the project is gone.
        """
        found = await lanes.find_endpoint(self.db, subscription_id)
        if found is None or found["hook"] is None:
            return found and await self._end_if_expired(dict(found))
        secret = None
        with suppress(NotFound):
            secret = found["url"] and await project_secrets.ensure_hook_token(self.db, found["project_id"])
        return {**found, "secret": secret}

    async def _end_if_expired(self, subscription: Subscription) -> Subscription:
        """End a subscription whose token has expired; it is found out when something is to be sent."""
        if not subscription["expired"] or subscription["status"] not in ("active", "paused"):
            return subscription
        await self._mark_subscription(subscription, "ended", EXPIRED)
        await deliveries.wake(self.db, subscription["subscription_id"])  # so that its other lanes are given up too
        return {**subscription, "status": "ended", "reason": EXPIRED}

    async def _send_batch(
        self, lane: Lane, subscription: Subscription, deliveries: list[Row], began: float
    ) -> bool | None:
        """Send the deliveries. True if that were all of the lane, False if there are more, None if one failed, which
        has released the lane.
        """
        gone = subscription["gone"] is not None
        events = await self._read_events(await self._find_reader(subscription), deliveries)
        for index, delivery in enumerate(deliveries):
            event = events.get(delivery["seq"]) if delivery["seq"] else _build_ping(delivery)
            if gone and (event is None or event.shown["type"] != "project.deleted"):
                continue  # it was abandoned
            if index and (self._closing or time.monotonic() > began + CACHE_SECONDS):
                return False
            if not await self._deliver(lane, subscription, delivery, event):
                return None
        if gone and subscription["hook"]:
            await project_secrets.delete_for_deleted_project(self.db, subscription["project_id"])
        return len(deliveries) < BATCH_SIZE

    async def _find_reader(self, subscription: Subscription) -> Actor:
        """The actor who must be able to see an event for it to be sent; web hooks get public events only."""
        if subscription["hook"]:
            # The project was deleted, and only that event is still sent; an old one does not say that it was public.
            return NOBODY if subscription["gone"] is None else FORGE
        return await credentials.find_actor(self.db, subscription["owner"])

    async def _deliver(
        self, lane: Lane, subscription: Subscription, delivery: Row, event: ReadableEvent | None
    ) -> bool:
        """Send one delivery, or suppress it. True if the next of the lane may follow."""
        if event is None:
            await self._end_without_right(subscription)
            return await self._suppress(lane, delivery, HIDDEN if subscription["hook"] is None else PRIVATE)
        request_id = event.shown.get("request", "")
        if await delivery_chains.measure_depth(self.db, request_id, lane.subscription_id, MAX_CHAIN) == MAX_CHAIN:
            return await self._suppress(lane, delivery, LOOP)
        try:
            messages = await self._build_messages(subscription, delivery, event)
        except (NotFound, GitError):
            return await self._suppress(lane, delivery, UNREADABLE)
        except DB_ERRORS:
            raise
        except Exception:  # a bug in a format must not block the lane for ever: it counts as a failed attempt
            failure = log_internal_failure(str(delivery["delivery_id"]))
            return await self._record_attempt(lane, subscription, delivery, failure, whole=True)
        if delivery["parts"] >= len(messages):
            return await self._suppress(lane, delivery, UNSUPPORTED)
        for index, message in enumerate(messages[delivery["parts"] :], delivery["parts"]):
            message_id = f"{delivery['delivery_id']}-{index}" if index else str(delivery["delivery_id"])
            reach(Point.DELIVERY_SENDING, event.shown["type"])
            attempt = await attempt_message(self.client, subscription, message_id, message)
            reach(Point.DELIVERY_SENT, event.shown["type"])
            whole = index + 1 == len(messages)
            if not await self._record_attempt(lane, subscription, delivery, attempt, whole=whole):
                return False
            reach(Point.DELIVERY_RECORDED, event.shown["type"])
        return True

    async def _end_without_right(self, subscription: Subscription) -> None:
        """End a subscription whose owner may not read its project any more."""
        if subscription["hook"] or subscription["project_id"] is None or subscription["status"] == "ended":
            return
        with suppress(NotFound):
            project = await projects.by_id(self.db, subscription["project_id"])
            if not may(await self._find_reader(subscription), "read-project", project):
                await self._mark_subscription(subscription, "ended", NO_RIGHT)
                await deliveries.wake(self.db, subscription["subscription_id"])

    async def _suppress(self, lane: Lane, delivery: Row, reason: str) -> bool:
        DELIVERIES.labels("suppressed").inc()
        return await lanes.mark_suppressed(self.db, lane, delivery, reason)

    async def _record_attempt(
        self, lane: Lane, subscription: Subscription, delivery: Row, attempt: Attempt, *, whole: bool
    ) -> bool:
        """Record the outcome of a message, the last one of its delivery if `whole`. True if the next may follow."""
        log.info("delivery", id=str(delivery["delivery_id"]), status=attempt.status, error=attempt.error,
                 ms=attempt.duration_ms)  # fmt: skip
        if attempt.delivered:
            DELIVERIES.labels("delivered").inc()
            if subscription["status"] == "paused":
                await self._mark_subscription(subscription, "active", None)
                await deliveries.wake(self.db, lane.subscription_id)  # its other lanes
            return await lanes.mark_delivered(self.db, lane, delivery, attempt, whole=whole)
        DELIVERIES.labels("failed").inc()
        await self._record_failure(lane, subscription, delivery, attempt)
        return False

    async def _read_events(self, reader: Actor, deliveries: list[Row]) -> dict[int, ReadableEvent]:
        """Read and render the events that the reader may see at this moment, by number."""
        seqs = [delivery["seq"] for delivery in deliveries if delivery["seq"]]
        rows = await log_pages.read_numbers(self.db, seqs, pages.build_reader(reader)) if seqs else []
        return {row["seq"]: ReadableEvent(pages.render_event(row, reader), row["data"]) for row in rows}

    async def _build_messages(
        self, subscription: Subscription, delivery: Row, event: ReadableEvent
    ) -> list[formats.Message]:
        ctx = formats.DeliveryContext(
            db=self.db,
            settings=self.ctx.settings,
            event=event.shown,
            data=event.data,
            delivery_id=delivery["delivery_id"],
            secret=subscription["secret"],
            project_id=subscription["project_id"],
            gone=subscription["gone"],
        )
        return await formats.build_messages(subscription["format"], ctx)

    async def _record_failure(self, lane: Lane, subscription: Subscription, delivery: Row, attempt: Attempt) -> None:
        """Schedule the next attempt, and pause or end a subscription whose endpoint has failed for too long."""
        tried = delivery["attempts"]
        after = max(_jitter(SCHEDULE[tried]), attempt.again) if tried < len(SCHEDULE) else None
        if subscription["status"] == "paused" or attempt.status == GONE:
            # `again` opens the circuit, which delays all lanes of the subscription.
            after, attempt = PROBE_INTERVAL, replace(attempt, again=PROBE_INTERVAL)
        since = await lanes.mark_failed(
            self.db, lane, delivery, attempt, after, FAILURES_TO_OPEN, OPEN_SECONDS, MAX_OPEN_SECONDS
        )
        if attempt.status == GONE:
            await self._mark_subscription(subscription, "ended", "The endpoint answered that it is gone.")
            await deliveries.wake(self.db, subscription["subscription_id"])  # so that its other lanes are given up too
        elif since is not None and since < datetime.now(UTC) - FAILURE_GRACE - PROBE_GRACE:
            await self._mark_subscription(subscription, "ended", "The endpoint has failed for 35 days.")
            await deliveries.wake(self.db, subscription["subscription_id"])
        elif since is not None and since < datetime.now(UTC) - FAILURE_GRACE:
            reason = "The endpoint has failed for five days; it is tried once a day."
            await self._mark_subscription(subscription, "paused", reason)

    async def _mark_subscription(self, subscription: Subscription, status: str, reason: str | None) -> None:
        command = MarkSubscription(subscription_id=str(subscription["subscription_id"]), status=status, reason=reason)
        with suppress(Refused):
            await execute(self.db, FORGE, command, command_id=uuid4())
            await self.ctx.ring()


def _build_ping(delivery: Row) -> ReadableEvent:
    at = delivery["created_at"].isoformat(timespec="milliseconds").replace("+00:00", "Z")
    shown = {"seq": 0, "id": str(delivery["delivery_id"]), "type": "ping", "at": at, "subject": "ping", "data": {}}
    return ReadableEvent(shown, {})


def _jitter(seconds: float) -> float:
    return seconds * random.SystemRandom().uniform(1 - JITTER, 1 + JITTER)


async def run_delivery(ctx: WorkerContext, redis: Redis) -> None:
    """Deliver events until cancelled."""
    async with open_client(Guard(tuple(ctx.settings.webhook_allow))) as client:
        await Deliverer(ctx, redis, client).run()
