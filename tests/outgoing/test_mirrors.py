"""Projects that are mirrors of repositories elsewhere."""

import asyncio
import base64
import os
import subprocess
import threading
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from io import BytesIO
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import pytest
import structlog
from aiohttp import web

from app.config import Settings
from app.core import commands
from app.core.access import Actor
from app.core.projects import ConfigureProject, CreateProject
from app.core.push_policy import MIRRORED
from app.errors import Invalid
from app.git import store
from app.logs import log
from app.outgoing import git as remotes
from app.queries import mirrors as due
from tests.conftest import Client, Forge, commit, git, running, settled
from tests.git.repositories import typed
from tests.outgoing.conftest import HERE, THERE, Authority, Away, Listener, site
from workers import mirrors, perform
from workers.settings import CONCURRENCY

DECLINED = f"Remote hook declined the push: {MIRRORED}"


@pytest.fixture
async def settings(
    database_url: str,
    services: tuple[str, str],
    tmp_path: Path,
    authority: Authority,
    monkeypatch: pytest.MonkeyPatch,
) -> Settings:
    """Users may aim the forge at THERE, whose certificate it trusts."""
    monkeypatch.setitem(remotes.CONFIG, "http.sslCAInfo", str(authority.file))
    monkeypatch.setattr(mirrors, "LOOK", 0.05)
    monkeypatch.setattr(perform, "PACE", 0.02)
    made = await settled(database_url, services, tmp_path / "var")
    return made.model_copy(update={"webhook_allow": [IPv4Network(THERE)]})


@pytest.fixture
async def url(away: Away, authority: Authority) -> AsyncIterator[str]:
    async with site(away.smart, authority.serving) as url:
        yield url + "/x.git"


async def new(client: Client, url: str, name: str = "mirror", **form: str) -> tuple[int, Any]:
    return await client.post("/new", name=name, description="d", mirrored_from=url, **form)


async def branches(client: Client, name: str = "mirror") -> dict[str, str]:
    form = {"params": {"with_commits": "1"}}
    return dict((await client.get(f"/api/0/{name}/git/branches", **form))[1]["branches"])


async def look_again(forge: Forge) -> None:
    """Let the only mirror be due, and wait until it has been looked at."""
    async with asyncio.timeout(20):
        while not (await forge.db.execute("update mirrors set due_at = now() where token is null")).endswith("1"):
            await asyncio.sleep(0.02)
        while not await forge.db.fetchval("select due_at > now() and token is null from mirrors"):
            await asyncio.sleep(0.02)
    await forge.idle()


async def events(forge: Forge, type: str) -> list[dict[str, Any]]:
    rows = await forge.db.fetch("select actor, data from events where type = $1 order by position", type)
    return [{"actor": row["actor"], **row["data"]} for row in rows]


async def test_a_mirror_is_what_is_there(forge: Forge, alice: Client, away: Away, url: str, tmp_path: Path) -> None:
    await git("checkout", "-qb", "trunk", cwd=away.work)
    head = await commit(away.work, "more")
    await git("tag", "-am", "one", "v1", cwd=away.work)
    await away.push()
    await git("symbolic-ref", "HEAD", "refs/heads/trunk", cwd=away.folder)
    # What is nobody's branch and nobody's tag stays there, and what the log cannot hold is not told.
    for ref in ("refs/pull/7/head", "refs/heads/" + "a/" * 60 + "b"):
        await git("update-ref", ref, head, cwd=away.folder)
    assert (await new(alice, url, create_readme="1"))[0] == 200
    assert await branches(alice) == {"main": away.head, "trunk": head}
    await git("clone", "-q", alice.git_url("mirror"), str(tmp_path / "clone"))
    assert (await git("rev-parse", "HEAD", "v1^{}", cwd=tmp_path / "clone")).split() == [head, head]
    [created] = await events(forge, "repository.created")
    assert created["head"] == "trunk"
    assert [name for name, _, _ in created["refs"]] == ["refs/heads/main", "refs/heads/trunk", "refs/tags/v1"]
    [asked] = await events(forge, "project.created")
    assert (asked["mirrored_from"], asked["create_readme"]) == (url, False)
    await look_again(forge)
    assert await events(forge, "ref.updated") == []


async def test_a_mirror_of_nothing_is_empty(forge: Forge, alice: Client, away: Away, url: str) -> None:
    await git("update-ref", "-d", "refs/heads/main", cwd=away.folder)
    assert (await new(alice, url, default_branch="devel"))[0] == 200
    assert [created["head"] for created in await events(forge, "repository.created")] == ["devel"]
    # What comes there later comes here.
    await away.push()
    await look_again(forge)
    assert await branches(alice) == {"main": away.head}
    assert await forge.db.fetchval("select head from projects") == "main"


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


