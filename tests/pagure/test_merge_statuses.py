"""The merge statuses of open pull requests, while source and target branches move."""

import asyncio
import uuid
from pathlib import Path
from typing import Any

import pytest

from app.database import Database
from events.projections import rebuild
from events.record import NewEvent, record
from events.repositories import RefUpdated
from tests.conftest import Client, Forge, commit, git
from tests.pagure.pulls import open_pull_request, push_commit, wait_for_pull_request
from workers import perform
from workers.pull_requests import following, statuses
from workers.reactions import Reaction

DONE = (200, {"message": "Changes merged!"})


@pytest.fixture
async def work(nethack: Client, tmp_path: Path) -> Path:
    """Alice's work tree of nethack."""
    await git("clone", "-q", nethack.git_url("nethack"), str(tmp_path / "work"))
    return tmp_path / "work"


async def open_from(client: Client, work: Path, branch: str, file: str | None = None) -> int:
    """Open a pull request from a branch of nethack with one commit, which writes the file."""
    await git("checkout", "-q", "-B", branch, "main", cwd=work)
    (work / (file or branch)).write_text(branch)
    await git("add", "-A", cwd=work)
    await git("commit", "-qm", branch, cwd=work)
    await git("push", "-q", "origin", branch, cwd=work)
    status, body = await client.post("/nethack/pull-request/new", title="t", branch_to="main", branch_from=branch)
    assert status == 200, body
    return int(body["id"])


async def read_statuses(client: Client) -> dict[int, str]:
    await client.forge.idle()
    _, listing = await client.pagure("/nethack/pull-requests?per_page=100")
    return {each["id"]: each["cached_merge_status"] for each in listing["requests"]}


async def test_a_merge_updates_the_statuses_of_the_other_requests(forge: Forge, nethack: Client, work: Path) -> None:
    numbers = [await open_from(nethack, work, branch, file) for branch, file in (("a", "f"), ("b", "f"), ("c", None))]
    assert await read_statuses(nethack) == dict.fromkeys(numbers, "FFORWARD")
    assert await nethack.post(f"/nethack/pull-request/{numbers[0]}/merge") == DONE
    assert await read_statuses(nethack) == {numbers[1]: "CONFLICTS", numbers[2]: "MERGE"}
    before = await forge.rows()
    await rebuild.rebuild(forge.db)
    assert await forge.rows() == before


async def test_pushes_to_the_target_update_the_statuses(
    nethack: Client, bob: Client, work: Path, tmp_path: Path
) -> None:
    updated = (await open_pull_request(bob))["last_updated"]
    await push_commit(work, "main", "other")
    assert await read_statuses(nethack) == {1: "MERGE"}
    assert (await nethack.pagure("/nethack/pull-request/1"))[1]["last_updated"] == updated
    # Its commits come to the target by hand.
    await git("fetch", "-q", nethack.git_url("fork/bob/nethack"), "topic", cwd=work)
    await git("merge", "-q", "--no-edit", "FETCH_HEAD", cwd=work)
    await git("push", "-q", "origin", "HEAD:main", cwd=work)
    assert await read_statuses(nethack) == {1: "NO_CHANGE"}
    # The target is set back.
    await git("push", "-qf", "origin", "HEAD~2:main", cwd=work)
    assert await read_statuses(nethack) == {1: "FFORWARD"}


async def test_the_status_is_unknown_while_there_is_no_target_branch(nethack: Client, bob: Client, work: Path) -> None:
    await git("push", "-q", "origin", "HEAD:release", cwd=work)
    await open_pull_request(bob, branch_to="release")
    assert await read_statuses(nethack) == {1: "FFORWARD"}
    await git("push", "-q", "origin", ":release", cwd=work)
    assert await read_statuses(nethack) == {1: "unknown"}
    await commit(work, "other")
    await git("push", "-q", "origin", "HEAD:release", cwd=work)
    assert await read_statuses(nethack) == {1: "MERGE"}


async def test_a_reopened_request_has_a_status_as_of_now(nethack: Client, bob: Client, work: Path) -> None:
    await open_pull_request(bob)
    assert await read_statuses(nethack) == {1: "FFORWARD"}
    await bob.post("/nethack/pull-request/1/close")
    await push_commit(work, "main", "other")
    await bob.post("/nethack/pull-request/1/reopen")
    assert await read_statuses(nethack) == {1: "MERGE"}


