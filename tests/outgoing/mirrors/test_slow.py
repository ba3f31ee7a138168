"""Mirrors that arrive slowly: progress, cancellation and timeouts."""

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
from tests.outgoing.conftest import Authority, Remote, run_site
from tests.outgoing.mirrors.mirroring import create_mirror, list_branches, list_events, start_slow_mirror
from workers import mirrors
from workers.settings import CONCURRENCY


async def test_the_task_of_a_mirror_reports_progress(
    forge: Forge, alice: Client, remote: Remote, authority: Authority
) -> None:
    async with start_slow_mirror(alice, remote, authority) as (task, slow):
        async with asyncio.timeout(20):
            while not 30 < (await alice.get(f"/v1/tasks/{task}"))[1]["percent"] < 60:
                await asyncio.sleep(0.02)
        slow.go.set()
        assert (await alice.get(f"/v1/tasks/{task}?wait=30"))[1]["status"] == "succeeded"
    percents = [step["percent"] for step in await list_events(forge, "task.progressed")]
    assert percents == sorted(percents)
    assert len(await list_branches(alice)) == 2


async def test_slow_mirrors_do_not_delay_other_work(
    forge: Forge, alice: Client, remote: Remote, authority: Authority
) -> None:
    async with start_slow_mirror(alice, remote, authority) as (task, slow):
        url = (await list_events(forge, "project.created"))[0]["mirrored_from"]
        for number in range(max(CONCURRENCY.values())):
            assert (await create_mirror(alice, url, f"mirror-{number}", wait="0"))[0] == 200
        started = "select count(*) from events where type = 'task.started'"
        async with asyncio.timeout(20):
            while await forge.db.fetchval(started) < 1 + 1 + max(CONCURRENCY.values()):
                await asyncio.sleep(0.02)
        assert (await alice.post("/new", name="plain", description="d"))[0] == 200
        assert (await alice.get(f"/v1/tasks/{task}"))[1]["status"] == "running"
        slow.go.set()
        assert (await alice.get(f"/v1/tasks/{task}?wait=30"))[1]["status"] == "succeeded"
        await forge.idle()


async def test_a_mirror_that_is_cancelled_half_way_leaves_no_files(
    forge: Forge, alice: Client, remote: Remote, authority: Authority, settings: Settings
) -> None:
    async with start_slow_mirror(alice, remote, authority) as (task, slow):
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


async def test_a_mirror_that_is_cancelled_at_the_last_moment_leaves_no_files(
    forge: Forge, alice: Client, url: str, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetched, cancelled, original = threading.Event(), threading.Event(), mirrors._set_head

    def late(repo_path: Path, name: str) -> None:
        fetched.set()
        cancelled.wait(20)
        original(repo_path, name)

    monkeypatch.setattr(mirrors, "_set_head", late)
    task = (await create_mirror(alice, url, wait="0"))[1]["taskid"]
    await asyncio.to_thread(fetched.wait, 20)
    repo_path = store.repository_path(settings.repositories, await forge.db.fetchval("select project_id from projects"))
    assert (await alice.json("POST", f"/v1/tasks/{task}/cancel"))[0] == 202
    assert (await alice.get(f"/v1/tasks/{task}?wait=30"))[1]["status"] == "cancelled"
    await forge.idle()
    cancelled.set()
    async with asyncio.timeout(20):
        # Neither the repository nor its staging directory.
        while list(repo_path.parent.iterdir()):
            await asyncio.sleep(0.02)


async def test_a_mirror_that_arrives_too_slowly_fails(
    database_url: str, alice: Client, authority: Authority, forge: Forge, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mirrors, "LISTING_TIMEOUT", 1.0)

    async def drip(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/x-git-upload-pack-advertisement"})
        await response.prepare(request)
        while True:
            await response.write(b"0")
            await asyncio.sleep(0.05)

    async with run_site(drip, authority.serving) as url:
        status, body = await create_mirror(alice, url)
    assert (status, body["error"]) == (400, FAILURES[FailureReason.MIRROR_TIMEOUT])
    assert (await alice.pagure("/mirror"))[0] == 404
