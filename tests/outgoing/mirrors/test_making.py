"""Projects are made mirrors of repositories elsewhere, of those that may be reached."""

import base64
import uuid
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
import structlog
from aiohttp import web

from app.actor import Actor
from app.config import Settings
from app.core import commands
from app.core.instance_policy import InstancePolicy
from app.core.projects import ConfigureProject, CreateProject
from app.core.push_policy import PushReason
from app.dialects.pagure import projects
from app.dialects.pagure.errors import PUSH_REFUSALS
from app.dialects.pagure.words import FAILURES
from app.errors import Invalid
from app.http.wording import describe_push_refusal
from app.logs import log
from app.outgoing import git as remotes
from events.tasks import FailureReason
from tests.conftest import Client, Forge, commit, git
from tests.git.repositories import typed
from tests.outgoing.conftest import HERE, Authority, Away, Listener, site
from tests.outgoing.mirrors.mirroring import branches, events, look_again, new

DECLINED = f"Remote hook declined the push: {PUSH_REFUSALS[PushReason.MIRROR]}"


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


async def test_nobody_writes_to_a_mirror(forge: Forge, alice: Client, url: str, tmp_path: Path) -> None:
    await new(alice, url)
    work = tmp_path / "mine"
    await git("clone", "-q", alice.git_url("mirror"), str(work))
    mine = await commit(work, "mine")
    for refspec in ("HEAD:refs/heads/main", "HEAD:refs/heads/topic", "HEAD:refs/tags/t", ":refs/heads/main"):
        assert describe_push_refusal(PushReason.MIRROR) in await git(
            "push", "-q", "origin", refspec, cwd=work, fails=True
        )
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
    command = ConfigureProject(project_id=fork, settings={"pull_requests": True})
    await commands.execute(forge.db, Actor("bob"), command, command_id=uuid.uuid4())
    source = {"repo_from": "mirror", "branch_from": "main", "allow_rebase": "1"}
    status, body = await alice.post("/fork/bob/mirror/pull-request/new", title="t", branch_to="topic", **source)
    assert status == 200, body
    status, body = await alice.post(f"/fork/bob/mirror/pull-request/{body['id']}/rebase")
    assert (status, body["error"]) == (400, DECLINED)


async def test_a_mirror_reaches_nothing_that_is_refused(forge: Forge, alice: Client, listener: Listener) -> None:
    for host in (HERE, "localhost"):
        status, body = await new(alice, f"https://{host}:{listener.port}/x.git")
        assert (status, body["error"]) == (400, FAILURES[FailureReason.MIRROR_REFUSED])
    assert await listener.untouched()
    # The name is free.
    assert (await alice.post("/new", name="mirror", description="d"))[0] == 200


async def test_a_mirror_takes_no_more_refs_than_fit_into_an_answer(
    alice: Client, away: Away, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remotes, "MAX_OUTPUT", 1000)
    for number in range(20):
        await git("branch", f"topic-{number}", cwd=away.folder)
    status, body = await new(alice, url)
    assert (status, body["error"]) == (400, FAILURES[FailureReason.MIRROR_TOO_LARGE])


async def test_a_mirror_takes_no_objects_that_no_push_may_bring(alice: Client, away: Away, url: str) -> None:
    tree = (await git("rev-parse", "main^{tree}", cwd=away.folder)).strip()
    unborn = typed(away.folder, "commit", f"tree {tree}\ncommitter Al <al@example.org> 1 +0000\n\nhi\n".encode())
    (away.folder / "refs/heads/unborn").write_text(unborn + "\n")
    status, body = await new(alice, url)
    assert (status, body["error"]) == (400, FAILURES[FailureReason.MIRROR_UNREADABLE])


async def test_a_mirror_follows_no_redirect(
    forge: Forge, alice: Client, away: Away, authority: Authority, listener: Listener
) -> None:
    async with site(away.smart, authority.serving) as other, site(away.serve, authority.serving) as url:
        for elsewhere in (other, f"https://{HERE}:{listener.port}"):
            away.redirect = elsewhere
            status, body = await new(alice, url)
            assert (status, body["error"]) == (400, FAILURES[FailureReason.MIRROR_UNREADABLE])
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
    command = CreateProject(
        name="mirror", description="", default_branch="main", mirrored_from="https://alice:secret@example.org/x"
    )
    policy = InstancePolicy.from_settings(forge.settings)
    with pytest.raises(Invalid):
        await commands.execute(forge.db, Actor("alice"), command, command_id=uuid.uuid4(), policy=policy)


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
    for text in (written.getvalue(), str(answers).encode(), str(rows).encode(), *processes, *files):
        for secret in (b"s3cr", told.encode(), base64.b64encode(b"alice:s3cr:t@x-wrong")):
            assert secret not in text
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


async def test_a_mirror_that_was_made_keeps_its_login_though_the_answer_was_lost(
    forge: Forge, alice: Client, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = projects.execute

    async def lost(*arguments: Any, **options: Any) -> None:
        await made(*arguments, **options)
        raise ConnectionResetError

    monkeypatch.setattr(projects, "execute", lost)
    assert (await new(alice, url.replace("//", "//al:secret@")))[0] == 503
    assert await forge.db.fetchval("select secret from project_secrets where name = 'mirror_login'") == "al:secret"
