"""What tests of subscriptions do: make one, let something happen, see what became of it."""

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


async def subscribed(client: Client, receiver: Receiver, **command: Any) -> Any:
    body = {"url": receiver.url, "project": "nethack", **command}
    status, made = await client.json("POST", "/v1/subscriptions", body)
    assert status == 201, made
    return made


async def open_issue(client: Client, project: str = "nethack", **form: str) -> None:
    status, _ = await client.post(f"/{project}/new_issue", **{"title": "t", "issue_content": "c", **form})
    assert status == 200


async def deliveries(client: Client, made: Any, query: str = "") -> Any:
    status, page = await client.get(f"/v1/subscriptions/{made['id']}/deliveries{query}")
    assert status == 200, page
    return page["deliveries"]


async def until(client: Client, made: Any, **wanted: Any) -> Any:
    """The newest delivery, once it says so."""
    async with asyncio.timeout(20):
        while True:
            found = await deliveries(client, made)
            if found and all(found[0][name] == value for name, value in wanted.items()):
                return found[0]
            await asyncio.sleep(0.02)


async def so(is_so: Callable[[], Any]) -> None:
    async with asyncio.timeout(20):
        while True:
            found = is_so()
            if found if isinstance(found, bool) else await found:
                return
            await asyncio.sleep(0.02)


async def tried_at_all(client: Client, made: Any) -> bool:
    return any(row["attempts"] for row in await deliveries(client, made))


async def no_lanes(forge: Forge) -> bool:
    return bool(await forge.db.fetchval("select count(*) from lanes") == 0)


@asynccontextmanager
async def another_worker(forge: Forge) -> AsyncIterator[Deliverer]:
    redis = await queue.connect(forge.settings.required_redis_url())
    async with open_client(Guard(tuple(forge.settings.webhook_allow))) as made:
        deliverer = Deliverer(WorkerContext(forge.db, forge.settings, queue.relay_bell(redis)), redis, made)
        running = asyncio.create_task(deliverer.run())
        try:
            yield deliverer
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            await redis.aclose()
