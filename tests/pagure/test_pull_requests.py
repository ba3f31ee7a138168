"""Pull requests: opening, discussing, merging, rebasing and flagging them."""

import asyncio
from pathlib import Path

from tests.conftest import Client, Forge, git
from tests.pagure.pulls import KEYS, configure_project, open_pull_request, push_commit, wait_for_pull_request


async def test_a_pull_request_from_a_fork_is_shown_with_its_commits(
    forge: Forge, nethack: Client, bob: Client, tmp_path: Path
) -> None:
    found = await open_pull_request(bob, initial_comment="Please")
    head = (await git("rev-parse", "HEAD", cwd=tmp_path / "bob")).strip()
    assert set(found) == KEYS
    assert (found["id"], found["status"], found["user"]["name"]) == (1, "Open", "bob")
    assert (found["commit_start"], found["commit_stop"]) == (head, head)
    assert found["project"]["fullname"] == "nethack"
    assert found["repo_from"]["fullname"] == "forks/bob/nethack"
    assert found["repo_from"]["parent"]["name"] == "nethack"
    assert found["cached_merge_status"] == "unknown"
    again = await wait_for_pull_request(bob, 1, "cached_merge_status", "FFORWARD")
    assert (await forge.nobody.pagure(f"/pull-requests/{found['uid']}"))[1] == again
    # Its commits can be fetched from the target.
    work = tmp_path / "fetched"
    await git("clone", "-q", forge.nobody.git_url("nethack"), str(work))
    await git("fetch", "-q", "origin", "refs/pull/1/head", cwd=work)
    assert (await git("rev-parse", "FETCH_HEAD", cwd=work)).strip() == head
    assert (await nethack.post("/nethack/new_issue", title="t", issue_content="c"))[1]["issue"]["id"] == 2


async def test_missing_fields_are_named_one_by_one(nethack: Client, bob: Client) -> None:
    form = {
        "title": "t",
        "branch_to": "main",
        "branch_from": "topic",
        "repo_from": "nethack",
        "repo_from_username": "bob",
    }
    for name in ("title", "branch_to", "branch_from"):
        status, body = await bob.post("/nethack/pull-request/new", **{**form, name: ""})
        assert (status, body["errors"]) == (400, {name: ["This field is required."]})
    for name, value, errors in (
        ("branch_from", "nope", "Branch nope does not exist"),
        ("branch_to", "nope", "Branch nope could not be found in the target repo"),
    ):
        status, body = await bob.post("/nethack/pull-request/new", **{**form, name: value})
        assert (status, body["error_code"], body["errors"]) == (400, "EINVALIDREQ", errors)
    status, body = await bob.post("/nethack/pull-request/new", **{**form, "repo_from": "nope"})
    assert (status, body["error_code"]) == (404, "ENOPROJECT")
    status, body = await nethack.post("/nethack/pull-request/new", **form)
    assert (status, body["error_code"]) == (401, "ENOTHIGHENOUGH")
    status, body = await bob.post("/fork/bob/nethack/pull-request/new", **form)
    assert (status, body["error_code"]) == (404, "EPULLREQUESTSDISABLED")


async def test_a_merge_is_on_disk_and_in_the_log(forge: Forge, nethack: Client, bob: Client, tmp_path: Path) -> None:
    found = await open_pull_request(bob)
    status, body = await bob.post("/nethack/pull-request/1/merge")
    assert (status, body["error_code"]) == (403, "ENOPRCLOSE")
    assert await nethack.post("/nethack/pull-request/1/merge") == (200, {"message": "Changes merged!"})
    assert (await nethack.pagure("/nethack/git/branches?with_commits=1"))[1]["branches"]["main"] == found["commit_stop"]
    _, merged = await nethack.pagure("/nethack/pull-request/1")
    assert (merged["status"], merged["closed_by"]["name"]) == ("Merged", "alice")
    assert merged["comments"][-1]["comment"] == "Pull-Request has been merged by alice"
    status, body = await nethack.post("/nethack/pull-request/1/merge")
    assert (status, body["error_code"], body["errors"]) == (
        409, "EPRCONFLICTS", "This pull-request was merged or closed by alice",
    )  # fmt: skip


