"""Mirrors that take long to come: how far they are, and who cuts them short."""

import asyncio
import threading
from pathlib import Path

import pytest
from aiohttp import web

from app.config import Settings
from app.dialects.pagure.words import FAILURES
from app.git import store
from events.tasks import FailureReason
from tests.conftest import Client, Forge
from tests.outgoing.conftest import Authority, Away, site
from tests.outgoing.mirrors.mirroring import branches, events, half_way, new
from workers import mirrors
from workers.settings import CONCURRENCY


async def test_a_task_tells_how_far_its_mirror_is(
    forge: Forge, alice: Client, away: Away, authority: Authority
) -> None:
    async with half_way(alice, away, authority) as (task, slow):
        async with asyncio.timeout(20):
            while not 30 < (await alice.get(f"/v1/tasks/{task}"))[1]["percent"] < 60:
                await asyncio.sleep(0.02)
        slow.go.set()
        assert (await alice.get(f"/v1/tasks/{task}?wait=30"))[1]["status"] == "succeeded"
    told = [step["percent"] for step in await events(forge, "task.progressed")]
    assert told == sorted(told)
    assert len(await branches(alice)) == 2


async def test_nobody_waits_behind_slow_mirrors(forge: Forge, alice: Client, away: Away, authority: Authority) -> None:
    async with half_way(alice, away, authority) as (task, slow):
        url = (await events(forge, "project.created"))[0]["mirrored_from"]
        for number in range(max(CONCURRENCY.values())):
            assert (await new(alice, url, f"mirror-{number}", wait="0"))[0] == 200
        started = "select count(*) from events where type = 'task.started'"
        async with asyncio.timeout(20):
            while await forge.db.fetchval(started) < 1 + 1 + max(CONCURRENCY.values()):
                await asyncio.sleep(0.02)
        assert (await alice.post("/new", name="plain", description="d"))[0] == 200
        assert (await alice.get(f"/v1/tasks/{task}"))[1]["status"] == "running"
        slow.go.set()
        assert (await alice.get(f"/v1/tasks/{task}?wait=30"))[1]["status"] == "succeeded"
        await forge.idle()


async def test_a_mirror_that_is_cancelled_half_way_leaves_nothing(
    forge: Forge, alice: Client, away: Away, authority: Authority, settings: Settings
) -> None:
    async with half_way(alice, away, authority) as (task, slow):
        repo_path = store.repository_path(
            settings.repositories, await forge.db.fetchval("select project_id from projects")
        )
        assert list(repo_path.parent.iterdir())
        assert (await alice.json("POST", f"/v1/tasks/{task}/cancel"))[0] == 202
        assert (await alice.get(f"/v1/tasks/{task}?wait=30"))[1]["status"] == "cancelled"
        async with asyncio.timeout(20):
            await slow.gone.wait()
            while list(repo_path.parent.iterdir()):
                await asyncio.sleep(0.02)
    assert (await alice.pagure("/mirror"))[0] == 404


async def test_a_mirror_that_is_cancelled_at_its_very_end_leaves_nothing(
    forge: Forge, alice: Client, url: str, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetched, cancelled, original = threading.Event(), threading.Event(), mirrors._set_head

    def late(repo_path: Path, name: str) -> None:
        fetched.set()
        cancelled.wait(20)
        original(repo_path, name)

    monkeypatch.setattr(mirrors, "_set_head", late)
    task = (await new(alice, url, wait="0"))[1]["taskid"]
    await asyncio.to_thread(fetched.wait, 20)
    repo_path = store.repository_path(settings.repositories, await forge.db.fetchval("select project_id from projects"))
    assert (await alice.json("POST", f"/v1/tasks/{task}/cancel"))[0] == 202
    assert (await alice.get(f"/v1/tasks/{task}?wait=30"))[1]["status"] == "cancelled"
    await forge.idle()
    cancelled.set()
    async with asyncio.timeout(20):
        # Neither a repository nor what it was to become.
        while list(repo_path.parent.iterdir()):
            await asyncio.sleep(0.02)


async def test_what_comes_too_slowly_is_ended(
    database_url: str, alice: Client, authority: Authority, forge: Forge, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mirrors, "LISTING_TIMEOUT", 1.0)

    async def drip(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/x-git-upload-pack-advertisement"})
        await response.prepare(request)
        while True:
            await response.write(b"0")
            await asyncio.sleep(0.05)

    async with site(drip, authority.serving) as url:
        status, body = await new(alice, url)
    assert (status, body["error"]) == (400, FAILURES[FailureReason.MIRROR_TIMEOUT])
    assert (await alice.pagure("/mirror"))[0] == 404
