"""Refs on disk and in the log are compared, cheaply, and what differs is recorded."""

import shutil
from pathlib import Path

import pytest

from app.core import ref_comparison
from app.core.ref_comparison import mend_changed
from app.database import Database
from app.git import store
from app.stores import ref_fingerprints
from tests.cli.command import run_command
from tests.conftest import Client, Forge, git


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ref_comparison, "RECHECK_PAUSE", 0.01)


async def find_repository(forge: Forge, name: str = "nethack") -> Path:
    project_id = await forge.db.fetchval("select project_id from projects where name = $1", name)
    return store.repository_path(forge.settings.repositories, project_id)


async def compare_all(forge: Forge) -> int:
    return await mend_changed(forge.db, forge.settings.repositories)


async def list_branches(client: Client) -> list[str]:
    return sorted((await client.pagure("/nethack/git/branches"))[1]["branches"])


async def test_a_ref_that_was_moved_in_the_directory_is_recorded(forge: Forge, nethack: Client) -> None:
    repo_path = await find_repository(forge)
    await git("update-ref", "refs/heads/by-hand", "refs/heads/main", cwd=repo_path)
    assert await list_branches(nethack) == ["main"]
    assert await compare_all(forge) == 1
    assert await list_branches(nethack) == ["by-hand", "main"]
    told = "select actor from events where type = 'ref.updated' and data ->> 'ref' = 'refs/heads/by-hand'"
    assert await forge.db.fetchval(told) == "forge"


async def test_what_has_not_changed_since_it_was_found_equal_is_not_read(
    forge: Forge, nethack: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert await compare_all(forge) == 1
    assert await compare_all(forge) == 0
    assert (await nethack.post("/nethack/git/branch", branch="dev", from_branch="main"))[0] == 200
    assert await compare_all(forge) == 1
    assert await compare_all(forge) == 0
    repo_path = await find_repository(forge)
    await git("pack-refs", "--all", cwd=repo_path)
    assert await compare_all(forge) == 1


async def test_a_log_that_is_older_than_the_directory_is_noticed(forge: Forge, nethack: Client) -> None:
    """As after the restore of a dump, with the fingerprints of its time."""
    assert (await nethack.post("/nethack/git/branch", branch="dev", from_branch="main"))[0] == 200
    assert await compare_all(forge) == 1
    await forge.db.execute("update live.refs set object = repeat('0', 40) where ref = 'refs/heads/dev'")
    assert await compare_all(forge) == 1
    assert await list_branches(nethack) == ["dev", "main"]


async def test_a_directory_that_is_missing_is_told_of_each_time(forge: Forge, nethack: Client) -> None:
    assert await compare_all(forge) == 1
    repo_path = await find_repository(forge)
    shutil.move(repo_path, repo_path.with_suffix(".away"))
    assert [await compare_all(forge) for _ in range(2)] == [1, 1]
    [found] = [each async for each in ref_comparison.find_differences(forge.db, forge.settings.repositories)]
    assert (found.fault, found.mendable) == ("no directory", False)
    shutil.move(repo_path.with_suffix(".away"), repo_path)


async def test_a_project_that_cannot_be_compared_keeps_no_other_one_from_it(
    forge: Forge, nethack: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await forge.db.fetchval("select project_id from projects")
    assert (await nethack.post("/new", name="angband", description="d", create_readme="1", wait="1"))[0] == 200
    await git("update-ref", "refs/heads/by-hand", "refs/heads/main", cwd=await find_repository(forge, "angband"))
    compare = ref_comparison.compare

    async def fail_for_first(db: Database, root: Path, project_id: int) -> ref_comparison.Difference | None:
        if project_id == first:
            raise RuntimeError("a bug")
        return await compare(db, root, project_id)

    monkeypatch.setattr(ref_comparison, "compare", fail_for_first)
    assert await compare_all(forge) == 2
    assert sorted((await nethack.pagure("/angband/git/branches"))[1]["branches"]) == ["by-hand", "main"]


async def test_workers_that_start_together_compare_once(forge: Forge) -> None:
    turns = [await ref_fingerprints.take_turn(forge.db, str(worker), 3600.0, 60.0) for worker in range(3)]
    assert turns == [True, False, False]
    await forge.db.execute("update leases set until = until - interval '61 s' where name = 'ref comparison'")
    assert not await ref_fingerprints.take_turn(forge.db, "late", 3600.0, 3600.0)
    assert await ref_fingerprints.take_turn(forge.db, "late", 3600.0, 60.0)
    await forge.db.execute("delete from leases where name = 'ref comparison'")


@pytest.mark.slow
async def test_doctor_tells_of_refs_that_differ_and_repairs_them(forge: Forge, nethack: Client) -> None:
    await git("update-ref", "refs/heads/by-hand", "refs/heads/main", cwd=await find_repository(forge))
    environment = {
        "POLYFORGE_DATA": str(forge.settings.data),
        "POLYFORGE_DATABASE_URL": forge.settings.required_database_url(),
        "POLYFORGE_REDIS_URL": forge.settings.required_redis_url(),
    }
    code, lines, _ = await run_command("doctor", "--json", **environment)
    assert (code, lines[-1]["check"], "doctor --repair" in lines[-1]["result"]) == (1, "refs", True)
    code, lines, _ = await run_command("doctor", "--json", "--repair", **environment)
    assert (code, lines[-1]) == (0, {"check": "refs", "result": "ok"})
    assert await list_branches(nethack) == ["by-hand", "main"]
    assert (await run_command("doctor", "--json", **environment))[0] == 0
