"""Branches when pull requests are merged or rebased."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from app.git import merge
from app.queries import pull_requests
from tests.conftest import Client, Forge, commit, git
from tests.pagure.pulls import configure_project, open_pull_request, push_commit, wait_for_pull_request
from workers.pull_requests import merging
from workers.pull_requests.work import PullRequestWork

MERGE = "/nethack/pull-request/1/merge"
DONE = (200, {"message": "Changes merged!"})
UNSIGNED = "This repo enforces that all commits are signed off by their author."


def conflicts(reason: str) -> tuple[int, dict[str, str]]:
    message = "This pull-request conflicts and thus cannot be merged"
    return 409, {"error": message, "error_code": "EPRCONFLICTS", "errors": reason}


async def find_head(client: Client, branch: str = "main", path: str = "nethack") -> str | None:
    found: str | None = (await client.pagure(f"/{path}/git/branches?with_commits=1"))[1]["branches"].get(branch)
    return found


async def merge_status(client: Client) -> str:
    return str((await client.pagure("/nethack/pull-request/1"))[1]["status"])


@pytest.fixture
async def work(nethack: Client, tmp_path: Path) -> Path:
    """Alice's work tree of nethack."""
    await git("clone", "-q", nethack.git_url("nethack"), str(tmp_path / "work"))
    return tmp_path / "work"


async def read_log(work: Path, *placeholders: str, ref: str = "origin/main") -> list[str]:
    await git("fetch", "-q", "origin", cwd=work)
    return [(await git("log", "-1", f"--format={each}", ref, cwd=work)).rstrip("\n") for each in placeholders]


async def test_unsigned_commits_are_refused_on_opening_and_on_merging(
    forge: Forge, nethack: Client, bob: Client, tmp_path: Path, work: Path
) -> None:
    await open_pull_request(bob)
    await configure_project(forge, nethack, enforce_signed_off_commits=True)
    form = {
        "title": "t", "branch_to": "main", "branch_from": "topic", "repo_from": "nethack", "repo_from_username": "bob",
    }  # fmt: skip
    assert await bob.post("/nethack/pull-request/new", **form) == (
        400, {"error": UNSIGNED, "error_code": "ENOSIGNEDOFF"}
    )  # fmt: skip
    assert await nethack.post(MERGE) == conflicts(UNSIGNED + " ")
    assert await merge_status(nethack) == "Open"
    await git("commit", "-q", "--amend", "-m", "One\n\nSIGNED-OFF-BY: whoever", cwd=tmp_path / "bob")
    await git("push", "-qf", "origin", "HEAD:topic", cwd=tmp_path / "bob")
    assert (await bob.post("/nethack/pull-request/new", **form))[0] == 200
    await commit(work, "other")
    await git("commit", "-q", "--amend", "-m", "x", cwd=work)
    await git("push", "-q", "origin", "HEAD:main", cwd=work)
    assert await nethack.post(MERGE) == DONE
    [message] = await read_log(work, "%B")
    assert message.rstrip("\n") == "Merge #1 `Add one`\n\nSigned-off-by: alice <alice@example.org>"


async def test_a_missing_branch_is_named_with_its_project(
    nethack: Client, bob: Client, tmp_path: Path, work: Path
) -> None:
    await git("push", "-q", "origin", "HEAD:release", cwd=work)
    await open_pull_request(bob, branch_to="release")
    await git("push", "-q", "origin", ":release", cwd=work)
    assert await nethack.post(MERGE) == conflicts("Branch release could not be found in the repo nethack")
    await git("push", "-q", "origin", "HEAD:release", cwd=work)
    await git("push", "-q", "origin", ":topic", cwd=tmp_path / "bob")
    assert await nethack.post(MERGE) == conflicts("Branch topic could not be found in the repo forks/bob/nethack")
    assert await merge_status(nethack) == "Open"


