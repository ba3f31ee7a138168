"""Mirrors follow their sources."""

import asyncio
import os
from typing import Any
from uuid import uuid4

import pytest
from aiohttp import web

from app.config import Settings
from app.git import store
from app.http.wording import FAILURES
from app.stores import mirrors as due
from events.tasks import FailureReason
from tests.conftest import Client, Forge, commit, git, run_forge
from tests.outgoing.conftest import Authority, Remote, run_site
from tests.outgoing.mirrors.mirroring import create_mirror, list_branches, list_events, pull_again
from workers.reactions import MIRROR
from workers.settings import CONCURRENCY


async def test_a_mirror_follows_its_source(forge: Forge, alice: Client, remote: Remote, url: str) -> None:
    await git("branch", "old", cwd=remote.work)
    await remote.push()
    await create_mirror(alice, url)
    await git("commit", "-q", "--amend", "-m", "again", cwd=remote.work)
    await git("branch", "-m", "old", "new", cwd=remote.work)
    await remote.push("--prune")
    await pull_again(forge)
    head = (await git("rev-parse", "main", cwd=remote.work)).strip()
    assert await list_branches(alice) == {"main": head, "new": remote.head}
    moved = {(event["actor"], event["ref"], event["new"]) for event in await list_events(forge, "ref.updated")}
    assert moved == {
        ("forge", "refs/heads/main", head),
        ("forge", "refs/heads/new", remote.head),
        ("forge", "refs/heads/old", "0" * 40),
    }
    # Nothing has moved, so there are no new events.
    await pull_again(forge)
    assert len(await list_events(forge, "ref.updated")) == 3
    assert await list_events(forge, "mirror.changed") == []


async def test_the_default_branch_is_kept_as_long_as_it_exists(
    forge: Forge, alice: Client, remote: Remote, url: str
) -> None:
    await git("branch", "other", cwd=remote.work)
    await remote.push()
    await create_mirror(alice, url)
    assert (await alice.post("/mirror/git/branches", branch_name="other"))[0] == 200
    await pull_again(forge)
    assert await forge.db.fetchval("select head from projects") == "other"
    await git("branch", "-D", "other", cwd=remote.folder)
    await pull_again(forge)
    assert await forge.db.fetchval("select head from projects") == "main"


async def test_a_mirror_that_cannot_be_pulled_reports_it_once_and_backs_off(
    forge: Forge, alice: Client, remote: Remote, authority: Authority
) -> None:
    broken = False

    async def serve(request: web.Request) -> web.StreamResponse:
        if broken:
            raise web.HTTPNotFound(text="secret words of the other side")
        return await remote.smart(request)

    async with run_site(serve, authority.serving) as url:
        await create_mirror(alice, url)
        await pull_again(forge)
        broken = True
        await pull_again(forge)
        await pull_again(forge)
        assert [event["failure"] for event in await list_events(forge, "mirror.changed")] == ["rejected"]
        assert await forge.db.fetchval("select mirror_failure from projects") == "rejected"
        assert await list_branches(alice) == {"main": remote.head}
        late = "select failures = 2 and due_at - now() between interval '3 hours' and interval '5 hours' from mirrors"
        assert await forge.db.fetchval(late)
        for _ in range(6):
            await pull_again(forge)
        assert await forge.db.fetchval("select due_at - now() < interval '30 hours' from mirrors")
        broken = False
        await pull_again(forge)
        assert [event["failure"] for event in await list_events(forge, "mirror.changed")] == ["rejected", None]
        assert await forge.db.fetchval("select failures from mirrors") == 0


async def test_one_worker_pulls_a_mirror_at_a_time(forge: Forge, alice: Client, url: str) -> None:
    await create_mirror(alice, url)
    await pull_again(forge)
    await forge.db.execute("update mirrors set due_at = now() + interval '1 hour'")
    forge.worker.cancel()
    await asyncio.wait([forge.worker])
    await forge.db.execute("update mirrors set due_at = now()")
    first = await due.claim(forge.db, 60.0, uuid4())
    assert first is not None
    assert await due.claim(forge.db, 60.0, uuid4()) is None
    # The lease expires; the result of the first worker is then ignored.
    await forge.db.execute("update mirrors set lease_until = now() - interval '1 second'")
    second = await due.claim(forge.db, 60.0, uuid4())
    assert second is not None
    await due.reschedule(forge.db, first["project_id"], first["token"], failures=9, pause=9.0)
    assert await forge.db.fetchval("select token from mirrors where failures = 0") == second["token"]
    await due.reschedule(forge.db, second["project_id"], second["token"], failures=0, pause=0.0)
    # A renewed lease is still held.
    first = await due.claim(forge.db, 0.0, uuid4())
    assert first is not None
    await due.renew(forge.db, first["project_id"], first["token"], 60.0)
    assert await due.claim(forge.db, 60.0, uuid4()) is None


