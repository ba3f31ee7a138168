"""Mirrors are looked at again and again."""

import asyncio
import os
from typing import Any

import pytest
from aiohttp import web

from app.config import Settings
from app.git import store
from app.http.wording import FAILURES
from app.stores import mirrors as due
from events.tasks import FailureReason
from tests.conftest import Client, Forge, commit, git, running
from tests.outgoing.conftest import Authority, Away, site
from tests.outgoing.mirrors.mirroring import branches, events, look_again, new


async def test_a_mirror_follows_what_it_mirrors(forge: Forge, alice: Client, away: Away, url: str) -> None:
    await git("branch", "old", cwd=away.work)
    await away.push()
    await new(alice, url)
    await git("commit", "-q", "--amend", "-m", "again", cwd=away.work)
    await git("branch", "-m", "old", "new", cwd=away.work)
    await away.push("--prune")
    await look_again(forge)
    head = (await git("rev-parse", "main", cwd=away.work)).strip()
    assert await branches(alice) == {"main": head, "new": away.head}
    moved = {(told["actor"], told["ref"], told["new"]) for told in await events(forge, "ref.updated")}
    assert moved == {
        ("forge", "refs/heads/main", head),
        ("forge", "refs/heads/new", away.head),
        ("forge", "refs/heads/old", "0" * 40),
    }
    # Nothing has moved, and nothing is told.
    await look_again(forge)
    assert len(await events(forge, "ref.updated")) == 3
    assert await events(forge, "mirror.changed") == []


async def test_a_default_branch_stays_as_long_as_it_is_there(forge: Forge, alice: Client, away: Away, url: str) -> None:
    await git("branch", "other", cwd=away.work)
    await away.push()
    await new(alice, url)
    assert (await alice.post("/mirror/git/branches", branch_name="other"))[0] == 200
    await look_again(forge)
    assert await forge.db.fetchval("select head from projects") == "other"
    await git("branch", "-D", "other", cwd=away.folder)
    await look_again(forge)
    assert await forge.db.fetchval("select head from projects") == "main"


async def test_a_mirror_that_cannot_be_followed_says_so_once_and_waits(
    forge: Forge, alice: Client, away: Away, authority: Authority
) -> None:
    broken = False

    async def serve(request: web.Request) -> web.StreamResponse:
        if broken:
            raise web.HTTPNotFound(text="secret words of the other side")
        return await away.smart(request)

    async with site(serve, authority.serving) as url:
        await new(alice, url)
        await look_again(forge)
        broken = True
        await look_again(forge)
        await look_again(forge)
        assert [told["failure"] for told in await events(forge, "mirror.changed")] == ["rejected"]
        assert await forge.db.fetchval("select mirror_failure from projects") == "rejected"
        assert await branches(alice) == {"main": away.head}
        late = "select failures = 2 and due_at - now() between interval '3 hours' and interval '5 hours' from mirrors"
        assert await forge.db.fetchval(late)
        for _ in range(6):
            await look_again(forge)
        assert await forge.db.fetchval("select due_at - now() < interval '30 hours' from mirrors")
        broken = False
        await look_again(forge)
        assert [told["failure"] for told in await events(forge, "mirror.changed")] == ["rejected", None]
        assert await forge.db.fetchval("select failures from mirrors") == 0


async def test_one_worker_looks_at_a_mirror_at_a_time(forge: Forge, alice: Client, url: str) -> None:
    await new(alice, url)
    await look_again(forge)
    await forge.db.execute("update mirrors set due_at = now() + interval '1 hour'")
    forge.worker.cancel()
    await asyncio.wait([forge.worker])
    await forge.db.execute("update mirrors set due_at = now()")
    ours = await due.claim(forge.db, 60.0)
    assert ours is not None
    assert await due.claim(forge.db, 60.0) is None
    # As if nothing had been heard of us for long: what we say then is not taken.
    await forge.db.execute("update mirrors set lease_until = now() - interval '1 second'")
    theirs = await due.claim(forge.db, 60.0)
    assert theirs is not None
    await due.reschedule(forge.db, ours["project_id"], ours["token"], failures=9, pause=9.0)
    assert await forge.db.fetchval("select token from mirrors where failures = 0") == theirs["token"]
    await due.reschedule(forge.db, theirs["project_id"], theirs["token"], failures=0, pause=0.0)
    # Whoever is at it for long is still at it.
    ours = await due.claim(forge.db, 0.0)
    assert ours is not None
    await due.renew(forge.db, ours["project_id"], ours["token"], 60.0)
    assert await due.claim(forge.db, 60.0) is None


