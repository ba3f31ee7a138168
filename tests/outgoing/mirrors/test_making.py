"""Creating mirrors of remote repositories."""

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
from app.stores import project_secrets
from events.tasks import FailureReason
from tests.conftest import Client, Forge, commit, git
from tests.git.limits import using_limits
from tests.git.repositories import write_object
from tests.outgoing.conftest import BLOCKED_HOST, Authority, Listener, Remote, run_site
from tests.outgoing.mirrors.mirroring import create_mirror, list_branches, list_events, pull_again

DECLINED = f"Remote hook declined the push: {PUSH_REFUSALS[PushReason.MIRROR]}"


async def test_a_mirror_has_the_branches_and_tags_of_its_source(
    forge: Forge, alice: Client, remote: Remote, url: str, tmp_path: Path
) -> None:
    await git("checkout", "-qb", "trunk", cwd=remote.work)
    head = await commit(remote.work, "more")
    await git("tag", "-am", "one", "v1", cwd=remote.work)
    await remote.push()
    await git("symbolic-ref", "HEAD", "refs/heads/trunk", cwd=remote.folder)
    # Refs that are neither branches nor tags, or whose names are too long for the log, are not mirrored.
    for ref in ("refs/pull/7/head", "refs/heads/" + "a/" * 60 + "b"):
        await git("update-ref", ref, head, cwd=remote.folder)
    assert (await create_mirror(alice, url, create_readme="1"))[0] == 200
    assert await list_branches(alice) == {"main": remote.head, "trunk": head}
    await git("clone", "-q", alice.git_url("mirror"), str(tmp_path / "clone"))
    assert (await git("rev-parse", "HEAD", "v1^{}", cwd=tmp_path / "clone")).split() == [head, head]
    [created] = await list_events(forge, "repository.created")
    assert created["head"] == "trunk"
    assert [name for name, _, _ in created["refs"]] == ["refs/heads/main", "refs/heads/trunk", "refs/tags/v1"]
    [asked] = await list_events(forge, "project.created")
    assert (asked["mirrored_from"], asked["create_readme"]) == (url, False)
    await pull_again(forge)
    assert await list_events(forge, "ref.updated") == []


async def test_a_mirror_of_an_empty_repository_is_empty(forge: Forge, alice: Client, remote: Remote, url: str) -> None:
    await git("update-ref", "-d", "refs/heads/main", cwd=remote.folder)
    assert (await create_mirror(alice, url, default_branch="devel"))[0] == 200
    assert [created["head"] for created in await list_events(forge, "repository.created")] == ["devel"]
    # Branches that are added later arrive too.
    await remote.push()
    await pull_again(forge)
    assert await list_branches(alice) == {"main": remote.head}
    assert await forge.db.fetchval("select head from projects") == "main"


async def test_a_mirror_cannot_be_written_to(forge: Forge, alice: Client, url: str, tmp_path: Path) -> None:
    await create_mirror(alice, url)
    work = tmp_path / "mine"
    await git("clone", "-q", alice.git_url("mirror"), str(work))
    mine = await commit(work, "mine")
    for refspec in ("HEAD:refs/heads/main", "HEAD:refs/heads/topic", "HEAD:refs/tags/t", ":refs/heads/main"):
        assert describe_push_refusal(PushReason.MIRROR) in await git(
            "push", "-q", "origin", refspec, cwd=work, fails=True
        )
    status, body = await alice.post("/mirror/git/branch", branch="topic", from_branch="main")
    assert (status, body["error"]) == (400, DECLINED)

    # A fork is an ordinary project, but its pull-requests cannot be merged into the mirror, and the mirror not rebased.
    bob = await forge.user("bob")
    assert (await bob.post("/fork", repo="mirror"))[0] == 200
    await git("push", "-q", bob.git_url("fork/bob/mirror"), "HEAD:refs/heads/topic", cwd=work)
    source = {"repo_from": "mirror", "repo_from_username": "bob", "branch_from": "topic"}
    assert (await bob.post("/mirror/pull-request/new", title="t", branch_to="main", **source))[0] == 200
    status, body = await alice.post("/mirror/pull-request/1/merge")
    assert (status, body["errors"]) == (409, DECLINED)
    assert mine not in (await list_branches(alice)).values()

    fork = (await bob.pagure("/fork/bob/mirror"))[1]["id"]
    command = ConfigureProject(project_id=fork, settings={"pull_requests": True})
    await commands.execute(forge.db, Actor("bob"), command, command_id=uuid.uuid4())
    source = {"repo_from": "mirror", "branch_from": "main", "allow_rebase": "1"}
    status, body = await alice.post("/fork/bob/mirror/pull-request/new", title="t", branch_to="topic", **source)
    assert status == 200, body
    status, body = await alice.post(f"/fork/bob/mirror/pull-request/{body['id']}/rebase")
    assert (status, body["error"]) == (400, DECLINED)


