"""Pull requests without commits: they are never merged, and those whose commits are in the target are."""

from pathlib import Path
from typing import Any

import pytest

from app.queries import pull_requests
from tests.conftest import Client, Forge, git
from tests.pagure.pulls import create_branch, open_pull_request, push_commit, wait_for_pull_request
from workers.pull_requests import merging

ONE = "/nethack/pull-request/1"
DONE = (200, {"message": "Changes merged!"})
MERGED_BEFORE = "Nothing to do, changes were already merged"


def conflicts(reason: str) -> tuple[int, dict[str, str]]:
    message = "This pull-request conflicts and thus cannot be merged"
    return 409, {"error": message, "error_code": "EPRCONFLICTS", "errors": reason}


EMPTY = conflicts("Nothing to do, this pull-request has no commits")


async def read_status(client: Client) -> str:
    return str((await client.pagure(ONE))[1]["status"])


@pytest.fixture
def unfollowed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pushes to a source branch are not followed, as if that took long."""

    async def list_none(*arguments: Any) -> list[Any]:
        return []

    monkeypatch.setattr(pull_requests, "list_opened_from", list_none)


async def set_back(bob: Client, work: Path) -> None:
    """Set bob's branch back to where main is."""
    await git("push", "-qf", "origin", "origin/main:topic", cwd=work)


async def test_a_branch_is_not_merged_into_itself(nethack: Client) -> None:
    await create_branch(nethack, "topic")
    for branch in ("main", "topic"):
        form = {"title": "t", "branch_to": branch, "branch_from": branch}
        for source in ({}, {"repo_from": "nethack"}):
            assert await nethack.post("/nethack/pull-request/new", **form, **source) == (
                400,
                {
                    "error": "Invalid or incomplete input submitted",
                    "error_code": "EINVALIDREQ",
                    "errors": f"Branch {branch} cannot be merged into itself",
                },
            )
    assert (await nethack.pagure("/nethack/pull-requests?status=all"))[1]["total_requests"] == 0


async def test_the_same_branch_of_a_fork_is_another_branch(nethack: Client, bob: Client, tmp_path: Path) -> None:
    await push_commit(tmp_path / "bob", "main", "two")
    await open_pull_request(bob, branch_from="main")
    assert await nethack.post(f"{ONE}/merge") == DONE


@pytest.mark.parametrize("wait", ["0", "1"])
async def test_a_request_without_commits_is_not_merged(nethack: Client, bob: Client, wait: str) -> None:
    found = await open_pull_request(bob, branch_from="main")
    assert (found["commit_start"], found["commit_stop"]) == (None, None)
    await wait_for_pull_request(nethack, 1, "cached_merge_status", "NO_CHANGE")
    answer = await nethack.post(f"{ONE}/merge", wait=wait)
    if wait == "0":
        assert (await nethack.get(f"/v1/tasks/{answer[1]['taskid']}?wait=20"))[1]["status"] == "failed"
    else:
        assert answer == EMPTY
    assert await read_status(nethack) == "Open"
    assert (await nethack.post(f"{ONE}/close"))[0] == 200


async def test_a_request_whose_branch_was_set_back_is_not_merged(nethack: Client, bob: Client, tmp_path: Path) -> None:
    found = await open_pull_request(bob)
    await set_back(bob, tmp_path / "bob")
    await wait_for_pull_request(nethack, 1, "commit_stop", None)
    await wait_for_pull_request(nethack, 1, "cached_merge_status", "NO_CHANGE")
    assert await nethack.post(f"{ONE}/merge") == EMPTY
    assert await read_status(nethack) == "Open"
    # The commits are pushed again.
    await git("push", "-q", "origin", "topic", cwd=tmp_path / "bob")
    await wait_for_pull_request(nethack, 1, "commit_stop", found["commit_stop"])
    assert await nethack.post(f"{ONE}/merge") == DONE
    heads = (await nethack.pagure("/nethack/git/branches?with_commits=1"))[1]["branches"]
    assert heads["main"] == found["commit_stop"]


async def test_a_branch_that_was_set_back_right_before_the_merge_is_not_merged(
    nethack: Client, bob: Client, tmp_path: Path, unfollowed: None
) -> None:
    await open_pull_request(bob)
    await nethack.forge.idle()
    await set_back(bob, tmp_path / "bob")
    assert await nethack.post(f"{ONE}/merge") == EMPTY
    assert await read_status(nethack) == "Open"


async def test_a_branch_that_was_set_back_after_a_merge_died_is_not_merged(
    nethack: Client, bob: Client, tmp_path: Path, unfollowed: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker dies after its last chance to be cancelled, and before it moves the branch."""
    await open_pull_request(bob)
    await nethack.forge.idle()
    merge_, deaths = merging._merge, []

    async def die(work: Any, *arguments: Any) -> str:
        if not deaths:
            deaths.append(await work.ctx.point_of_no_return())
            await set_back(bob, tmp_path / "bob")
            raise MemoryError
        return await merge_(work, *arguments)

    monkeypatch.setattr(merging, "_merge", die)
    assert await nethack.post(f"{ONE}/merge") == EMPTY
    assert (deaths, await read_status(nethack)) == ([None], "Open")


async def test_commits_that_came_by_hand_are_told_as_merged(nethack: Client, bob: Client, tmp_path: Path) -> None:
    """Even when both branches have moved on since then."""
    await open_pull_request(bob)
    await git("push", "-q", nethack.git_url("nethack"), "HEAD:main", cwd=tmp_path / "bob")
    await push_commit(tmp_path / "bob", "topic", "two")
    await git("push", "-q", nethack.git_url("nethack"), "HEAD:main", cwd=tmp_path / "bob")
    await nethack.forge.idle()
    _, shown = await nethack.pagure(ONE)
    assert (shown["status"], shown["cached_merge_status"]) == ("Open", "NO_CHANGE")
    assert await nethack.post(f"{ONE}/merge") == conflicts(MERGED_BEFORE)
    _, merged = await nethack.pagure(ONE)
    assert (merged["status"], merged["closed_by"]["name"]) == ("Merged", "alice")
    assert None not in (merged["commit_start"], merged["commit_stop"])


async def test_a_merge_shows_its_commits_although_the_branch_was_rewritten_right_before(
    forge: Forge, nethack: Client, bob: Client, tmp_path: Path, unfollowed: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The merge has to begin again after it has moved the branch, when the new commits are no longer new."""
    await open_pull_request(bob)
    await forge.idle()
    await git("reset", "-q", "--hard", "origin/main", cwd=tmp_path / "bob")
    made = await push_forced(tmp_path / "bob")
    build_merged, comments = merging._build_merged, []

    async def overtaken(*arguments: Any, **options: Any) -> Any:
        if not comments:
            comments.append(await bob.post(f"{ONE}/comment", comment="Wait"))
        return await build_merged(*arguments, **options)

    monkeypatch.setattr(merging, "_build_merged", overtaken)
    assert await nethack.post(f"{ONE}/merge") == DONE
    _, merged = await nethack.pagure(ONE)
    assert (merged["status"], merged["commit_start"], merged["commit_stop"]) == ("Merged", made, made)


async def push_forced(work: Path) -> str:
    await git("commit", "-q", "--allow-empty", "-m", "Anew", cwd=work)
    await git("push", "-qf", "origin", "HEAD:topic", cwd=work)
    return (await git("rev-parse", "HEAD", cwd=work)).strip()