@pytest.mark.parametrize("always", [False, True])
async def test_a_merge_can_create_the_first_branch_of_a_project(
    forge: Forge, alice: Client, tmp_path: Path, always: bool
) -> None:
    await alice.post("/new", name="nethack", description="d")
    bob = await forge.user("bob")
    await bob.post("/fork", repo="nethack")
    source = tmp_path / "bob"
    await git("init", "-q", "-b", "topic", str(source))
    await git("remote", "add", "origin", bob.git_url("fork/bob/nethack"), cwd=source)
    made = await push_commit(source, "topic", "one")
    refused = await bob.post(
        "/nethack/pull-request/new",
        title="t", branch_to="a..b", branch_from="topic", repo_from="nethack", repo_from_username="bob",
    )  # fmt: skip
    assert (refused[0], refused[1]["errors"]) == (400, "Branch a..b could not be found in the target repo")
    found = await open_pull_request(bob)
    assert (found["commit_start"], found["commit_stop"]) == (made, made)
    await configure_project(forge, alice, always_merge=always)
    await wait_for_pull_request(alice, 1, "cached_merge_status", "FFORWARD")
    assert await alice.post(MERGE) == DONE
    assert await find_head(alice) == made


async def test_a_closed_or_merged_pull_request_cannot_be_merged(nethack: Client, bob: Client) -> None:
    await open_pull_request(bob)
    await bob.post("/nethack/pull-request/1/close")
    assert await nethack.post(MERGE) == conflicts("This pull-request was merged or closed by bob")
    await bob.post("/nethack/pull-request/1/reopen")
    assert await nethack.post(MERGE) == DONE
    assert await nethack.post(MERGE) == conflicts("This pull-request was merged or closed by alice")


async def test_a_pull_request_without_new_commits_is_marked_as_merged(
    nethack: Client, bob: Client, tmp_path: Path
) -> None:
    found = await open_pull_request(bob)
    await git("push", "-q", nethack.git_url("nethack"), "HEAD:main", cwd=tmp_path / "bob")
    await nethack.forge.idle()
    await nethack.forge.db.execute(
        "update work set done_at = null where reaction = 'follow-branch'"
    )  # as if it were late
    await nethack.forge.idle()
    assert await nethack.post(MERGE) == conflicts("Nothing to do, changes were already merged")
    _, merged = await nethack.pagure("/nethack/pull-request/1")
    assert (merged["status"], merged["closed_by"]["name"]) == ("Merged", "alice")
    assert (merged["commit_start"], merged["commit_stop"]) == (found["commit_start"], found["commit_stop"])
    assert [each["comment"] for each in merged["comments"]] == ["Pull-Request has been merged by alice"]


@pytest.mark.parametrize("strict", [False, True])
async def test_a_branch_is_fast_forwarded_if_possible(
    forge: Forge, nethack: Client, bob: Client, work: Path, strict: bool
) -> None:
    found = await open_pull_request(bob)
    await configure_project(forge, nethack, non_fast_forward_merges=not strict)
    await wait_for_pull_request(nethack, 1, "cached_merge_status", "FFORWARD")
    assert await nethack.post(MERGE, wait="1") == DONE
    assert await find_head(nethack) == found["commit_stop"]
    assert await find_head(nethack, "topic", "fork/bob/nethack") == found["commit_stop"]


@pytest.mark.parametrize("strict", [False, True])
async def test_a_merge_commit_is_created_where_the_project_requires_one(
    forge: Forge, nethack: Client, bob: Client, work: Path, strict: bool
) -> None:
    before = await find_head(nethack)
    found = await open_pull_request(bob)
    await configure_project(forge, nethack, always_merge=True, non_fast_forward_merges=not strict)
    await wait_for_pull_request(nethack, 1, "cached_merge_status", "FFORWARD")
    assert await nethack.post(MERGE) == DONE
    assert await read_log(work, "%P") == [f"{before} {found['commit_stop']}"]


