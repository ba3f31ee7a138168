"""Helpers for tests of subscriptions and their deliveries."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from app.outgoing.client import open_client
from app.outgoing.guard import Guard
from tests.conftest import Client, Forge
from tests.receiver import Receiver
from workers import queue
from workers.delivery import Deliverer
from workers.reactions import WorkerContext


async def subscribe(client: Client, receiver: Receiver, **command: Any) -> Any:
    body = {"url": receiver.url, "project": "nethack", **command}
    status, subscription = await client.json("POST", "/v1/subscriptions", body)
    assert status == 201, subscription
    return subscription


async def open_issue(client: Client, project: str = "nethack", **form: str) -> None:
    status, _ = await client.post(f"/{project}/new_issue", **{"title": "t", "issue_content": "c", **form})
    assert status == 200


async def list_deliveries(client: Client, subscription: Any, query: str = "") -> Any:
    status, page = await client.get(f"/v1/subscriptions/{subscription['id']}/deliveries{query}")
    assert status == 200, page
    return page["deliveries"]


async def wait_for_delivery(client: Client, subscription: Any, **fields: Any) -> Any:
    """Wait until the newest delivery has these fields and return it."""
    async with asyncio.timeout(20):
        while True:
            rows = await list_deliveries(client, subscription)
            if rows and all(rows[0][name] == value for name, value in fields.items()):
                return rows[0]
            await asyncio.sleep(0.02)


async def wait_for(is_so: Callable[[], Any]) -> None:
    async with asyncio.timeout(20):
        while True:
            rows = is_so()
            if rows if isinstance(rows, bool) else await rows:
                return
            await asyncio.sleep(0.02)


async def has_attempts(client: Client, subscription: Any) -> bool:
    return any(row["attempts"] for row in await list_deliveries(client, subscription))


async def has_no_lanes(forge: Forge) -> bool:
    return bool(await forge.db.fetchval("select count(*) from lanes") == 0)


@asynccontextmanager
async def run_another_worker(forge: Forge) -> AsyncIterator[Deliverer]:
    redis = queue.connect(forge.settings.required_redis_url())
    async with open_client(Guard(tuple(forge.settings.webhook_allow))) as subscription:
        deliverer = Deliverer(WorkerContext(forge.db, forge.settings, queue.relay_bell(redis)), redis, subscription)
        running = asyncio.create_task(deliverer.run())
        try:
            yield deliverer
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            await redis.aclose()