def crowd(place: Path) -> None:
    """Commits that no packing makes small."""
    lines: list[bytes] = []
    for mark in range(1, 121):
        content = os.urandom(1 << 13).hex().encode()
        lines += [b"commit refs/heads/crowd", b"mark :%d" % mark, b"committer Al <al@example.org> 1700000000 +0000"]
        lines += [b"data 2", b"hi", b"M 644 inline f%d" % mark, b"data %d" % len(content), content]
    subprocess.run(["git", "fast-import", "--quiet"], cwd=place, input=b"\n".join(lines), check=True)


class Slow:
    """The repository there, whose packs stop in their middle until they are let go."""

    def __init__(self, away: Away) -> None:
        self.away = away
        self.go = asyncio.Event()
        self.gone = asyncio.Event()

    async def serve(self, request: web.Request) -> web.StreamResponse:
        answer = await self.away.smart(request)
        body = answer.body if isinstance(answer, web.Response) else None
        if not isinstance(body, bytes) or len(body) < 1 << 20:
            return answer
        response = web.StreamResponse(headers={"Content-Type": answer.content_type})
        await response.prepare(request)
        await response.write(body[: len(body) // 2])
        closing = asyncio.create_task(self._until_gone(request))
        await self.go.wait()
        closing.cancel()
        await response.write(body[len(body) // 2 :])
        return response

    async def _until_gone(self, request: web.Request) -> None:
        while request.transport is not None and not request.transport.is_closing():
            await asyncio.sleep(0.02)
        self.gone.set()


@asynccontextmanager
async def half_way(alice: Client, away: Away, authority: Authority) -> AsyncIterator[tuple[str, Slow]]:
    """The task of a mirror of which half has come, and who serves the rest."""
    crowd(away.folder)
    slow = Slow(away)
    async with site(slow.serve, authority.serving) as url:
        task = (await new(alice, url, wait="0"))[1]["taskid"]
        async with asyncio.timeout(20):
            while (await alice.get(f"/v1/tasks/{task}"))[1]["stage"] != "receive":
                await asyncio.sleep(0.02)
        yield task, slow
        slow.go.set()


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
        place = store.directory(settings.repositories, await forge.db.fetchval("select project_id from projects"))
        assert list(place.parent.iterdir())
        assert (await alice.json("POST", f"/v1/tasks/{task}/cancel"))[0] == 202
        assert (await alice.get(f"/v1/tasks/{task}?wait=30"))[1]["status"] == "cancelled"
        async with asyncio.timeout(20):
            await slow.gone.wait()
            while list(place.parent.iterdir()):
                await asyncio.sleep(0.02)
    assert (await alice.pagure("/mirror"))[0] == 404


async def test_a_mirror_that_is_cancelled_at_its_very_end_leaves_nothing(
    forge: Forge, alice: Client, url: str, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetched, cancelled, original = threading.Event(), threading.Event(), mirrors._set_head

    def late(place: Path, name: str) -> None:
        fetched.set()
        cancelled.wait(20)
        original(place, name)

    monkeypatch.setattr(mirrors, "_set_head", late)
    task = (await new(alice, url, wait="0"))[1]["taskid"]
    await asyncio.to_thread(fetched.wait, 20)
    place = store.directory(settings.repositories, await forge.db.fetchval("select project_id from projects"))
    assert (await alice.json("POST", f"/v1/tasks/{task}/cancel"))[0] == 202
    assert (await alice.get(f"/v1/tasks/{task}?wait=30"))[1]["status"] == "cancelled"
    await forge.idle()
    cancelled.set()
    async with asyncio.timeout(20):
        # Neither a repository nor what it was to become.
        while list(place.parent.iterdir()):
            await asyncio.sleep(0.02)


async def test_nobody_writes_to_a_mirror(forge: Forge, alice: Client, url: str, tmp_path: Path) -> None:
    await new(alice, url)
    work = tmp_path / "mine"
    await git("clone", "-q", alice.git_url("mirror"), str(work))
    mine = await commit(work, "mine")
    for refspec in ("HEAD:refs/heads/main", "HEAD:refs/heads/topic", "HEAD:refs/tags/t", ":refs/heads/main"):
        assert MIRRORED in await git("push", "-q", "origin", refspec, cwd=work, fails=True)
    status, body = await alice.post("/mirror/git/branch", branch="topic", from_branch="main")
    assert (status, body["error"]) == (400, DECLINED)

    # A fork is a project like any other, but what comes from it does not get into the mirror, nor the other way round.
    bob = await forge.user("bob")
    assert (await bob.post("/fork", repo="mirror"))[0] == 200
    await git("push", "-q", bob.git_url("fork/bob/mirror"), "HEAD:refs/heads/topic", cwd=work)
    source = {"repo_from": "mirror", "repo_from_username": "bob", "branch_from": "topic"}
    assert (await bob.post("/mirror/pull-request/new", title="t", branch_to="main", **source))[0] == 200
    status, body = await alice.post("/mirror/pull-request/1/merge")
    assert (status, body["errors"]) == (409, DECLINED)
    assert mine not in (await branches(alice)).values()

    fork = (await bob.pagure("/fork/bob/mirror"))[1]["id"]
    wish = ConfigureProject(project_id=fork, settings={"pull_requests": True})
    await commands.execute(forge.db, Actor("bob"), wish, command_id=uuid.uuid4())
    source = {"repo_from": "mirror", "branch_from": "main", "allow_rebase": "1"}
    status, body = await alice.post("/fork/bob/mirror/pull-request/new", title="t", branch_to="topic", **source)
    assert status == 200, body
    status, body = await alice.post(f"/fork/bob/mirror/pull-request/{body['id']}/rebase")
    assert (status, body["error"]) == (400, DECLINED)


async def test_a_mirror_reaches_nothing_that_is_refused(forge: Forge, alice: Client, listener: Listener) -> None:
    for host in (HERE, "localhost"):
        status, body = await new(alice, f"https://{host}:{listener.port}/x.git")
        assert (status, body["error"]) == (400, mirrors.SENTENCES[mirrors.Failure.REFUSED])
    assert await listener.untouched()
    # The name is free.
    assert (await alice.post("/new", name="mirror", description="d"))[0] == 200


async def test_a_mirror_takes_no_more_refs_than_fit_into_an_answer(
    alice: Client, away: Away, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remotes, "MOST", 1000)
    for number in range(20):
        await git("branch", f"topic-{number}", cwd=away.folder)
    status, body = await new(alice, url)
    assert (status, body["error"]) == (400, mirrors.SENTENCES[mirrors.Failure.TOO_LARGE])


async def test_a_mirror_takes_no_objects_that_no_push_may_bring(alice: Client, away: Away, url: str) -> None:
    tree = (await git("rev-parse", "main^{tree}", cwd=away.folder)).strip()
    unborn = typed(away.folder, "commit", f"tree {tree}\ncommitter Al <al@example.org> 1 +0000\n\nhi\n".encode())
    (away.folder / "refs/heads/unborn").write_text(unborn + "\n")
    status, body = await new(alice, url)
    assert (status, body["error"]) == (400, mirrors.SORRY)


async def test_a_mirror_follows_no_redirect(
    forge: Forge, alice: Client, away: Away, authority: Authority, listener: Listener
) -> None:
    async with site(away.smart, authority.serving) as other, site(away.serve, authority.serving) as url:
        for elsewhere in (other, f"https://{HERE}:{listener.port}"):
            away.redirect = elsewhere
            status, body = await new(alice, url)
            assert (status, body["error"]) == (400, mirrors.SORRY)
    assert await listener.untouched()


@pytest.mark.parametrize(
    "url",
    ["http://example.org/x.git", "git://example.org/x.git", "ftp://example.org/x", "ssh://git@example.org/x.git",
     "git@example.org:x.git", "file:///etc", "/etc", "https://nowhere/x", "https://example.org/x?token=secret",
     "https://example.org/x#secret", "https://a@b@example.org/x", "https://example.org/ä", "https://example.org/\x01",
     "https://example.org/" + "x" * 2048],
)  # fmt: skip
async def test_addresses_that_no_mirror_has(alice: Client, url: str) -> None:
    status, body = await new(alice, url)
    assert (status, body["errors"]) == (400, {"mirrored_from": ["Invalid input."]})


async def test_no_password_gets_into_the_log_by_any_way(forge: Forge, alice: Client) -> None:
    wish = CreateProject(
        name="mirror", description="", default_branch="main", mirrored_from="https://alice:secret@example.org/x"
    )
    with pytest.raises(Invalid):
        await commands.execute(forge.db, Actor("alice"), wish, command_id=uuid.uuid4())


async def test_a_password_is_kept_where_only_git_gets_it(
    forge: Forge, alice: Client, away: Away, authority: Authority, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    written, processes, answers = BytesIO(), [], []
    # As `configure` makes it, but for where the lines go.
    logger = structlog.make_filtering_bound_logger(0)(
        structlog.BytesLogger(written), [structlog.processors.format_exc_info, _rendered], {}
    )
    monkeypatch.setattr(log, "bind", lambda **_: logger)
    told = base64.b64encode(b"alice:s3cr:t@x").decode()

    async def locked(request: web.Request) -> web.StreamResponse:
        processes.extend([file.read_bytes() for file in Path("/proc").glob("[0-9]*/cmdline") if file.exists()])
        if request.headers.get("Authorization") != f"Basic {told}":
            return web.Response(status=401, headers={"WWW-Authenticate": 'Basic realm="x"'})
        return await away.smart(request)

    async with site(locked, authority.serving) as plain:
        url = plain.replace("https://", "https://alice:s3cr:t%40x@")
        answers.append(await new(alice, url))
        answers.append(await new(alice, url, name="projects"))
        wrong = plain.replace("https://", "https://alice:s3cr:t%40x-wrong@")
        answers.append(await new(alice, wrong, name="other"))
        assert [status for status, _ in answers] == [200, 400, 400]
        await commit(away.work, "more")
        await away.push()
        await look_again(forge)
    await look_again(forge)
    assert await events(forge, "mirror.changed") == [{"actor": "forge", "project_id": 1, "failure": "unreachable"}]
    assert (await events(forge, "project.created"))[0]["mirrored_from"] == plain
    assert len(await events(forge, "ref.updated")) == 1
    answers.append(await alice.pagure("/mirror"))
    answers.append(await forge.admin.get("/v1/events"))
    answers.append(await forge.admin.get("/v1/tasks"))
    tables = await forge.db.fetch("select tablename from pg_tables where schemaname in ('live', 'public')")
    rows = [
        str(await forge.db.fetch(f"select t::text from {table['tablename']} t"))
        for table in tables
        if table["tablename"] != "project_secrets"
    ]
    files = [file.read_bytes() for file in settings.data.rglob("*") if file.is_file()]
    assert len(processes) > 5
    assert b"job" in written.getvalue()
    for place in (written.getvalue(), str(answers).encode(), str(rows).encode(), *processes, *files):
        for secret in (b"s3cr", told.encode(), base64.b64encode(b"alice:s3cr:t@x-wrong")):
            assert secret not in place
    # It is there for its project alone, and goes with it.
    kept = "select project_id, name, secret from project_secrets"
    assert [tuple(row.values()) for row in await forge.db.fetch(kept)] == [(1, "mirror_login", "alice:s3cr:t%40x")]
    bound = await alice.limited(project="mirror")
    assert (await bound.post("/mirror/delete"))[0] == 200
    await forge.idle()
    assert await forge.db.fetch(kept) == []
    assert await forge.db.fetch("select * from mirrors") == []


def _rendered(_: object, level: str, line: Any) -> bytes:
    return repr(line).encode()


async def test_what_comes_too_slowly_is_ended(
    database_url: str, alice: Client, authority: Authority, forge: Forge, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mirrors, "LISTING", 1.0)

    async def drip(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/x-git-upload-pack-advertisement"})
        await response.prepare(request)
        while True:
            await response.write(b"0")
            await asyncio.sleep(0.05)

    async with site(drip, authority.serving) as url:
        status, body = await new(alice, url)
    assert (status, body["error"]) == (400, mirrors.SENTENCES[mirrors.Failure.TIMEOUT])
    assert (await alice.pagure("/mirror"))[0] == 404


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
    await due.settle(forge.db, ours["project_id"], ours["token"], failures=9, pause=9.0)
    assert await forge.db.fetchval("select token from mirrors where failures = 0") == theirs["token"]
    await due.settle(forge.db, theirs["project_id"], theirs["token"], failures=0, pause=0.0)
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
    wrong, settle = asyncio.Event(), due.settle

    async def fails(*arguments: Any, **options: Any) -> None:
        wrong.set()
        monkeypatch.setattr(due, "settle", settle)
        raise ZeroDivisionError

    monkeypatch.setattr(due, "settle", fails)
    await forge.db.execute("update mirrors set due_at = now()")
    await wrong.wait()
    # Its lease runs out, and the next look settles it.
    async with asyncio.timeout(20):
        while not await forge.db.fetchval("select due_at > now() and token is null from mirrors"):
            await asyncio.sleep(0.02)
    # A repository that cannot be read is nobody's fault elsewhere.
    place = store.directory(settings.repositories, await forge.db.fetchval("select project_id from projects"))
    (place / "HEAD").write_text("nonsense")
    await look_again(forge)
    (place / "HEAD").write_text("ref: refs/heads/main\n")
    await look_again(forge)
    assert [told["failure"] for told in await events(forge, "mirror.changed")] == ["broken", None]


async def test_what_fetches_left_half_done_is_removed_when_nobody_is_at_it(
    forge: Forge, alice: Client, url: str, settings: Settings
) -> None:
    await new(alice, url)
    place = store.directory(settings.repositories, await forge.db.fetchval("select project_id from projects"))
    fresh, old = (place / "objects/pack" / f"tmp_pack_{name}" for name in ("fresh", "old"))
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
        assert (ended["status"], ended["message"]) == ("failed", mirrors.SORRY)
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
