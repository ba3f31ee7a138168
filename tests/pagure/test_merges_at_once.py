"""Merges and rebases that meet other writers: they begin again at once, and those of a project take turns."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from events.log import VersionConflict
from tests.conftest import Client, Forge, commit, git
from tests.pagure.pulls import open_pull_request, push_commit
from workers import perform
from workers.pull_requests import merging
from workers.pull_requests.work import PullRequestWork
from workers.settings import CONCURRENCY

ONE = "/nethack/pull-request/1"
DONE = (200, {"message": "Changes merged!"})
REBASED = (200, {"message": "Pull-request rebased"})


async def count_attempts(forge: Forge, reaction: str) -> list[int]:
    """The numbers of attempts at this kind of work. A second attempt is made only after a pause of seconds."""
    rows = await forge.db.fetch("select distinct attempts from work where reaction = $1", reaction)
    return [row["attempts"] for row in rows]


@pytest.fixture
async def work(nethack: Client, tmp_path: Path) -> Path:
    """Alice's work tree of nethack."""
    await git("clone", "-q", nethack.git_url("nethack"), str(tmp_path / "work"))
    return tmp_path / "work"


async def open_many(client: Client, work: Path, count: int) -> list[str]:
    """Open pull requests from branches of nethack, each with a file of its own; return their paths."""
    paths = []
    for number in range(count):
        await git("checkout", "-q", "-B", f"topic{number}", "origin/main", cwd=work)
        await commit(work, f"file{number}")
    await git("push", "-q", "origin", *(f"topic{number}" for number in range(count)), cwd=work)
    for number in range(count):
        form = {"title": "t", "branch_to": "main", "branch_from": f"topic{number}"}
        status, body = await client.post("/nethack/pull-request/new", **form)
        assert status == 200, body
        paths.append(f"/nethack/pull-request/{body['id']}")
    return paths


async def test_requests_that_do_not_clash_are_all_merged_at_once(forge: Forge, nethack: Client, work: Path) -> None:
    paths = await open_many(nethack, work, 8)
    answers = await asyncio.gather(*(nethack.post(f"{path}/merge") for path in paths))
    assert answers == [DONE] * 8
    assert await count_attempts(forge, "merge-pull-request") == [1]
    await git("fetch", "-q", "origin", cwd=work)
    there = (await git("ls-tree", "--name-only", "origin/main", cwd=work)).split()
    assert there == ["README.md", *(f"file{number}" for number in range(8))]
    for path in paths:
        assert (await nethack.pagure(path))[1]["status"] == "Merged"