async def test_a_merge_commit_has_both_parents(forge: Forge, nethack: Client, bob: Client, tmp_path: Path) -> None:
    found = await open_pull_request(bob)
    work = tmp_path / "alice"
    await git("clone", "-q", nethack.git_url("nethack"), str(work))
    ours = await push_commit(work, "main", "other")
    await wait_for_pull_request(bob, 1, "cached_merge_status", "unknown")
    _, queued = await nethack.post("/nethack/pull-request/1/merge", wait="false")
    assert queued["message"] == "Merging queued"
    _, task = await nethack.get(f"/v1/tasks/{queued['taskid']}?wait=20")
    assert (task["kind"], task["status"]) == ("merge-pull-request", "succeeded")
    await git("pull", "-q", "origin", "main", cwd=work)
    shown = await git("log", "-1", "--format=%P%n%an%n%s", cwd=work)
    assert shown.splitlines() == [f"{ours} {found['commit_stop']}", "alice", "Merge #1 `Add one`"]


async def test_a_conflict_is_reported_and_changes_nothing(
    forge: Forge, nethack: Client, bob: Client, tmp_path: Path
) -> None:
    await open_pull_request(bob)
    work = tmp_path / "alice"
    await git("clone", "-q", nethack.git_url("nethack"), str(work))
    (work / "one").write_text("quite another text")
    await git("add", "one", cwd=work)
    await git("commit", "-qm", "Clash", cwd=work)
    await git("push", "-q", "origin", "HEAD:main", cwd=work)
    status, body = await nethack.post("/nethack/pull-request/1/merge")
    assert (status, body["error_code"], body["errors"]) == (409, "EPRCONFLICTS", "Merge conflicts!")
    assert (await nethack.pagure("/nethack/pull-request/1"))[1]["status"] == "Open"


async def test_a_pull_request_follows_its_branch(forge: Forge, nethack: Client, bob: Client, tmp_path: Path) -> None:
    found = await open_pull_request(bob)
    head = await push_commit(tmp_path / "bob", "topic", "two")
    again = await wait_for_pull_request(bob, 1, "commit_stop", head)
    assert again["commit_start"] == found["commit_start"]
    assert again["comments"][-1]["comment"] == "**1 new commit added**\n\n * ``Add two``"
    assert (again["comments"][-1]["user"]["name"], again["comments"][-1]["notification"]) == ("bob", True)


async def test_a_reopened_pull_request_has_the_commits_pushed_meanwhile(
    forge: Forge, nethack: Client, bob: Client, tmp_path: Path
) -> None:
    await open_pull_request(bob)
    assert (await bob.post("/nethack/pull-request/1/close"))[0] == 200
    two = await push_commit(tmp_path / "bob", "topic", "two")
    await forge.numbered()
    assert (await bob.post("/nethack/pull-request/1/reopen"))[0] == 200
    found = await wait_for_pull_request(bob, 1, "commit_stop", two)
    assert found["status"] == "Open"


async def test_a_pull_request_is_rebased_onto_its_branch(
    forge: Forge, nethack: Client, bob: Client, tmp_path: Path
) -> None:
    found = await open_pull_request(bob)
    work = tmp_path / "alice"
    await git("clone", "-q", nethack.git_url("nethack"), str(work))
    onto = await push_commit(work, "main", "other")
    status, body = await nethack.post("/nethack/pull-request/1/rebase")
    assert (status, body["error_code"]) == (403, "EREBASENOTALLOWED")
    assert await bob.post("/nethack/pull-request/1/rebase") == (200, {"message": "Pull-request rebased"})
    async with asyncio.timeout(15):
        while (again := (await bob.pagure("/nethack/pull-request/1"))[1])["commit_stop"] == found["commit_stop"]:
            await asyncio.sleep(0.05)
    assert again["comments"][-1]["comment"] == f"rebased onto {onto}"
    await git("fetch", "-q", "origin", "refs/pull/1/head", cwd=work)
    assert (await git("log", "-1", "--format=%P %an %cn", "FETCH_HEAD", cwd=work)).split() == [onto, "Alice", "bob"]


