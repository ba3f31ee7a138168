"""Git and libgit2 sync the content of objects and refs before these get their names; the forge syncs the names."""

import asyncio
import json
import os
import shutil
import time
import uuid
from collections import Counter
from pathlib import Path

import pytest

from app.config import Settings
from app.disk import attachments, durable
from app.git import durability, process, store
from app.git.limits import using_settings
from tests.conftest import Client, commit, git, run_forge
from tests.failing_disk import run_changes
from tests.git.repositories import clone_work_tree
from tests.synced import watch_disk

WRITTEN_OUT, FLUSHED = "fsync/writeout-only", "fsync/hardware-flush"  # as git counts


@pytest.fixture
async def repo_path(tmp_path: Path) -> Path:
    """The second of two repositories with the same `main`; the first one has another branch with new objects."""
    for project_id in (1, 2):
        repo_path = store.repository_path(tmp_path, project_id)
        await git("init", "-q", "--bare", "-b", "main", str(repo_path))
        if project_id == 1:
            work = await clone_work_tree(repo_path)
            await commit(work)
        await git("push", "-q", str(repo_path), "main", "main:packed", "main:packed2", cwd=work)
    await commit(work, "other")
    await git("push", "-q", "origin", "HEAD:other", cwd=work)
    await git("pack-refs", "--all", cwd=repo_path)
    return repo_path


@pytest.mark.slow
async def test_nothing_succeeds_on_a_disk_that_fails(repo_path: Path) -> None:
    before = await git("for-each-ref", cwd=repo_path)
    outcomes = await asyncio.to_thread(run_changes, repo_path, "fail")
    assert [name for name, outcome in outcomes.items() if outcome == "done"] == []
    assert await git("for-each-ref", cwd=repo_path) == before
    assert (await git("symbolic-ref", "HEAD", cwd=repo_path)).strip() == "refs/heads/main"


@pytest.mark.slow
async def test_the_same_succeeds_on_a_disk_that_works(repo_path: Path) -> None:
    outcomes = await asyncio.to_thread(run_changes, repo_path)
    assert set(outcomes.values()) == {"done"}


