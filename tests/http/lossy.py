"""A forge that dies after a command and before its reply is stored, for the client to send the request again."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import aiohttp
import orjson
import pytest
from aiohttp import web

from app.http import idempotency
from tests.conftest import Client


class LossyForge:
    """Sends every request twice: its process dies before the first reply is stored."""

    def __init__(self, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
        self.client = client
        self.lost: web.Response | None = None
        self.dying = False
        self.visited: set[str] = set()
        self.number = 0
        store = idempotency._store_response
        answer = routes_answer(self)

        async def store_or_die(*arguments: Any) -> None:
            if not self.dying:
                return await store(*arguments)
            self.lost = arguments[-1]
            raise asyncio.CancelledError

        monkeypatch.setattr(idempotency, "_store_response", store_or_die)
        monkeypatch.setattr(idempotency, "_replay_or_call", answer)

    async def lose(
        self, method: str, path: str, *, by: Client | None = None, form: Any = None, body: Any = None
    ) -> Callable[[], Awaitable[tuple[int, Any]]]:
        """Send a request and lose its reply. Returns what sends it again."""
        self.number += 1
        client, self.lost, self.dying = by or self.client, None, True
        options: dict[str, Any] = {"headers": {"Idempotency-Key": f"key-{self.number}"}}
        options |= {"json": body} if body is not None else {"data": form or {}}
        with pytest.raises(aiohttp.ServerDisconnectedError):
            await client.request(method, path, **options)
        self.dying = False
        return partial(client.request, method, path, **options)

    async def send(
        self,
        method: str,
        path: str,
        *,
        by: Client | None = None,
        form: Any = None,
        body: Any = None,
        goes_on: bool = False,
    ) -> tuple[int, Any]:
        """Send a request, lose its reply, send it again; return the reply to the retry after comparing the two.

        `goes_on` is for replies that show a task, whose status changes meanwhile.
        """
        retry = await self.lose(method, path, by=by, form=form, body=body)
        assert self.lost is not None
        status, reply = await retry()
        first = (self.lost.status, orjson.loads(self.lost.body or b"null"))  # type: ignore[arg-type]
        assert first[0] < 300, (method, path, first)
        if "no-store" in self.lost.headers.get("Cache-Control", ""):
            assert status == 409, (method, path)
            return first
        if goes_on:
            assert (status, reply["id"]) == (first[0], first[1]["id"])
            return status, reply
        assert (status, reply or None) == (first[0], first[1] or None), (method, path)
        return status, reply


def routes_answer(story: LossyForge) -> Any:
    original = idempotency._replay_or_call

    async def replay_or_call(request: web.Request, *arguments: Any) -> web.StreamResponse:
        resource = request.match_info.route.resource
        assert resource is not None
        story.visited.add(f"{request.method} {resource.canonical.replace('/api/0/{repo}', '/api/0/{P}')}")
        return await original(request, *arguments)

    return replay_or_call