async def test_an_unexpected_error_does_not_end_the_worker(
    forge: Forge, alice: Client, remote: Remote, url: str, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    await create_mirror(alice, url)
    await pull_again(forge)
    failed, reschedule = asyncio.Event(), due.reschedule

    async def fails(*arguments: Any, **options: Any) -> None:
        failed.set()
        monkeypatch.setattr(due, "reschedule", reschedule)
        raise ZeroDivisionError

    monkeypatch.setattr(due, "reschedule", fails)
    await forge.db.execute("update mirrors set due_at = now()")
    await failed.wait()
    # Its lease expires, and the next worker pulls it.
    async with asyncio.timeout(20):
        while not await forge.db.fetchval("select due_at > now() and token is null from mirrors"):
            await asyncio.sleep(0.02)
    # A damaged local repository is not blamed on the remote.
    repo_path = store.repository_path(settings.repositories, await forge.db.fetchval("select project_id from projects"))
    (repo_path / "HEAD").write_text("nonsense")
    await pull_again(forge)
    (repo_path / "HEAD").write_text("ref: refs/heads/main\n")
    await pull_again(forge)
    assert [event["failure"] for event in await list_events(forge, "mirror.changed")] == ["broken", None]


async def test_old_temporary_packs_are_removed(forge: Forge, alice: Client, url: str, settings: Settings) -> None:
    await create_mirror(alice, url)
    repo_path = store.repository_path(settings.repositories, await forge.db.fetchval("select project_id from projects"))
    fresh, old = (repo_path / "objects/pack" / f"tmp_pack_{name}" for name in ("fresh", "old"))
    for file in (fresh, old):
        file.write_bytes(b"half")
    os.utime(old, (0, 0))
    await pull_again(forge)
    assert (fresh.exists(), old.exists()) == (True, False)


async def test_administrators_of_a_mirror_can_have_it_pulled_at_once(
    forge: Forge, alice: Client, remote: Remote, authority: Authority
) -> None:
    broken = False

    async def serve(request: web.Request) -> web.StreamResponse:
        if broken:
            raise web.HTTPNotFound
        return await remote.smart(request)

    async with run_site(serve, authority.serving) as url:
        await create_mirror(alice, url)
        head = await commit(remote.work, "more")
        await remote.push()
        status, task = await alice.json("POST", "/v1/projects/mirror/mirror")
        assert (status, task["kind"], task["project"]) == (202, "pull-mirror", "mirror")
        assert alice.headers["Location"].endswith(f"/v1/tasks/{task['id']}")
        assert (await alice.get(f"/v1/tasks/{task['id']}?wait=30"))[1]["status"] == "succeeded"
        assert await list_branches(alice) == {"main": head}
        broken = True
        task = (await alice.json("POST", "/v1/projects/mirror/mirror"))[1]
        ended = (await alice.get(f"/v1/tasks/{task['id']}?wait=30"))[1]
        assert (ended["status"], ended["message"]) == ("failed", FAILURES[FailureReason.MIRROR_UNREADABLE])
        assert [event["failure"] for event in await list_events(forge, "mirror.changed")] == ["rejected"]


async def test_a_pull_that_was_asked_for_begins_when_the_running_one_has_ended(
    forge: Forge, alice: Client, remote: Remote, url: str
) -> None:
    await create_mirror(alice, url)
    project_id = await forge.db.fetchval("select project_id from projects")
    running = await due.claim_one(forge.db, project_id, 60.0, 3600.0, uuid4())
    assert running is not None
    tasks = [(await alice.json("POST", "/v1/projects/mirror/mirror"))[1]["id"] for _ in range(CONCURRENCY[MIRROR])]
    async with asyncio.timeout(10):
        while (await alice.get(f"/v1/tasks/{tasks[0]}"))[1]["status"] != "running":
            await asyncio.sleep(0.02)
    # It takes one slot, so that another mirror can be created meanwhile.
    assert (await create_mirror(alice, url, name="second"))[0] == 200
    await due.release(forge.db, project_id, running["token"])
    ended = [(await alice.get(f"/v1/tasks/{task}?wait=30"))[1] for task in tasks]
    assert [(task["status"], task["attempts"]) for task in ended] == [("succeeded", 1)] * len(tasks)


async def test_others_cannot_have_a_mirror_pulled(forge: Forge, alice: Client, url: str) -> None:
    await create_mirror(alice, url)
    await alice.post("/new", name="plain", description="d")
    bob = await forge.user("bob")
    limited = await alice.limited(acls=["commit"])
    for client, path, status in (
        (bob, "mirror", 403), (forge.nobody, "mirror", 401), (limited, "mirror", 403), (alice, "plain", 404),
        (alice, "nowhere", 404),
    ):  # fmt: skip
        assert (await client.json("POST", f"/v1/projects/{path}/mirror"))[0] == status
    assert (await alice.json("POST", "/v1/projects/mirror/mirror", {"x": 1}))[0] == 422
    assert await list_events(forge, "mirror.pull-requested") == []


async def test_mirrors_cannot_be_pulled_where_mirroring_is_disabled(settings: Settings) -> None:
    async with run_forge(settings.model_copy(update={"mirroring": False})) as forge:
        alice = await forge.user("alice")
        await alice.post("/new", name="plain", description="d")
        status, body = await alice.json("POST", "/v1/projects/plain/mirror")
        assert (status, body["type"]) == (409, "/problems/disabled")