async def count_syncs(alice: Client, work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Push what is new in the work tree; return how often git has synced what, by its own count."""
    (traces := tmp_path / "traces").mkdir()
    with monkeypatch.context() as patched:
        patched.setitem(process.ENVIRONMENT, "GIT_TRACE2_EVENT", str(traces))
        await git("push", "-q", alice.git_url("nethack"), "HEAD:new", cwd=work)
    counts: Counter[str] = Counter()
    for line in (line for file in traces.iterdir() for line in file.read_text().splitlines()):
        event = json.loads(line)
        if event.get("category") == "fsync":
            counts[event["key"]] += int(event["value"])
    return counts


async def test_the_objects_of_a_push_and_its_ref_are_synced(
    nethack: Client, work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = await count_syncs(nethack, work, tmp_path, monkeypatch)
    # A commit, a tree, a file and a ref, and once for the files together. Some versions of git sync commits and trees
    # one by one if they have to be checked.
    assert counts[WRITTEN_OUT] >= 1
    assert counts.total() == 5


async def test_the_pack_of_a_large_push_is_synced(
    nethack: Client, work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(120):
        (work / f"{number}").write_text(f"{number}")
    await git("add", ".", cwd=work)
    await commit(work, "last")
    counts = await count_syncs(nethack, work, tmp_path, monkeypatch)
    assert counts[FLUSHED] >= 3  # the pack, its index and the ref


@pytest.mark.own_forge
@pytest.mark.parametrize(("mode", "expected"), [("each", {FLUSHED: 4}), ("off", {})])
async def test_the_setting_says_how_much_is_synced(
    own_settings: Settings, tmp_path: Path, mode: str, expected: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with run_forge(own_settings.model_copy(update={"fsync": mode})) as forge:
        alice = await forge.user("alice")
        await alice.post("/new", name="nethack", description="A game", create_readme="1")
        await git("clone", "-q", alice.git_url("nethack"), str(work := tmp_path / "work"))
        await commit(work)
        assert +await count_syncs(alice, work, tmp_path, monkeypatch) == expected


def test_without_syncing_nothing_is_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: object) -> None:
        raise AssertionError("synced")

    monkeypatch.setattr(os, "fsync", fail)
    monkeypatch.setattr(durable, "_sync_file_system", fail)
    settings = Settings.model_construct(fsync="off")
    with using_settings(settings):
        durable.sync([tmp_path] * 2)
        durable.sync_tree(tmp_path)
        durable.write_file(tmp_path / "file", b"content")
    with pytest.raises(AssertionError, match="synced"):
        durable.sync([tmp_path])


async def test_folders_that_have_not_changed_since_are_not_synced_again(
    repo_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long_ago = time.time() - 3600
    for folder, _, _ in os.walk(repo_path / "objects"):
        os.utime(folder, (long_ago, long_ago))
    await asyncio.to_thread(durability.sync_changes, repo_path, [])
    fresh = repo_path / "objects" / "zz"
    fresh.mkdir()
    synced = watch_disk(repo_path, monkeypatch)
    synced.names.clear()
    await asyncio.to_thread(durability.sync_changes, repo_path, [])
    expected = {repo_path, repo_path / "objects", fresh}
    assert set(synced.names) == {folder.stat().st_ino for folder in expected}


async def test_after_the_clock_has_been_set_back_all_folders_are_synced(
    repo_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await asyncio.to_thread(durability.sync_changes, repo_path, [])
    later = time.time() + 3600
    os.utime(repo_path / durability.MARK, (later, later))
    synced = watch_disk(repo_path, monkeypatch)
    synced.names.clear()
    await asyncio.to_thread(durability.sync_changes, repo_path, [])
    folders = [Path(folder) for folder, _, _ in os.walk(repo_path / "objects")]
    assert set(synced.names) == {
        folder.stat().st_ino for folder in (repo_path, *folders) if folder.parent != repo_path / "objects" / "info"
    }


async def test_a_repository_is_on_disk_although_an_earlier_attempt_was_killed_before_its_name_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced, cause = watch_disk(tmp_path, monkeypatch), uuid.uuid4()
    (tmp_path / "03").mkdir()
    with monkeypatch.context() as patched:
        patched.setattr(durability, "sync_place", lambda _: None)
        store.create_repository(tmp_path, 3, cause=cause, head="main")
    for attempt in (cause, uuid.uuid4()):  # one that finds it there, and one that makes it anew
        synced.names[tmp_path.stat().st_ino] = {}
        synced.names[(tmp_path / "03").stat().st_ino] = {}
        store.create_repository(tmp_path, 3, cause=attempt, head="main")
        left = synced.restore(tmp_path.with_name(f"{tmp_path.name}-{attempt}"))
        assert store.repository_path(left, 3).exists()
        shutil.rmtree(left)


def test_a_file_is_on_disk_although_the_process_that_stored_it_was_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced = watch_disk(tmp_path, monkeypatch)
    with monkeypatch.context() as patched:
        patched.setattr(durable, "sync", lambda _: None)
        stored = attachments.store(tmp_path, 7, "a.txt", b"content").name
    attachments.store(tmp_path, 7, "a.txt", b"content")
    left = synced.restore(tmp_path.with_name(f"{tmp_path.name}-left"))
    assert attachments.read(left, 7, stored) == b"content"
    shutil.rmtree(left)


def test_folders_may_be_reached_through_symbolic_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (elsewhere := tmp_path / "elsewhere").mkdir()
    (link := tmp_path / "attachments").symlink_to(elsewhere)
    synced = watch_disk(tmp_path, monkeypatch)
    for _ in range(2):  # the second time it is there already
        stored = attachments.store(link, 7, "a.txt", b"content").name
    left = synced.restore(tmp_path.with_name(f"{tmp_path.name}-left"), elsewhere.stat().st_ino)
    assert attachments.read(left, 7, stored) == b"content"
    shutil.rmtree(left)


async def test_a_repository_that_was_removed_meanwhile_has_nothing_to_sync(repo_path: Path) -> None:
    shutil.rmtree(repo_path)
    await asyncio.to_thread(durability.sync_changes, repo_path, ["refs/heads/main"])
    assert not repo_path.exists()