async def test_a_merge_commit_has_the_merging_user_and_the_title(
    forge: Forge, nethack: Client, work: Path, tmp_path: Path, bob: Client
) -> None:
    await forge.admin.json(
        "POST", "/v1/users", {"username": "carol", "email": "carol@example.org", "fullname": "Carol Committer"}
    )
    await nethack.post("/nethack/git/modifyacls", user_type="user", name="carol", acl="commit")
    carol = await forge.user("carol")
    found = await open_pull_request(bob, title=" Add `one` \n twice ")
    ours = await push_commit(work, "main", "other")
    assert await carol.post(MERGE) == DONE
    people, parents, message = await read_log(work, "%an <%ae> %cn <%ce>", "%P", "%B")
    assert people == "Carol Committer <carol@example.org> Carol Committer <carol@example.org>"
    assert parents == f"{ours} {found['commit_stop']}"
    assert message.rstrip("\n") == f"Merge #1 `{merge.single_line(found['title'])}`"
    assert (await git("ls-tree", "--name-only", "origin/main", cwd=work)).split() == ["README.md", "one", "other"]
    rows = await forge.db.fetch("select actor from events where type = 'ref.updated' order by position desc limit 1")
    assert [row["actor"] for row in rows] == ["carol"]


async def test_a_conflict_is_foreseen_and_refused(nethack: Client, bob: Client, tmp_path: Path, work: Path) -> None:
    (work / "one").write_text("quite another text")
    await git("add", "one", cwd=work)
    await git("commit", "-qm", "Clash", cwd=work)
    await git("push", "-q", "origin", "HEAD:main", cwd=work)
    before = await find_head(nethack)
    await open_pull_request(bob)
    await wait_for_pull_request(nethack, 1, "cached_merge_status", "CONFLICTS")
    assert await nethack.post(MERGE) == conflicts("Merge conflicts!")
    assert (await find_head(nethack), await merge_status(nethack)) == (before, "Open")


async def test_a_project_can_forbid_merge_commits(forge: Forge, nethack: Client, bob: Client, work: Path) -> None:
    await configure_project(forge, nethack, non_fast_forward_merges=False)
    ours = await push_commit(work, "main", "other")
    await open_pull_request(bob)
    await wait_for_pull_request(nethack, 1, "cached_merge_status", "MERGE")
    assert await nethack.post(MERGE) == conflicts("The pull-request must be rebased before merging")
    assert (await find_head(nethack), await merge_status(nethack)) == (ours, "Open")
    assert await bob.post("/nethack/pull-request/1/rebase") == (200, {"message": "Pull-request rebased"})
    await wait_for_pull_request(nethack, 1, "cached_merge_status", "FFORWARD")
    assert await nethack.post(MERGE) == DONE


@pytest.mark.parametrize("declined", [False, 0, "", "f", "no", "False"])
async def test_a_client_that_does_not_wait_gets_the_task(nethack: Client, bob: Client, declined: Any) -> None:
    await open_pull_request(bob)
    code, queued = await nethack.json("POST", f"/api/0{MERGE}", {"wait": declined})
    assert (code, set(queued), queued["message"]) == (200, {"message", "taskid"}, "Merging queued")
    assert (await nethack.get(f"/v1/tasks/{queued['taskid']}?wait=20"))[1]["status"] == "succeeded"
    assert (await nethack.pagure(f"/task/{queued['taskid']}/status"))[0] == 200


async def merge_twice(client: Client) -> None:
    """Merge twice at once: one succeeds, and the other learns that it was merged already."""
    done, late = sorted(await asyncio.gather(client.post(MERGE), client.post(MERGE)), key=lambda each: each[0])
    assert (done, late) == (DONE, conflicts("This pull-request was merged or closed by alice"))
    _, found = await client.pagure("/nethack/pull-request/1")
    assert [each["comment"] for each in found["comments"]] == ["Pull-Request has been merged by alice"]


async def test_a_merge_requested_twice_happens_once(nethack: Client, bob: Client) -> None:
    await open_pull_request(bob)
    await merge_twice(nethack)