async def test_a_pull_request_is_discussed_assigned_closed_and_reopened(
    forge: Forge, nethack: Client, bob: Client
) -> None:
    await open_pull_request(bob)
    await configure_project(forge, nethack, minimum_score_to_merge=2)
    added = {"message": "Comment added"}
    assert await nethack.post("/nethack/pull-request/1/comment", comment="+1") == (200, added)
    form = {"comment": "-1 here", "commit": "a" * 40, "filename": "one", "row": "3", "tree_id": "b" * 40}
    assert await bob.post("/nethack/pull-request/1/comment", **form) == (200, added)
    _, found = await bob.pagure("/nethack/pull-request/1")
    assert found["threshold_reached"] is False
    inline = found["comments"][1]
    assert (inline["commit"], inline["filename"], inline["line"], inline["tree"]) == ("a" * 40, "one", 3, "b" * 40)
    assert (await bob.pagure(f"/nethack/pull-request/1/comment/{inline['id']}"))[1] == inline
    status, body = await nethack.post("/nethack/pull-request/1/merge")
    assert (status, body["error_code"]) == (403, "EPRSCORE")
    assert await bob.post("/nethack/pull-request/1/close") == (200, {"message": "Pull-request closed!"})
    assert await nethack.post("/nethack/pull-request/1/reopen") == (200, {"message": "Pull-request reopened!"})
    status, body = await nethack.post("/nethack/pull-request/1/reopen")
    assert (status, body["error"]) == (400, "Trying to reopen a pull request that is not closed")
    status, found = await bob.post("/nethack/pull-request/1", title="Better", initial_comment="words")
    assert (found["title"], found["initial_comment"]) == ("Better", "words")
    carol = await forge.user("carol")
    status, body = await carol.post("/nethack/pull-request/1", title="Worse")
    assert (status, body["error_code"]) == (403, "EPRNOTALLOWED")


async def test_pull_requests_are_listed_by_status_author_and_assignee(nethack: Client, bob: Client) -> None:
    await open_pull_request(bob)
    await open_pull_request(bob, title="Second")
    await bob.post("/nethack/pull-request/2/close")
    for query, ids in (
        ("", [1]), ("status=all", [2, 1]), ("status=closed", [2]), ("status=0", [2]), ("status=true", [1]),
        ("author=bob&status=all", [2, 1]), ("author=alice", []), ("assignee=bob", []), ("assignee=0", [1]),
        ("status=nonsense", []), ("tags=x", []),
    ):  # fmt: skip
        _, listing = await nethack.forge.nobody.pagure(f"/nethack/pull-requests?{query}")
        assert [each["id"] for each in listing["requests"]] == ids, query
        assert listing["total_requests"] == len(ids)
    assert listing["pagination"]["next"] is None
    assert (await nethack.pagure("/nethack/pull-requests"))[1]["args"]["status"] is True


async def test_the_changes_of_a_pull_request_are_counted(nethack: Client, bob: Client) -> None:
    await open_pull_request(bob)
    _, stats = await nethack.forge.nobody.pagure("/nethack/pull-request/1/diffstats")
    assert set(stats) == {"one"}
    assert stats["one"].items() >= {"status": "A", "old_path": "one", "lines_added": 1, "lines_removed": 0}.items()


async def test_commits_and_pull_requests_are_flagged(forge: Forge, nethack: Client, bob: Client) -> None:
    found = await open_pull_request(bob)
    await wait_for_pull_request(bob, 1, "cached_merge_status", "FFORWARD")
    form = {"username": "CI", "comment": "passed", "url": "https://ci.example.org/1", "uid": "u1", "status": "success"}
    status, answer = await bob.post("/nethack/pull-request/1/flag", **form)
    assert (status, answer["message"], answer["uid"]) == (200, "Flag added", "u1")
    assert answer["flag"]["user"]["default_email"] == "bob@example.org"
    status, answer = await nethack.post(f"/nethack/c/{found['commit_stop']}/flag", **{**form, "status": "failure"})
    assert (answer["message"], answer["flag"]["status"], answer["flag"]["username"]) == (
        "Flag updated",
        "failure",
        "CI",
    )
    for path, key in (
        (f"/c/{found['commit_stop'][:8]}/flag", "commit_hash"),
        ("/pull-request/1/flag", "pull_request_uid"),
    ):
        _, listed = await forge.nobody.pagure("/nethack" + path)
        assert [(each["status"], key in each) for each in listed["flags"]] == [("failure", True)]
    for field, value, message in (
        ("url", "nonsense", "Invalid input."), ("status", "odd", "Not a valid choice"),
        ("username", " ", "This field is required."),
    ):  # fmt: skip
        status, body = await bob.post("/nethack/pull-request/1/flag", **{**form, field: value})
        assert (status, body["errors"]) == (400, {field: [message]})
    status, body = await nethack.post(f"/nethack/c/{'0' * 40}/flag", **form)
    assert (status, body["error_code"]) == (404, "ENOCOMMIT")
    _, info = await forge.nobody.pagure(f"/nethack/c/{found['commit_stop'][:10]}/info")
    assert (info["hash"], info["message"], info["author"]) == (found["commit_stop"], "Add one\n", "Alice")