async def test_a_mirror_reaches_nothing_that_is_refused(forge: Forge, alice: Client, listener: Listener) -> None:
    for host in (BLOCKED_HOST, "localhost"):
        status, body = await create_mirror(alice, f"https://{host}:{listener.port}/x.git")
        assert (status, body["error"]) == (400, FAILURES[FailureReason.MIRROR_REFUSED])
    assert await listener.is_untouched()
    # The name is free.
    assert (await alice.post("/new", name="mirror", description="d"))[0] == 200


async def test_a_mirror_with_too_many_refs_is_refused(alice: Client, remote: Remote, url: str) -> None:
    for number in range(20):
        await git("branch", f"topic-{number}", cwd=remote.folder)
    with using_limits("mirror", output=1000):
        status, body = await create_mirror(alice, url)
    assert (status, body["error"]) == (400, FAILURES[FailureReason.MIRROR_TOO_LARGE])


async def test_objects_that_fail_fsck_are_refused(alice: Client, remote: Remote, url: str) -> None:
    tree = (await git("rev-parse", "main^{tree}", cwd=remote.folder)).strip()
    unborn = write_object(
        remote.folder, "commit", f"tree {tree}\ncommitter Al <al@example.org> 1 +0000\n\nhi\n".encode()
    )
    (remote.folder / "refs/heads/unborn").write_text(unborn + "\n")
    status, body = await create_mirror(alice, url)
    assert (status, body["error"]) == (400, FAILURES[FailureReason.MIRROR_UNREADABLE])


async def test_redirects_are_not_followed(
    forge: Forge, alice: Client, remote: Remote, authority: Authority, listener: Listener
) -> None:
    async with run_site(remote.smart, authority.serving) as other, run_site(remote.serve, authority.serving) as url:
        for elsewhere in (other, f"https://{BLOCKED_HOST}:{listener.port}"):
            remote.redirect = elsewhere
            status, body = await create_mirror(alice, url)
            assert (status, body["error"]) == (400, FAILURES[FailureReason.MIRROR_UNREADABLE])
    assert await listener.is_untouched()


@pytest.mark.parametrize(
    "url",
    ["http://example.org/x.git", "git://example.org/x.git", "ftp://example.org/x", "ssh://git@example.org/x.git",
     "git@example.org:x.git", "file:///etc", "/etc", "https://nowhere/x", "https://example.org/x?token=secret",
     "https://example.org/x#secret", "https://a@b@example.org/x", "https://example.org/ä", "https://example.org/\x01",
     "https://example.org/" + "x" * 2048],
)  # fmt: skip
async def test_invalid_mirror_urls_are_refused(alice: Client, url: str) -> None:
    status, body = await create_mirror(alice, url)
    assert (status, body["errors"]) == (400, {"mirrored_from": ["Invalid input."]})