async def test_a_look_that_goes_wrong_ends_no_worker(
    forge: Forge, alice: Client, away: Away, url: str, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    await new(alice, url)
    await look_again(forge)
    wrong, settle = asyncio.Event(), due.reschedule

    async def fails(*arguments: Any, **options: Any) -> None:
        wrong.set()
        monkeypatch.setattr(due, "reschedule", settle)
        raise ZeroDivisionError

    monkeypatch.setattr(due, "reschedule", fails)
    await forge.db.execute("update mirrors set due_at = now()")
    await wrong.wait()
    # Its lease runs out, and the next look settles it.
    async with asyncio.timeout(20):
        while not await forge.db.fetchval("select due_at > now() and token is null from mirrors"):
            await asyncio.sleep(0.02)
    # A repository that cannot be read is nobody's fault elsewhere.
    repo_path = store.repository_path(settings.repositories, await forge.db.fetchval("select project_id from projects"))
    (repo_path / "HEAD").write_text("nonsense")
    await look_again(forge)
    (repo_path / "HEAD").write_text("ref: refs/heads/main\n")
    await look_again(forge)
    assert [told["failure"] for told in await events(forge, "mirror.changed")] == ["broken", None]


async def test_what_fetches_left_half_done_is_removed_when_nobody_is_at_it(
    forge: Forge, alice: Client, url: str, settings: Settings
) -> None:
    await new(alice, url)
    repo_path = store.repository_path(settings.repositories, await forge.db.fetchval("select project_id from projects"))
    fresh, old = (repo_path / "objects/pack" / f"tmp_pack_{name}" for name in ("fresh", "old"))
    for file in (fresh, old):
        file.write_bytes(b"half")
    os.utime(old, (0, 0))
    await look_again(forge)
    assert (fresh.exists(), old.exists()) == (True, False)


async def test_a_mirror_is_brought_up_to_date_when_its_administrators_ask(
    forge: Forge, alice: Client, away: Away, authority: Authority
) -> None:
    broken = False

    async def serve(request: web.Request) -> web.StreamResponse:
        if broken:
            raise web.HTTPNotFound
        return await away.smart(request)

    async with site(serve, authority.serving) as url:
        await new(alice, url)
        head = await commit(away.work, "more")
        await away.push()
        status, task = await alice.json("POST", "/v1/projects/mirror/mirror")
        assert (status, task["kind"], task["project"]) == (202, "pull-mirror", "mirror")
        assert alice.headers["Location"].endswith(f"/v1/tasks/{task['id']}")
        assert (await alice.get(f"/v1/tasks/{task['id']}?wait=30"))[1]["status"] == "succeeded"
        assert await branches(alice) == {"main": head}
        broken = True
        task = (await alice.json("POST", "/v1/projects/mirror/mirror"))[1]
        ended = (await alice.get(f"/v1/tasks/{task['id']}?wait=30"))[1]
        assert (ended["status"], ended["message"]) == ("failed", FAILURES[FailureReason.MIRROR_UNREADABLE])
        assert [told["failure"] for told in await events(forge, "mirror.changed")] == ["rejected"]


async def test_who_may_not_have_a_mirror_follow_at_once(forge: Forge, alice: Client, url: str) -> None:
    await new(alice, url)
    await alice.post("/new", name="plain", description="d")
    bob = await forge.user("bob")
    limited = await alice.limited(acls=["commit"])
    for client, path, status in (
        (bob, "mirror", 403), (forge.nobody, "mirror", 401), (limited, "mirror", 403), (alice, "plain", 404),
        (alice, "nowhere", 404),
    ):  # fmt: skip
        assert (await client.json("POST", f"/v1/projects/{path}/mirror"))[0] == status
    assert (await alice.json("POST", "/v1/projects/mirror/mirror", {"x": 1}))[0] == 422
    assert await events(forge, "mirror.pull-requested") == []


async def test_where_mirrors_are_switched_off_none_follows(settings: Settings) -> None:
    async with running(settings.model_copy(update={"mirroring": False})) as forge:
        alice = await forge.user("alice")
        await alice.post("/new", name="plain", description="d")
        status, body = await alice.json("POST", "/v1/projects/plain/mirror")
        assert (status, body["type"]) == (409, "/problems/disabled")