async def test_a_merge_whose_worker_stops_halfway_is_finished_by_another(
    nethack: Client, bob: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker has moved the branch, and stands still for longer than its lease before it tells."""
    await open_pull_request(bob)
    await nethack.forge.idle()
    record, moved, go_on = PullRequestWork.record, asyncio.Event(), asyncio.Event()

    async def record_and_stop(work: PullRequestWork, project_id: int, actor: Any, *names: str, **more: Any) -> None:
        await record(work, project_id, actor, *names, **more)
        if names == ("refs/heads/main",) and not moved.is_set():
            moved.set()
            await go_on.wait()

    monkeypatch.setattr(PullRequestWork, "record", record_and_stop)
    first = asyncio.create_task(nethack.post(MERGE))
    await moved.wait()
    await nethack.forge.db.execute(
        "update work set attempts = attempts + 1, lease_until = now() where reaction = 'merge-pull-request'"
    )
    second = await nethack.post(MERGE)
    go_on.set()
    assert (await first, second) == (DONE, conflicts("This pull-request was merged or closed by alice"))
    _, found = await nethack.pagure("/nethack/pull-request/1")
    assert [each["comment"] for each in found["comments"]] == ["Pull-Request has been merged by alice"]


async def test_merges_of_commits_that_are_pushed_meanwhile_are_recorded_once(
    nethack: Client, bob: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The merge is about to move the branch when the same commits are pushed to it."""
    await open_pull_request(bob)
    await nethack.forge.idle()
    merge_, pushed = merging._merge, []

    async def merge_too_late(work: PullRequestWork, *arguments: Any) -> str:
        if not pushed:
            await work.ctx.point_of_no_return()
            pushed.append(await git("push", "-q", nethack.git_url("nethack"), "HEAD:main", cwd=tmp_path / "bob"))
        return await merge_(work, *arguments)

    monkeypatch.setattr(merging, "_merge", merge_too_late)
    await merge_twice(nethack)


async def test_commits_pushed_right_before_a_merge_are_merged_and_shown(
    nethack: Client, bob: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = await open_pull_request(bob)
    await nethack.forge.idle()

    async def nobody_follows(*arguments: Any) -> list[Any]:
        return []

    monkeypatch.setattr(pull_requests, "list_opened_from", nobody_follows)
    made = await push_commit(tmp_path / "bob", "topic", "two")
    assert await nethack.post(MERGE) == DONE
    _, merged = await nethack.pagure("/nethack/pull-request/1")
    assert (merged["status"], merged["commit_start"], merged["commit_stop"]) == ("Merged", found["commit_start"], made)
    assert set((await nethack.pagure("/nethack/pull-request/1/diffstats"))[1]) == {"one", "two"}


async def test_a_pull_request_outlives_its_fork(nethack: Client, bob: Client, tmp_path: Path) -> None:
    found = await open_pull_request(bob, allow_rebase="1")
    await wait_for_pull_request(bob, 1, "cached_merge_status", "FFORWARD")
    status, issued = await bob.json(
        "POST", "/v1/users/bob/tokens", {"description": "t", "project": "fork/bob/nethack"}
    )  # fmt: skip
    assert status == 201, issued
    owner = Client(bob.forge, issued["token"], "bob")
    assert (await owner.post("/fork/bob/nethack/delete"))[0] == 200
    _, left = await nethack.pagure("/nethack/pull-request/1")
    assert (left["repo_from"], left["commit_stop"], left["status"]) == (None, found["commit_stop"], "Open")
    assert set((await nethack.pagure("/nethack/pull-request/1/diffstats"))[1]) == {"one"}
    code, body = await nethack.post("/nethack/pull-request/1/rebase")
    assert (code, body["error_code"], body["error"]) == (400, "ENOCODE", "Did not manage to rebase this pull-request")
    assert await nethack.post(MERGE) == DONE
    assert await find_head(nethack) == found["commit_stop"]


async def test_a_failed_rebase_gives_the_reason(nethack: Client, bob: Client, tmp_path: Path, work: Path) -> None:
    rebase = "/nethack/pull-request/1/rebase"
    await git("push", "-q", "origin", "HEAD:release", cwd=work)
    await open_pull_request(bob, branch_to="release")
    (work / "one").write_text("quite another text")
    await git("add", "one", cwd=work)
    await git("commit", "-qm", "Clash", cwd=work)
    await git("push", "-q", "origin", "HEAD:release", cwd=work)

    def no(reason: str) -> tuple[int, dict[str, str]]:
        return 400, {"error": reason, "error_code": "ENOCODE"}

    assert await bob.post(rebase) == no("Did not manage to rebase this pull-request")
    await git("push", "-q", "origin", ":release", cwd=work)
    assert await bob.post(rebase) == no("Branch release could not be found in the repo nethack")
    await git("push", "-q", "origin", "HEAD:release", cwd=work)
    await git("push", "-q", "origin", ":topic", cwd=tmp_path / "bob")
    assert await bob.post(rebase) == no("Branch topic could not be found in the repo forks/bob/nethack")
    await bob.post("/nethack/pull-request/1/close")
    assert await bob.post(rebase) == no("This pull-request was merged or closed by bob")


async def test_committers_rebase_if_the_author_allows_it(nethack: Client, bob: Client, work: Path) -> None:
    rebase = "/nethack/pull-request/1/rebase"
    dave = await nethack.forge.user("dave")
    await open_pull_request(bob)
    code, body = await nethack.post(rebase)
    assert (code, body["error_code"]) == (403, "EREBASENOTALLOWED")
    assert body["error"] == "You are not authorized to rebase this pull-request"
    await open_pull_request(bob, allow_rebase="true")
    code, body = await dave.post("/nethack/pull-request/2/rebase")
    assert (code, body["error_code"]) == (403, "ENOPRCLOSE")
    await push_commit(work, "main", "other")
    code, queued = await nethack.post("/nethack/pull-request/2/rebase", wait="false")
    assert (code, set(queued), queued["message"]) == (200, {"message", "taskid"}, "Rebasing queued")
    assert (await nethack.get(f"/v1/tasks/{queued['taskid']}?wait=20"))[1]["status"] == "succeeded"
    # There is nothing left to do, so nothing is recorded.
    await nethack.forge.idle()
    comments = (await nethack.pagure("/nethack/pull-request/2"))[1]["comments"]
    assert await nethack.post("/nethack/pull-request/2/rebase") == (200, {"message": "Pull-request rebased"})
    await nethack.forge.idle()
    assert (await nethack.pagure("/nethack/pull-request/2"))[1]["comments"] == comments


async def test_pushes_to_the_branch_are_noted_with_their_commits(
    nethack: Client, bob: Client, tmp_path: Path, work: Path
) -> None:
    await open_pull_request(bob)
    source = tmp_path / "bob"
    await commit(source, "two")
    await push_commit(source, "topic", "three")
    found = await wait_for_pull_request(nethack, 1, "cached_merge_status", "FFORWARD")
    await nethack.forge.idle()
    _, found = await nethack.pagure("/nethack/pull-request/1")
    assert found["comments"][-1]["comment"] == "**2 new commits added**\n\n * ``Add three``\n * ``Add two``"
    assert found["cached_merge_status"] == "FFORWARD"
    main = await find_head(nethack)
    await git("reset", "-q", "--hard", "HEAD~3", cwd=source)
    await git("commit", "-q", "--allow-empty", "-m", "Anew", cwd=source)
    await git("push", "-qf", "origin", "HEAD:topic", cwd=source)
    await nethack.forge.idle()
    _, found = await nethack.pagure("/nethack/pull-request/1")
    assert found["comments"][-1]["comment"] == f"rebased onto {main}"
    assert [each["user"]["name"] for each in found["comments"]] == ["bob", "bob"]
    assert found["commit_start"] == found["commit_stop"]
    await git("fetch", "-q", "origin", "refs/pull/1/head", cwd=work)
    assert (await git("rev-parse", "FETCH_HEAD", cwd=work)).strip() == found["commit_stop"]
