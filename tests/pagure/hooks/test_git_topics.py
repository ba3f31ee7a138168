"""Web hook topics for pushes, branches and tags."""

from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Client, commit, git
from tests.pagure.hooks.conftest import Hook
from tests.pagure.pulls import open_pull_request

RECEIVE = {
    "total_commits", "start_commit", "end_commit", "old_commit", "branch", "forced", "authors", "changed_files",
    "agent", "repo", "pull_request_id",
}  # fmt: skip
BRANCH = {"authors", "agent", "repo", "branch", "rev"}
ZEROS = "0" * 40


@pytest.fixture
async def work(hook: Hook, tmp_path: Path) -> Path:
    """A clone of nethack."""
    await git("clone", "-q", hook.client.git_url("nethack"), str(tmp_path / "work"))
    return tmp_path / "work"


async def head(work: Path, name: str = "HEAD") -> str:
    return (await git("rev-parse", name, cwd=work)).strip()


def author(hook: Hook) -> dict[str, Any]:
    return {
        "name": "alice",
        "fullname": "alice",
        "url_path": "user/alice",
        "full_url": f"{hook.client.forge.url}/user/alice",
    }


async def test_a_push_is_sent_with_its_commits_and_files(hook: Hook, work: Path) -> None:
    old = await head(work)
    first = await commit(work, "one")
    await git("rm", "-q", "README.md", cwd=work)
    await git("commit", "-qm", "Away with it", "--author", "Eve <eve@example.org>", cwd=work)
    last = await head(work)
    await git("push", "-q", "origin", "HEAD:main", cwd=work)
    [message] = await hook.next("git.receive")
    assert message.keys() == RECEIVE
    assert message.pop("repo") == (await hook.client.pagure("/nethack"))[1]
    assert message == {
        "total_commits": 2,
        "start_commit": first,
        "end_commit": last,
        "old_commit": old,
        "branch": "main",
        "forced": False,
        "authors": [{"fullname": "Eve", "name": None, "url_path": None}, author(hook)],
        "changed_files": {"one": "A", "README.md": "D"},
        "agent": "alice",
        "pull_request_id": None,
    }


async def test_a_forced_push_begins_at_the_merge_base(hook: Hook, work: Path) -> None:
    base = await head(work)
    await commit(work, "one")
    await git("push", "-q", "origin", "HEAD:main", cwd=work)
    await git("reset", "-q", "--hard", base, cwd=work)
    other = await commit(work, "two")
    await git("push", "-qf", "origin", "HEAD:main", cwd=work)
    _, message = await hook.next("git.receive", "git.receive")
    assert (message["forced"], message["old_commit"], message["total_commits"]) == (True, base, 1)
    assert (message["start_commit"], message["end_commit"], message["changed_files"]) == (other, other, {"two": "A"})
    # Back to an earlier commit, so the push has no new commits.
    await git("push", "-qf", "origin", f"{base}:main", cwd=work)
    await hook.client.post("/nethack/new_issue", title="t", issue_content="c")
    await hook.next("issue.new")


async def test_each_ref_of_a_push_has_a_message(hook: Hook, work: Path) -> None:
    """Commits that two new branches share are sent with the first."""
    old = await head(work)
    new = await commit(work, "one")
    await git("tag", "light", cwd=work)
    await git("tag", "-m", "words", "heavy", cwd=work)
    await git("push", "-q", "origin", "HEAD:a", "HEAD:b", "light", "heavy", f"{old}:refs/heads/c", cwd=work)
    made, received, same, stale, heavy, light = await hook.next(
        "git.branch.creation", "git.receive", "git.branch.creation", "git.branch.creation", "git.tag.creation",
        "git.tag.creation",
    )  # fmt: skip
    assert made.keys() == same.keys() == BRANCH
    assert [(one["branch"], one["rev"]) for one in (made, same, stale)] == [("a", new), ("b", new), ("c", old)]
    assert (made["authors"], made["agent"]) == ([author(hook)], "alice")
    assert (received["branch"], received["old_commit"], received["total_commits"]) == ("a", f"^{ZEROS}", 1)
    assert (received["start_commit"], received["end_commit"], received["forced"]) == (new, new, False)
    assert received["changed_files"] == {"one": "A"}
    assert heavy.keys() == light.keys() == {"authors", "agent", "repo", "tag", "rev"}
    assert [(one["tag"], one["rev"]) for one in (heavy, light)] == [
        ("heavy", await head(work, "heavy")),
        ("light", new),
    ]
    assert heavy["authors"] == light["authors"] == [author(hook)]

    await git("push", "-q", "origin", ":a", ":heavy", cwd=work)
    gone, untagged = await hook.next("git.branch.deletion", "git.tag.deletion")
    assert gone.keys() == BRANCH
    assert (gone["branch"], gone["rev"], gone["authors"]) == ("a", new, [author(hook)])
    assert (untagged["tag"], untagged["rev"]) == ("heavy", await head(work, "heavy"))


async def test_an_alias_has_no_message_beside_its_branch(hook: Hook, work: Path) -> None:
    status, _ = await hook.client.json(
        "POST", "/api/0/nethack/git/alias/new", {"alias_from": "trunk", "alias_to": "main"}
    )
    assert status == 200
    await commit(work, "one")
    await git("push", "-q", "origin", "HEAD:main", cwd=work)
    [message] = await hook.next("git.receive")
    assert message["branch"] == "main"
    await hook.client.post("/nethack/new_issue", title="t", issue_content="c")
    await hook.next("issue.new")


async def test_a_merge_names_its_pull_request(hook: Hook, bob: Client) -> None:
    found = await open_pull_request(bob)
    await hook.next("pull-request.new")
    assert (await hook.client.post("/nethack/pull-request/1/merge"))[0] == 200
    pushed, commented, closed = await hook.next("git.receive", "pull-request.comment.added", "pull-request.closed")
    assert pushed.keys() == RECEIVE
    assert (pushed["pull_request_id"], pushed["agent"], pushed["branch"]) == (1, "alice", "main")
    assert found["commit_stop"] in (pushed["start_commit"], pushed["end_commit"])
    assert commented["pullrequest"]["comments"][-1]["comment"] == "Pull-Request has been merged by alice"
    assert closed.keys() == {"pullrequest", "merged", "agent"}
    assert (closed["merged"], closed["pullrequest"]["status"]) == (True, "Merged")
