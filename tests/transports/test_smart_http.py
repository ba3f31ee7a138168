"""Clone, fetch and push with the real git client."""

import asyncio
import gzip
import io
import shutil
import uuid
from pathlib import Path

import pytest

from app.actor import Actor
from app.config import Settings
from app.core import commands
from app.core import pushes as pushing
from app.core.sharing import GrantAccess
from app.git import store
from tests.conftest import Client, Forge, commit, git


async def test_a_push_is_in_the_log_when_git_reports_success(forge: Forge, nethack: Client, tmp_path: Path) -> None:
    work = tmp_path / "work"
    await git("clone", "-q", nethack.git_url("nethack"), str(work))
    old = (await git("rev-parse", "HEAD", cwd=work)).strip()
    new = await commit(work)
    await git("tag", "-am", "first", "v1", cwd=work)
    await git("push", "-q", "origin", "HEAD:main", "HEAD:refs/heads/topic", "v1", cwd=work)
    assert (await nethack.pagure("/nethack/git/branches?with_commits=1"))[1]["branches"] == {"main": new, "topic": new}
    assert (await nethack.pagure("/nethack/git/tags?with_commits=1"))[1]["tags"] == {"v1": new}
    await forge.numbered()
    events = (await nethack.get("/v1/events?types=ref.updated"))[1]["events"]
    assert [(event["data"]["ref"], event["data"]["old"]) for event in events] == [
        ("refs/heads/main", old),
        ("refs/heads/topic", "0" * 40),
        ("refs/tags/v1", "0" * 40),
    ]
    await git("push", "-q", "origin", ":topic", cwd=work)
    assert (await nethack.pagure("/nethack/git/branches"))[1]["branches"] == ["main"]
    await git("push", "-q", "origin", "HEAD:topic", cwd=work)
    assert (await nethack.pagure("/nethack/git/branches"))[1]["branches"] == ["main", "topic"]


async def test_concurrent_pushes_are_recorded_once_with_the_right_actor(
    forge: Forge, nethack: Client, tmp_path: Path
) -> None:
    bob = await forge.user("bob")
    nethack_id = (await nethack.pagure("/nethack"))[1]["id"]
    grant = GrantAccess(project_id=nethack_id, party="user", name="bob", level="commit")
    await commands.execute(forge.db, Actor("alice"), grant, command_id=uuid.uuid4())

    async def pushes(client: Client) -> None:
        work = tmp_path / client.name
        await git("clone", "-q", client.git_url("nethack"), str(work))
        for n in range(3):
            await git("push", "-q", "origin", f"HEAD:refs/heads/{client.name}-{n}", cwd=work)

    await asyncio.gather(*(pushes(client) for client in (nethack, bob)))
    rows = await forge.db.fetch("select actor, data from events where type = 'ref.updated'")
    recorded = sorted((row["actor"], row["data"]["ref"]) for row in rows)
    assert recorded == sorted((name, f"refs/heads/{name}-{n}") for name in ("alice", "bob") for n in range(3))


async def test_a_signed_push_is_refused_before_git_sees_it(forge: Forge, nethack: Client) -> None:
    def line(text: bytes) -> bytes:
        return b"%04x%s" % (len(text) + 4, text)

    zeros, name = b"0" * 40, b"refs/heads/" + b"x" * 2000
    certificate = line(b"push-cert\0 report-status") + line(zeros + b" " + zeros + b" " + name) + b"0000"
    headers = {"Content-Type": "application/x-git-receive-pack-request"}
    url = nethack.git_url("nethack") + "/git-receive-pack"
    for body in (certificate, b"0004" * 100, b"fff0", line(b"x" * 60000) * 100):
        async with forge.session.post(url, data=io.BytesIO(body), headers=headers) as answer:
            assert answer.status == 400
    assert await forge.db.fetchval("select count(*) from open_pushes") == 0


async def test_a_damaged_repository_does_not_delay_pushes_to_others(
    forge: Forge, nethack: Client, settings: Settings
) -> None:
    await nethack.post("/new", name="damaged", description="d")
    ids = [(await nethack.pagure(f"/{name}"))[1]["id"] for name in ("damaged", "nethack")]
    shutil.rmtree(store.repository_path(settings.repositories, ids[0]) / "objects")
    for project_id in ids:
        await forge.db.execute(
            "insert into open_pushes (push_id, project_id, actor) values (gen_random_uuid(), $1, 'alice')", project_id
        )
    await pushing.finish_abandoned(forge.db, settings.repositories)
    left = await forge.db.fetch("select project_id, due_at > now() as later from open_pushes")
    assert [tuple(row) for row in left] == [(ids[0], True)]


async def test_strangers_can_clone_but_not_push(forge: Forge, nethack: Client, tmp_path: Path) -> None:
    work = tmp_path / "work"
    await git("clone", "-q", forge.nobody.git_url("nethack"), str(work))
    await commit(work)
    assert "could not read Username" in await git("push", "origin", "HEAD:main", cwd=work, fails=True)
    bob = await forge.user("bob")
    assert "403" in await git("push", bob.git_url("nethack"), "HEAD:main", cwd=work, fails=True)
    limited = await forge.user("alice", acls=["create_project"])
    assert "403" in await git("push", limited.git_url("nethack"), "HEAD:main", cwd=work, fails=True)