async def test_merges_of_one_project_do_not_hold_up_another(
    forge: Forge, nethack: Client, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More merges are asked for than there are slots, and the first of them stands still."""
    paths = await open_many(nethack, work, CONCURRENCY["git"] + 1)
    begun, go_on, find_signer = asyncio.Event(), asyncio.Event(), merging.find_signer

    async def stand_still(*arguments: Any) -> Any:
        begun.set()
        await go_on.wait()
        return await find_signer(*arguments)

    monkeypatch.setattr(merging, "find_signer", stand_still)
    merges = [asyncio.create_task(nethack.post(f"{path}/merge")) for path in paths]
    await begun.wait()
    async with asyncio.timeout(10):
        while await forge.db.fetchval("select count(*) from work where reaction = 'merge-pull-request'") < len(paths):
            await asyncio.sleep(0.02)
    try:
        async with asyncio.timeout(10):
            assert (await nethack.post("/new", name="moria", description="d"))[0] == 200
    finally:
        go_on.set()
    assert await asyncio.gather(*merges) == [DONE] * len(paths)


@pytest.mark.slow
async def test_a_lane_is_left_to_other_work_after_a_while(
    forge: Forge, nethack: Client, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = await open_many(nethack, work, 2)
    await forge.idle()
    monkeypatch.setattr(perform, "LANE_SECONDS", 0.01)
    assert await asyncio.gather(*(nethack.post(f"{path}/merge") for path in paths)) == [DONE] * 2
    assert await count_attempts(forge, "merge-pull-request") == [1]


def once(before: Callable[[], Any], work: Callable[..., Any]) -> Callable[..., Any]:
    """A function that does something else before it does its work for the first time."""
    done: list[Any] = []

    async def act(*arguments: Any, **options: Any) -> Any:
        if not done:
            done.append(True)
            await before()
        return await work(*arguments, **options)

    return act


async def test_a_merge_begins_again_when_the_branch_was_pushed_to(
    forge: Forge, nethack: Client, bob: Client, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = await open_pull_request(bob)
    pushed: list[str] = []

    async def push() -> None:
        pushed.append(await push_commit(work, "main", "other"))

    monkeypatch.setattr(merging, "_merge", once(push, merging._merge))
    assert await nethack.post(f"{ONE}/merge") == DONE
    assert await count_attempts(forge, "merge-pull-request") == [1]
    await git("fetch", "-q", "origin", cwd=work)
    assert (await git("log", "-1", "--format=%P", "origin/main", cwd=work)).split() == [
        pushed[0], found["commit_stop"],
    ]  # fmt: skip


async def test_a_merge_begins_again_when_the_request_was_changed(
    forge: Forge, nethack: Client, bob: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The branch has moved by then, and the second try finds that it was this merge which moved it."""
    await open_pull_request(bob)
    await forge.idle()

    async def comment() -> None:
        assert (await bob.post(f"{ONE}/comment", comment="Wait"))[0] == 200

    monkeypatch.setattr(merging, "_build_merged", once(comment, merging._build_merged))
    assert await nethack.post(f"{ONE}/merge") == DONE
    assert await count_attempts(forge, "merge-pull-request") == [1]
    _, found = await nethack.pagure(ONE)
    assert [each["comment"] for each in found["comments"]].count("Pull-Request has been merged by alice") == 1
    assert (found["status"], found["closed_by"]["name"]) == ("Merged", "alice")


async def test_a_request_that_is_closed_while_it_is_merged_is_merged(
    forge: Forge, nethack: Client, bob: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = await open_pull_request(bob)
    await forge.idle()

    async def close() -> None:
        assert (await bob.post(f"{ONE}/close"))[0] == 200

    monkeypatch.setattr(merging, "_build_merged", once(close, merging._build_merged))
    assert await nethack.post(f"{ONE}/merge") == DONE
    _, merged = await nethack.pagure(ONE)
    assert (merged["status"], merged["closed_by"]["name"]) == ("Merged", "alice")
    assert (await nethack.pagure("/nethack/git/branches?with_commits=1"))[1]["branches"]["main"] == found["commit_stop"]


async def test_a_request_that_is_closed_before_its_branch_moves_stays_closed(
    forge: Forge, nethack: Client, bob: Client, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await open_pull_request(bob)
    await forge.idle()

    async def close_and_push() -> None:
        assert (await bob.post(f"{ONE}/close"))[0] == 200
        await push_commit(work, "main", "other")

    monkeypatch.setattr(PullRequestWork, "move", once(close_and_push, PullRequestWork.move))
    status, body = await nethack.post(f"{ONE}/merge")
    assert (status, body["errors"]) == (409, "This pull-request was merged or closed by bob")
    assert (await nethack.pagure(ONE))[1]["status"] == "Closed"


async def test_a_rebase_begins_again_when_the_branch_was_pushed_to(
    forge: Forge, nethack: Client, bob: Client, work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await open_pull_request(bob)
    onto = await push_commit(work, "main", "other")

    async def push() -> None:
        await push_commit(tmp_path / "bob", "topic", "two")

    monkeypatch.setattr(PullRequestWork, "move", once(push, PullRequestWork.move))
    assert await bob.post(f"{ONE}/rebase") == REBASED
    assert await count_attempts(forge, "rebase-pull-request") == [1]
    await forge.idle()
    await git("fetch", "-q", "origin", "refs/pull/1/head", cwd=work)
    rebased = (await git("log", "--format=%s", f"{onto}..FETCH_HEAD", cwd=work)).splitlines()
    assert rebased == ["Add two", "Add one"]


async def test_a_push_onto_a_merge_is_a_move_of_its_own(
    forge: Forge, nethack: Client, bob: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The branch is pushed to when the merge has moved it and has not recorded that."""
    found = await open_pull_request(bob)
    await forge.idle()
    record, pushes = PullRequestWork.record, []
    made = await commit(tmp_path / "bob", "two")

    async def push_and_record(*arguments: Any, **options: Any) -> None:
        if options.get("merged") and not pushes:
            push = git("push", "-q", nethack.git_url("nethack"), "HEAD:main", cwd=tmp_path / "bob")
            pushes.append(asyncio.create_task(push))
            await asyncio.wait(pushes, timeout=0.5)
        await record(*arguments, **options)

    monkeypatch.setattr(PullRequestWork, "record", push_and_record)
    assert await nethack.post(f"{ONE}/merge") == DONE
    await pushes[0]
    rows = await forge.db.fetch(
        "select data from events where type = 'ref.updated' and data ->> 'ref' = 'refs/heads/main' order by position"
    )
    moves = [(row["data"]["new"], row["data"]["pull_request"]) for row in rows]
    assert moves == [(found["commit_stop"], 1), (made, None)]


async def test_a_conflict_at_the_start_of_a_task_costs_no_pause(
    forge: Forge, nethack: Client, bob: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    await open_pull_request(bob)

    async def lose() -> None:
        raise VersionConflict("40P01")

    monkeypatch.setattr(perform, "_record_start", once(lose, perform._record_start))
    assert await nethack.post(f"{ONE}/merge") == DONE
    assert await count_attempts(forge, "merge-pull-request") == [1]


async def test_a_conflict_at_the_end_of_a_failed_task_costs_no_pause(
    forge: Forge, nethack: Client, bob: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    await open_pull_request(bob, branch_from="main")
    await forge.idle()

    async def lose() -> None:
        raise VersionConflict("40P01")

    monkeypatch.setattr(perform, "_settle", once(lose, perform._settle))
    assert (await nethack.post(f"{ONE}/merge"))[0] == 409
    assert await count_attempts(forge, "merge-pull-request") == [1]


async def test_a_race_that_does_not_end_is_postponed_and_decided_later(
    forge: Forge, nethack: Client, bob: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    await open_pull_request(bob)
    await forge.idle()
    tries: list[PullRequestWork] = []
    load_work = merging.load_work

    async def lose_twice(*arguments: Any) -> PullRequestWork:
        tries.append(await load_work(*arguments))
        if len(tries) < 3:
            raise VersionConflict("version")
        return tries[-1]

    monkeypatch.setattr(perform, "RACE_SECONDS", 0)
    monkeypatch.setattr(merging, "load_work", lose_twice)
    assert await nethack.post(f"{ONE}/merge") == DONE
    assert await count_attempts(forge, "merge-pull-request") in ([2], [3])


async def test_a_merged_request_is_not_merged_again(forge: Forge, nethack: Client, bob: Client) -> None:
    await open_pull_request(bob)
    assert await nethack.post(f"{ONE}/merge") == DONE
    over = "This pull-request was merged or closed by alice"
    conflict = {
        "error": "This pull-request conflicts and thus cannot be merged", "error_code": "EPRCONFLICTS", "errors": over,
    }  # fmt: skip
    before = await forge.db.fetchval("select count(*) from work where reaction = 'merge-pull-request'")
    for form in ({}, {"wait": "0"}, {"wait": "1"}):
        assert await nethack.post(f"{ONE}/merge", **form) == (409, conflict)
    for end in ("rebase", "close"):
        assert await bob.post(f"{ONE}/{end}", wait="0") == (400, {"error": over, "error_code": "ENOCODE"})
    assert (await bob.post(f"{ONE}/reopen"))[1]["error"] == "Trying to reopen a pull request that is not closed"
    await forge.idle()
    assert await forge.db.fetchval("select count(*) from work where reaction = 'merge-pull-request'") == before