async def test_a_password_in_a_command_is_refused(forge: Forge, alice: Client) -> None:
    command = CreateProject(
        name="mirror", description="", default_branch="main", mirrored_from="https://alice:secret@example.org/x"
    )
    policy = InstancePolicy.from_settings(forge.settings)
    with pytest.raises(Invalid):
        await commands.execute(forge.db, Actor("alice"), command, command_id=uuid.uuid4(), policy=policy)


async def test_a_password_is_kept_where_only_git_can_read_it(
    forge: Forge,
    alice: Client,
    remote: Remote,
    authority: Authority,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    written, processes, answers = BytesIO(), [], []
    # Like the logger that `configure` makes, but with another destination.
    logger = structlog.make_filtering_bound_logger(0)(
        structlog.BytesLogger(written), [structlog.processors.format_exc_info, _render], {}
    )
    monkeypatch.setattr(log, "bind", lambda **_: logger)
    credentials = base64.b64encode(b"alice:s3cr:t@x").decode()

    async def require_login(request: web.Request) -> web.StreamResponse:
        processes.extend([file.read_bytes() for file in Path("/proc").glob("[0-9]*/cmdline") if file.exists()])
        if request.headers.get("Authorization") != f"Basic {credentials}":
            return web.Response(status=401, headers={"WWW-Authenticate": 'Basic realm="x"'})
        return await remote.smart(request)

    async with run_site(require_login, authority.serving) as plain:
        url = plain.replace("https://", "https://alice:s3cr:t%40x@")
        answers.append(await create_mirror(alice, url))
        answers.append(await create_mirror(alice, url, name="projects"))
        wrong = plain.replace("https://", "https://alice:s3cr:t%40x-wrong@")
        answers.append(await create_mirror(alice, wrong, name="other"))
        assert [status for status, _ in answers] == [200, 400, 400]
        await commit(remote.work, "more")
        await remote.push()
        await pull_again(forge)
    await pull_again(forge)
    assert await list_events(forge, "mirror.changed") == [{"actor": "forge", "project_id": 1, "failure": "unreachable"}]
    assert (await list_events(forge, "project.created"))[0]["mirrored_from"] == plain
    assert len(await list_events(forge, "ref.updated")) == 1
    answers.append(await alice.pagure("/mirror"))
    answers.append(await forge.admin.get("/v1/events"))
    answers.append(await forge.admin.get("/v1/tasks"))
    tables = await forge.db.fetch("select tablename from pg_tables where schemaname in ('live', 'public')")
    rows = [str(await forge.db.fetch(f"select t::text from {table['tablename']} t")) for table in tables]
    files = [file.read_bytes() for file in settings.data.rglob("*") if file.is_file()]
    assert len(processes) > 5
    assert b"job" in written.getvalue()
    for text in (written.getvalue(), str(answers).encode(), str(rows).encode(), *processes, *files):
        for secret in (b"s3cr", credentials.encode(), base64.b64encode(b"alice:s3cr:t@x-wrong")):
            assert secret not in text
    # It is stored for this project only, and deleted with it.
    kept = "select project_id, name from project_secrets"
    assert [tuple(row.values()) for row in await forge.db.fetch(kept)] == [(1, "mirror_login")]
    assert await project_secrets.find(forge.db, 1, "mirror_login") == "alice:s3cr:t%40x"
    bound = await alice.limited(project="mirror")
    assert (await bound.post("/mirror/delete"))[0] == 200
    await forge.idle()
    assert await forge.db.fetch(kept) == []
    assert await forge.db.fetch("select * from mirrors") == []


def _render(_: object, level: str, line: Any) -> bytes:
    return repr(line).encode()


async def test_a_mirror_keeps_its_login_if_only_the_response_was_lost(
    forge: Forge, alice: Client, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    execute = projects.execute

    async def lose_response(*arguments: Any, **options: Any) -> None:
        await execute(*arguments, **options)
        raise ConnectionResetError

    monkeypatch.setattr(projects, "execute", lose_response)
    assert (await create_mirror(alice, url.replace("//", "//al:secret@")))[0] == 503
    assert await project_secrets.find(forge.db, 1, "mirror_login") == "al:secret"
