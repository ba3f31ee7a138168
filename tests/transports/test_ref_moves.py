"""Moves of refs are events of their own, in order, whatever happens to the processes that move them."""

import asyncio
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from app.config import Settings
from app.core import pushes
from app.git import locks, store
from tests.conftest import Client, Forge, commit, git

ZEROS = "0" * 40


@pytest.fixture
async def work(nethack: Client, tmp_path: Path) -> Path:
    work = tmp_path / "work"
    await git("clone", "-q", nethack.git_url("nethack"), str(work))
    return work


async def find_repository(client: Client, settings: Settings) -> Path:
    return store.repository_path(settings.repositories, (await client.pagure("/nethack"))[1]["id"])


async def list_moves(forge: Forge, ref: str) -> list[tuple[str, str, str]]:
    """Actor, old and new object of each event, in the order of the log."""
    rows = await forge.db.fetch(
        "select actor, data from events where type = 'ref.updated' and data ->> 'ref' = $1 order by position", ref
    )
    return [(row["actor"], row["data"]["old"], row["data"]["new"]) for row in rows]


@asynccontextmanager
async def recording_dies(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    """A process that dies in this block has moved refs and not recorded it."""

    record = pushes.record_refs

    async def die(*arguments: Any, **options: Any) -> int:
        if "only" in options:
            raise asyncio.CancelledError
        return await record(*arguments, **options)  # by those who find out

    with monkeypatch.context() as patched:
        patched.setattr(pushes, "record_refs", die)
        yield


async def test_a_push_is_told_of_a_move_only_after_the_log_has_it(
    forge: Forge, nethack: Client, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, new = (await git("rev-parse", "HEAD", cwd=work)).strip(), await commit(work)
    async with recording_dies(monkeypatch):
        await git("push", "-q", "origin", "HEAD:main", cwd=work, fails=True)
    # Until somebody looks for it; the search for abandoned pushes may have been faster.
    await git("push", "-q", "origin", "HEAD:main", cwd=work)
    assert await list_moves(forge, "refs/heads/main") == [("alice", before, new)]
    assert await forge.db.fetchval("select count(*) from open_pushes") == 0


async def test_a_move_that_was_not_recorded_is_an_event_before_the_next_one(
    forge: Forge, nethack: Client, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, first = (await git("rev-parse", "HEAD", cwd=work)).strip(), await commit(work, "a")
    async with recording_dies(monkeypatch):
        await git("push", "-q", "origin", "HEAD:main", cwd=work, fails=True)
    bob = await forge.user("bob")
    await nethack.post("/nethack/git/modifyacls", user_type="user", name="bob", acl="commit")
    second = await commit(work, "b")
    await git("push", "-q", bob.git_url("nethack"), f"{second}:main", cwd=work)
    assert await list_moves(forge, "refs/heads/main") == [("alice", before, first), ("bob", first, second)]


async def test_concurrent_pushes_of_one_branch_are_a_chain_of_events(
    forge: Forge, nethack: Client, work: Path, tmp_path: Path
) -> None:
    async def push_all(name: str) -> None:
        clone = tmp_path / name
        await git("clone", "-q", nethack.git_url("nethack"), str(clone))
        for n in range(4):
            new = await commit(clone, f"{name}-{n}")
            while new not in [moved for _, _, moved in await list_moves(forge, "refs/heads/shared")]:
                # Another client may move the branch after this one has read it; git does not try again by itself.
                push = await asyncio.create_subprocess_exec(
                    *("git", "push", "-qf", "origin", "HEAD:shared"), cwd=clone, stderr=asyncio.subprocess.DEVNULL
                )
                await push.wait()

    await asyncio.gather(*(push_all(f"client-{n}") for n in range(3)))
    moves = await list_moves(forge, "refs/heads/shared")
    assert len(moves) == 12
    assert [old for _, old, _ in moves] == [ZEROS, *(new for _, _, new in moves[:-1])]


async def test_a_process_that_is_stopped_moves_nothing_behind_another_ones_back(
    forge: Forge, nethack: Client, work: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    repo_path = await find_repository(nethack, settings)
    monkeypatch.setattr(locks, "TIMEOUT", 0.3)
    await commit(work)
    with locks.RefLock(repo_path) as lock:
        assert lock.try_acquire()
        await forge.db.execute(
            "insert into open_pushes (push_id, project_id, actor) values (gen_random_uuid(), $1, 'alice')",
            (await nethack.pagure("/nethack"))[1]["id"],
        )
        assert "503" in await git("push", "origin", "HEAD:main", cwd=work, fails=True)
        await pushes.finish_abandoned(forge.db, settings.repositories)
        assert await forge.db.fetchval("select count(*) from open_pushes") == 1
    await git("push", "-q", "origin", "HEAD:main", cwd=work)
    assert await forge.db.fetchval("select count(*) from open_pushes") == 0


async def test_the_lock_is_held_as_long_as_a_git_that_was_started_under_it(nethack: Client, settings: Settings) -> None:
    repo_path = await find_repository(nethack, settings)
    with locks.ref_lock(repo_path):
        child = subprocess.Popen(["sleep", "60"], pass_fds=locks.inherited_descriptors())
    with locks.RefLock(repo_path) as other:
        assert not other.try_acquire()
        child.kill()
        child.wait()
        assert other.try_acquire()


async def test_lock_files_of_a_killed_git_are_removed_by_the_next_writer(
    forge: Forge, nethack: Client, work: Path, settings: Settings
) -> None:
    repo_path = await find_repository(nethack, settings)
    left = [repo_path / name for name in ("refs/heads/main.lock", "packed-refs.lock", "HEAD.lock")]
    for file in left:
        file.touch()
    await commit(work)
    await git("push", "-q", "origin", "HEAD:main", "HEAD:topic", cwd=work)
    for file in (*left[1:], repo_path / "refs/heads/topic.lock"):
        file.touch()
    await git("push", "-q", "origin", ":topic", cwd=work)
    assert (await nethack.post("/nethack/git/branch", branch="more"))[0] == 200
    left[2].touch()
    assert (await nethack.post("/nethack/git/branches", branch_name="more"))[0] == 200
    assert not list(repo_path.rglob("*.lock"))


async def test_the_first_branch_of_a_project_becomes_its_default_branch(
    forge: Forge, alice: Client, tmp_path: Path
) -> None:
    await alice.post("/new", name="empty", description="d")
    work = tmp_path / "work"
    await git("init", "-q", "-b", "master", str(work))
    head = await commit(work)
    await git("push", "-q", alice.git_url("empty"), "HEAD:refs/tags/v1", "master", "HEAD:refs/heads/zebra", cwd=work)
    assert (await alice.pagure("/empty/git/branches?with_commits=1"))[1]["default"] == {"master": head}
    await git("clone", "-q", alice.git_url("empty"), str(tmp_path / "clone"))
    assert (await git("rev-parse", "--abbrev-ref", "HEAD", cwd=tmp_path / "clone")).strip() == "master"
    await git("push", "-q", alice.git_url("empty"), "HEAD:main", cwd=work)
    assert (await alice.pagure("/empty/git/branches?with_commits=1"))[1]["default"] == {"master": head}


async def test_push_options_are_kept_with_the_event(forge: Forge, nethack: Client, work: Path) -> None:
    await commit(work)
    await git("push", "-q", "-o", "ci.skip", "-o", "topic=größer", "origin", "HEAD:main", "HEAD:topic", cwd=work)
    await git("push", "-q", "origin", "HEAD:other", cwd=work)
    rows = await forge.db.fetch("select data from events where type = 'ref.updated' order by position")
    assert [row["data"]["options"] for row in rows] == [["ci.skip", "topic=größer"]] * 2 + [[]]


NAMES = [
    (b"refs/heads/caf\xe9", "cannot be stored"),
    (b"refs/heads/" + b"a" * 40, "cannot be stored"),
    (b"refs/tags/" + b"0" * 39 + b"1", "cannot be stored"),
    (b"refs/heads/HEAD", "cannot be stored"),
    (b"refs/heads/" + b"x/" * 60 + b"x", "cannot be stored"),
    (b"refs/heads/" + b"n" * 1100, "cannot be stored"),
]


@pytest.mark.parametrize(("name", "why"), NAMES, ids=[str(n) for n in range(len(NAMES))])
async def test_a_ref_name_that_cannot_be_stored_is_refused_for_that_ref_alone(
    forge: Forge, nethack: Client, work: Path, name: bytes, why: str
) -> None:
    new = await commit(work)
    process = await asyncio.create_subprocess_exec(
        *("git", "push", "origin", b"HEAD:" + name, "HEAD:main"),
        cwd=work,
        stderr=asyncio.subprocess.PIPE,
    )
    _, output = await process.communicate()
    assert why.encode() in output, output
    assert (await nethack.pagure("/nethack/git/branches?with_commits=1"))[1]["branches"] == {"main": new}
    assert await forge.db.fetchval("select count(*) from open_pushes") == 0


async def test_each_ref_that_git_does_not_change_is_told_why(nethack: Client, work: Path) -> None:
    head = await commit(work)
    tree = (await git("rev-parse", "HEAD^{tree}", cwd=work)).strip()
    await git("push", "-q", "origin", "HEAD:dir", cwd=work)
    output = await git("push", "origin", "HEAD:dir/sub", f"{tree}:refs/heads/tree", "HEAD:fine", cwd=work, fails=True)
    assert "dir/sub (A branch `dir` and a branch `dir/sub` cannot both exist; choose another name.)" in output
    assert "tree (A branch must point to a commit.)" in output
    assert (await nethack.pagure("/nethack/git/branches?with_commits=1"))[1]["branches"]["fine"] == head
    output = await git("push", "origin", ":main", cwd=work, fails=True)
    assert "main (This is the default branch; choose another default branch before you delete it.)" in output


async def test_a_push_of_too_many_refs_is_refused(forge: Forge, nethack: Client, work: Path) -> None:
    head = (await git("rev-parse", "HEAD", cwd=work)).strip()
    limit = forge.settings.max_push_refs
    with (work / ".git/packed-refs").open("a") as packed:
        packed.writelines(f"{head} refs/many/{n}\n" for n in range(limit + 1))
    output = await git("push", "-q", "origin", "refs/many/*:refs/heads/*", cwd=work, fails=True)
    assert f"(This push changes more than {limit} refs; push fewer at a time.)" in output
    assert (await nethack.pagure("/nethack/git/branches"))[1]["total_branches"] == 1


async def test_the_refs_of_a_push_are_stored_by_one_statement(
    forge: Forge, nethack: Client, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    statements: list[str] = []
    send = asyncpg.Connection._execute

    async def count(connection: Any, query: str, *arguments: Any, **options: Any) -> Any:
        statements.append(query)
        return await send(connection, query, *arguments, **options)

    head = (await git("rev-parse", "HEAD", cwd=work)).strip()
    with (work / ".git/packed-refs").open("a") as packed:
        packed.writelines(f"{head} refs/many/{n:03}\n" for n in range(200))
    monkeypatch.setattr(asyncpg.Connection, "_execute", count)
    await git("push", "-q", "origin", "refs/many/*:refs/heads/*", cwd=work)
    assert len([query for query in statements if "insert into events" in query and "'ref.updated'" in query]) == 1
    rows = await forge.db.fetch("select data, version from events where type = 'ref.updated' order by position")
    assert [(row["data"]["ref"], row["version"]) for row in rows] == [(f"refs/heads/{n:03}", 1) for n in range(200)]
    assert (await nethack.pagure("/nethack/git/branches"))[1]["total_branches"] == 201