async def test_a_rebased_request_has_a_status(
    forge: Forge, nethack: Client, bob: Client, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when the push of the rebase was followed before the rebase was recorded."""
    await open_pull_request(bob)
    await push_commit(work, "main", "other")
    assert await read_statuses(nethack) == {1: "MERGE"}
    record = following.PullRequestWork.record

    async def record_and_wait(work: Any, project_id: int, *arguments: Any, **options: Any) -> None:
        await record(work, project_id, *arguments, **options)
        if project_id != work.target["project_id"]:
            await wait_for_pull_request(nethack, 1, "cached_merge_status", "FFORWARD")

    monkeypatch.setattr(following.PullRequestWork, "record", record_and_wait)
    assert await bob.post("/nethack/pull-request/1/rebase") == (200, {"message": "Pull-request rebased"})
    assert await read_statuses(nethack) == {1: "FFORWARD"}


async def test_the_statuses_of_many_requests_are_found_a_few_at_a_time(
    forge: Forge, nethack: Client, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers = [await open_from(nethack, work, f"b{number}") for number in range(5)]
    await forge.idle()
    newest = await forge.db.fetchval("select max(position) from events")
    monkeypatch.setattr(statuses, "MAX_REQUESTS", 2)
    await git("checkout", "-q", "main", cwd=work)
    await push_commit(work, "main", "other")
    assert await read_statuses(nethack) == dict.fromkeys(numbers, "MERGE")
    rows = await forge.db.fetch(
        "select data from events where type = 'pull-request.merge-statuses-found' and position > $1 order by position",
        newest,
    )
    found = [[each["number"] for each in row["data"]["statuses"]] for row in rows]
    assert found == [numbers[:2:-1], numbers[2:0:-1], numbers[:1]]


async def test_a_step_takes_little_time(
    forge: Forge, nethack: Client, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers = [await open_from(nethack, work, f"b{number}") for number in range(3)]
    await forge.idle()
    monkeypatch.setattr(statuses, "SECONDS", 0)
    await git("checkout", "-q", "main", cwd=work)
    await push_commit(work, "main", "other")
    assert await read_statuses(nethack) == dict.fromkeys(numbers, "MERGE")
    counts = await forge.db.fetch(
        "select max(jsonb_array_length(data -> 'statuses')) as n from events "
        "where type = 'pull-request.merge-statuses-found'"
    )
    assert counts[0]["n"] == 1


async def test_a_branch_that_moves_on_ends_the_search_of_its_earlier_head(
    forge: Forge, nethack: Client, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers = [await open_from(nethack, work, f"b{number}") for number in range(4)]
    await forge.idle()
    monkeypatch.setattr(statuses, "MAX_REQUESTS", 1)
    preview, pushed = statuses._preview_merges, asyncio.Event()
    loop = asyncio.get_running_loop()
    await git("checkout", "-q", "-B", "main", "origin/main", cwd=work)

    def push_after_the_first(*arguments: Any) -> Any:
        found = preview(*arguments)
        if not pushed.is_set():
            loop.call_soon_threadsafe(pushed.set)
            asyncio.run_coroutine_threadsafe(push_commit(work, "main", "later"), loop).result(20)
        return found

    monkeypatch.setattr(statuses, "_preview_merges", push_after_the_first)
    first = await push_commit(work, "main", "first")
    assert await read_statuses(nethack) == dict.fromkeys(numbers, "MERGE")
    position = await forge.db.fetchval(
        "select position from events where type = 'pull-request.merge-statuses-found' and data ->> 'base' = $1", first
    )
    assert position is not None
    assert await forge.db.fetchval("select count(*) from events where cause = $1", position) == 0


async def test_a_status_for_an_earlier_head_is_not_shown(
    forge: Forge, nethack: Client, bob: Client, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The target moves between the look at it and the event, and the new status is found first."""
    find_status, late = statuses.find_status, []

    async def find_and_push(*arguments: Any) -> Any:
        found = await find_status(*arguments)
        if not late:
            late.append(found)
            await push_commit(work, "main", "other")
            await wait_for_pull_request(nethack, 1, "cached_merge_status", "MERGE")
        return found

    monkeypatch.setattr(statuses, "find_status", find_and_push)
    await open_pull_request(bob)
    assert await read_statuses(nethack) == {1: "MERGE"}
    assert [each.event.statuses[0]["status"] for each in late[0]] == ["FFORWARD"]


async def test_a_status_that_waited_for_a_move_of_the_branch_is_not_shown(
    forge: Forge, nethack: Client, bob: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The move is stored, but not committed, when the status is about to be stored."""
    settle, moved = perform._settle, []
    _, project = await nethack.pagure("/nethack")
    old = (await nethack.pagure("/nethack/git/branches?with_commits=1"))[1]["branches"]["main"]
    event = RefUpdated(project_id=project["id"], ref="refs/heads/main", old=old, new="1" * 40, commit="1" * 40)

    async def settle_during_the_move(db: Database, reaction: Reaction, *arguments: Any) -> str:
        if moved or reaction.name != "keep-pull-request":
            return await settle(db, reaction, *arguments)
        async with db.acquire() as connection, connection.transaction():
            moved.append(
                await record(
                    connection, ("move", b"{}"), [NewEvent(event, None)], command_id=uuid.uuid4(), actor="alice"
                )
            )
            settling = asyncio.create_task(settle(db, reaction, *arguments))
            await asyncio.sleep(0.2)
        return await settling

    monkeypatch.setattr(perform, "_settle", settle_during_the_move)
    await open_pull_request(bob)
    assert await read_statuses(nethack) == {1: "unknown"}
    assert moved


async def test_requests_from_one_branch_to_the_same_target_all_have_a_status(
    nethack: Client, bob: Client, tmp_path: Path
) -> None:
    for _ in range(3):
        await open_pull_request(bob)
    await push_commit(tmp_path / "bob", "topic", "two")
    assert await read_statuses(nethack) == {1: "FFORWARD", 2: "FFORWARD", 3: "FFORWARD"}