async def test_a_private_repository_is_hidden_from_git(forge: Forge, alice: Client, tmp_path: Path) -> None:
    await alice.post("/new", name="secret", description="d", private="1", create_readme="1")
    bob = await forge.user("bob")
    assert "could not read Username" in await git(
        "clone", forge.nobody.git_url("alice/secret"), str(tmp_path / "a"), fails=True
    )
    assert "not found" in await git("clone", bob.git_url("alice/secret"), str(tmp_path / "b"), fails=True)
    await git("clone", "-q", alice.git_url("alice/secret"), str(tmp_path / "c"))


async def test_a_fork_is_independent_of_its_parent(forge: Forge, nethack: Client, tmp_path: Path) -> None:
    bob = await forge.user("bob")
    await bob.post("/fork", repo="nethack")
    work = tmp_path / "work"
    await git("clone", "-q", bob.git_url("forks/bob/nethack"), str(work))
    new = await commit(work)
    await git("push", "-q", "origin", "HEAD:main", cwd=work)
    assert (await bob.pagure("/fork/bob/nethack/git/branches?with_commits=1"))[1]["branches"] == {"main": new}
    assert (await bob.pagure("/nethack/git/branches?with_commits=1"))[1]["branches"]["main"] != new


async def test_refs_below_refs_pull_cannot_be_pushed(nethack: Client, tmp_path: Path) -> None:
    work = tmp_path / "work"
    await git("clone", "-q", nethack.git_url("nethack"), str(work))
    assert "(Refs below this name are reserved for the server.)" in await git(
        "push", "origin", "HEAD:refs/pull/1/head", cwd=work, fails=True
    )


async def test_a_repository_with_many_refs_is_fetched_with_a_compressed_request(
    forge: Forge, settings: Settings, nethack: Client, tmp_path: Path
) -> None:
    work = tmp_path / "work"
    await git("clone", "-q", nethack.git_url("nethack"), str(work))
    for n in range(60):
        await git("commit", "-q", "--allow-empty", "-m", str(n), cwd=work)
        await git("branch", f"b{n}", cwd=work)
    await git("push", "-q", "origin", "--all", cwd=work)
    for version in ("0", "2"):
        target = tmp_path / f"clone{version}"
        await git("-c", f"protocol.version={version}", "clone", "-q", forge.nobody.git_url("nethack"), str(target))
        assert (await git("branch", "-r", cwd=target)).count("origin/b") == 60
    body = gzip.compress(b"0014command=ls-refs\n0000")
    headers = {
        "Content-Type": "application/x-git-upload-pack-request", "Content-Encoding": "gzip",
        "Git-Protocol": "version=2",
    }  # fmt: skip
    url = f"{forge.url}/nethack.git/git-upload-pack"
    async with forge.session.post(url, data=io.BytesIO(body), headers=headers) as answer:
        assert (answer.status, (await answer.read()).count(b"refs/heads/")) == (200, 61)


async def test_a_push_whose_process_died_is_recorded_later(
    forge: Forge, settings: Settings, nethack: Client, tmp_path: Path
) -> None:
    work = tmp_path / "work"
    await git("clone", "-q", nethack.git_url("nethack"), str(work))
    new = await commit(work)
    project = (await nethack.pagure("/nethack"))[1]["id"]
    # What a SIGKILL after git's end leaves behind: moved refs, and the row of the open push.
    repo_path = store.repository_path(settings.repositories, project)
    await git("push", "-q", str(repo_path), "HEAD:main", cwd=work)
    await forge.db.execute("insert into open_pushes values (gen_random_uuid(), $1, 'alice', now())", project)
    assert (await nethack.pagure("/nethack/git/branches?with_commits=1"))[1]["branches"]["main"] != new
    await pushing.finish_abandoned(forge.db, settings.repositories)
    assert (await nethack.pagure("/nethack/git/branches?with_commits=1"))[1]["branches"]["main"] == new
    assert await forge.db.fetchval("select count(*) from open_pushes") == 0
    assert await pushing.record_refs(forge.db, settings.repositories, project, Actor("alice")) == 0


@pytest.mark.parametrize("path", ["nethack.git/info/refs", "nethack.git/info/refs?service=git-archive"])
async def test_only_the_smart_protocol_is_supported(forge: Forge, nethack: Client, path: str) -> None:
    async with forge.session.get(f"{forge.url}/{path}") as answer:
        assert answer.status == 403


async def test_many_concurrent_clones_succeed(forge: Forge, nethack: Client, tmp_path: Path) -> None:
    await asyncio.gather(
        *(git("clone", "-q", forge.nobody.git_url("nethack"), str(tmp_path / f"c{n}")) for n in range(10))
    )
    assert len(list(tmp_path.glob("c*/README.md"))) == 10
