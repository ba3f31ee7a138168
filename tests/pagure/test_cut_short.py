"""Git work that is cancelled, or whose worker dies, halfway; and its progress."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from app.git import store
from tests.conftest import Client, Forge, git
from tests.pagure.pulls import open_pull_request, push_commit
from tests.subscriptions import wait_for
from workers import perform
from workers.pull_requests import merging, rebasing
from workers.pull_requests.work import PullRequestWork, find_signer
from workers.reactions import LeaseLost, Reaction, WorkerContext

MERGE = "/nethack/pull-request/1/merge"
DONE = (200, {"message": "Changes merged!"})
REF = "refs/heads/main"


class Halfway:
    """A function that is stopped in the middle until it may go on."""

    def __init__(self) -> None:
        self.reached = asyncio.Event()
        self.go_on = asyncio.Event()

    async def wait(self) -> None:
        self.reached.set()
        await self.go_on.wait()


async def queue(client: Client, path: str = MERGE, **form: Any) -> str:
    status, answer = await client.post(path, wait="0", **form)
    assert status == 200, answer
    task: str = answer["taskid"]
    return task


async def cancel(client: Client, task: str) -> None:
    assert (await client.json("POST", f"/v1/tasks/{task}/cancel"))[0] == 202


async def wait_for_end(client: Client, task: str) -> str:
    _, found = await client.get(f"/v1/tasks/{task}?wait=20")
    status: str = found["status"]
    return status


async def branch(client: Client) -> str:
    _, found = await client.pagure("/nethack/git/branches?with_commits=1")
    head: str = found["branches"]["main"]
    return head


async def pull_request(client: Client) -> str:
    status: str = (await client.pagure("/nethack/pull-request/1"))[1]["status"]
    return status


@pytest.mark.parametrize("what", ["merge", "rebase"])
async def test_a_merge_cancelled_before_the_branch_moves_has_no_effect(
    what: str, forge: Forge, nethack: Client, bob: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await open_pull_request(bob)
    await git("clone", "-q", nethack.git_url("nethack"), str(tmp_path / "work"))
    await push_commit(tmp_path / "work", "main", "other")
    await forge.idle()
    path = "nethack" if what == "merge" else "fork/bob/nethack"
    repo_path = store.repository_path(forge.settings.repositories, (await nethack.pagure(f"/{path}"))[1]["id"])
    before, halfway = store.list_refs(repo_path), Halfway()

    over, attempt = asyncio.Event(), perform._attempt

    async def held(*arguments: Any) -> Any:
        await halfway.wait()
        return await find_signer(*arguments)

    async def attempted(ctx: WorkerContext, reaction: Reaction, *more: Any) -> str:
        outcome = await attempt(ctx, reaction, *more)
        if reaction.name.startswith(what):
            over.set()
        return outcome

    monkeypatch.setattr(merging if what == "merge" else rebasing, "find_signer", held)
    monkeypatch.setattr(perform, "_attempt", attempted)
    who = nethack if what == "merge" else bob
    task = await queue(who, f"/nethack/pull-request/1/{what}")
    await halfway.reached.wait()
    await cancel(who, task)
    assert await wait_for_end(who, task) == "cancelled"
    halfway.go_on.set()
    await over.wait()
    monkeypatch.undo()
    assert await pull_request(nethack) == "Open"
    assert store.list_refs(repo_path) == before
    assert await nethack.post(MERGE) == DONE


async def test_a_merge_that_has_moved_the_branch_cannot_be_cancelled(
    forge: Forge, nethack: Client, bob: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    await open_pull_request(bob)
    await forge.idle()
    halfway, record = Halfway(), PullRequestWork.record

    async def held(work: PullRequestWork, project_id: int, actor: Any, *names: str, **more: Any) -> None:
        if REF in names:
            await halfway.wait()
        await record(work, project_id, actor, *names, **more)

    monkeypatch.setattr(PullRequestWork, "record", held)
    task = await queue(nethack)
    await halfway.reached.wait()
    await cancel(nethack, task)
    async with asyncio.timeout(20):
        while not await forge.db.fetchval("select done_at from work where reaction = 'cancel-task'"):
            await asyncio.sleep(0.02)
    halfway.go_on.set()
    assert await wait_for_end(nethack, task) == "succeeded"
    assert await pull_request(nethack) == "Merged"


async def test_a_branch_moved_by_a_dying_worker_is_recorded_by_the_next(
    forge: Forge, nethack: Client, bob: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    opening = await open_pull_request(bob)
    await forge.idle()
    before, record, deaths = await branch(nethack), PullRequestWork.record, []

    async def dying(work: PullRequestWork, project_id: int, actor: Any, *names: str, **more: Any) -> None:
        if REF in names and not deaths:
            deaths.append(names)
            raise MemoryError
        await record(work, project_id, actor, *names, **more)

    monkeypatch.setattr(PullRequestWork, "record", dying)
    task = await queue(nethack)
    assert await wait_for_end(nethack, task) == "succeeded"
    assert deaths
    assert await pull_request(nethack) == "Merged"
    assert await branch(nethack) == opening["commit_stop"] != before
    await forge.idle()
    _, found = await nethack.get("/v1/events?types=ref.updated&project=nethack")
    [moved] = [event for event in found["events"] if event["data"]["ref"] == REF]
    assert (moved["actor"], moved["data"]["new"], moved["data"]["pull_request"]) == ("alice", opening["commit_stop"], 1)


async def test_long_work_that_is_cancelled_ends_early(
    forge: Forge, nethack: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop, begun, left = asyncio.get_running_loop(), asyncio.Event(), asyncio.Event()

    def slowly(*arguments: Any) -> None:
        *_, progress = arguments
        loop.call_soon_threadsafe(begun.set)
        try:
            while True:
                progress(1)
                asyncio.run_coroutine_threadsafe(asyncio.sleep(0.01), loop).result(20)
        except LeaseLost:
            loop.call_soon_threadsafe(left.set)
            raise

    monkeypatch.setattr(perform, "PROGRESS_INTERVAL", 0.01)
    monkeypatch.setattr(store, "_link_objects", slowly)
    bob = await forge.user("bob")
    task = await queue(bob, "/fork", repo="nethack")
    await begun.wait()
    await cancel(bob, task)
    async with asyncio.timeout(20):
        await left.wait()
    assert await wait_for_end(bob, task) == "cancelled"


async def wait_for_progress(client: Client, task: str, *wanted: Any) -> bool:
    _, found = await client.get(f"/v1/tasks/{task}")
    return (found["status"], found["stage"], found["percent"]) == wanted


@pytest.mark.parametrize(("what", "percent"), [("merge", 90), ("rebase", 0)])
async def test_git_work_reports_its_progress(
    what: str, percent: int, nethack: Client, bob: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await open_pull_request(bob)
    await git("clone", "-q", nethack.git_url("nethack"), str(tmp_path / "work"))
    await push_commit(tmp_path / "work", "main", "other")
    halfway, no_return = Halfway(), perform._mark_irrevocable

    async def held(*arguments: Any) -> None:
        await halfway.wait()
        await no_return(*arguments)

    monkeypatch.setattr(perform, "PROGRESS_INTERVAL", 0.01)
    monkeypatch.setattr(perform, "_mark_irrevocable", held)
    who = nethack if what == "merge" else bob
    task = await queue(who, f"/nethack/pull-request/1/{what}")
    await halfway.reached.wait()
    try:
        await wait_for(lambda: wait_for_progress(who, task, "running", what, percent))
    finally:
        halfway.go_on.set()
    assert await wait_for_end(who, task) == "succeeded"
