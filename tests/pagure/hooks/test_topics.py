"""Every topic of Pagure's web hooks about projects, issues, pull requests and flags, with its exact keys."""

from pathlib import Path

from app.core.issue_metadata import AddDependency
from app.core.tracker import ConfigureTracker
from tests.conftest import Client, Forge, commit, git
from tests.pagure import trackers
from tests.pagure.hooks.conftest import Hook
from tests.pagure.pulls import open_pull_request, push_commit
from tests.pagure.test_sharing import grant_access

ISSUE = {"issue", "project", "agent"}
REQUEST = {"pullrequest", "agent"}


async def test_access_is_sent_with_what_was_granted_before(forge: Forge, hook: Hook) -> None:
    alice = hook.client
    await forge.user("bob")
    await grant_access(alice, "bob", "ticket")
    await grant_access(alice, "bob", "commit")
    await grant_access(alice, "bob", "")
    await grant_access(alice, "bob", "admin")
    added, updated, removed, again = await hook.next(
        "project.user.added", "project.user.access.updated", "project.user.removed", "project.user.added"
    )
    assert added.keys() == {"project", "new_user", "access", "branches", "agent"}
    assert (added["new_user"], added["access"], added["branches"], added["agent"]) == ("bob", "ticket", None, "alice")
    assert updated.keys() == {"project", "new_user", "new_access", "new_branches", "agent"}
    assert (updated["new_user"], updated["new_access"], updated["new_branches"]) == ("bob", "commit", None)
    assert removed.keys() == {"project", "removed_user", "agent"}
    assert removed["removed_user"] == "bob"
    assert again["access"] == "admin"


async def test_access_of_groups_is_sent(forge: Forge, hook: Hook) -> None:
    alice = hook.client
    body = {"name": "hackers", "display_name": "Hackers", "description": "d"}
    assert (await forge.admin.json("POST", "/v1/groups", body))[0] == 201
    for level in ("ticket", "commit", ""):
        await grant_access(alice, "hackers", level, "group")
    added, updated, removed = await hook.next(
        "project.group.added", "project.group.access.updated", "project.group.removed"
    )
    assert added.keys() == {"project", "new_group", "access", "branches", "agent"}
    assert (added["new_group"], added["access"]) == ("hackers", "ticket")
    assert updated.keys() == {"project", "new_group", "new_access", "new_branches", "agent"}
    assert removed.keys() == {"project", "removed_groups", "agent"}
    assert removed["removed_groups"] == ["hackers"]


async def test_a_former_owner_already_has_access(forge: Forge, hook: Hook) -> None:
    bob = await forge.user("bob")
    status, _ = await hook.client.request(
        "PATCH", "/api/0/nethack", data={"main_admin": "bob", "retain_access": "true"}
    )
    assert status == 200
    await grant_access(bob, "alice", "commit")
    [updated] = await hook.next("project.user.access.updated")
    assert (updated["new_user"], updated["new_access"], updated["agent"]) == ("alice", "commit", "bob")


async def test_tags_are_sent_when_they_are_changed_or_deleted(forge: Forge, hook: Hook) -> None:
    tracker = await trackers.make_tracker(forge, hook.client)
    await hook.client.post("/nethack/tags/new", tag="urgent", tag_color="red", tag_description="now")
    await tracker.execute(ConfigureTracker, changed={}, tags={"urgent": {"color": "blue", "description": "soon"}})
    token = await tracker.token("alice", "nethack", "modify_project")
    assert (await token.request("DELETE", "/api/0/nethack/tag/urgent"))[0] == 200
    edited, removed = await hook.next("project.tag.edited", "project.tag.removed")
    project, agent = edited.pop("project"), edited.pop("agent")
    assert (project["name"], agent) == ("nethack", "alice")
    assert edited == {
        "old_tag": "urgent",
        "old_tag_color": "red",
        "old_tag_description": "now",
        "new_tag": "urgent",
        "new_tag_color": "blue",
        "new_tag_description": "soon",
    }
    assert removed.keys() == {"project", "tags", "agent"}
    assert removed["tags"] == ["urgent"]


async def test_an_issue_is_sent_as_the_api_shows_it(hook: Hook) -> None:
    alice = hook.client
    await alice.post("/nethack/new_issue", title="t", issue_content="c", tag="a")
    await alice.post("/nethack/issue/1/comment", comment="Yes")
    await alice.post("/nethack/issue/1/subscribe", status="1")
    new, commented = await hook.next("issue.new", "issue.comment.added")
    assert new.keys() == commented.keys() == ISSUE
    assert commented["agent"] == "alice"
    assert commented["issue"] == (await alice.pagure("/nethack/issue/1"))[1]
    assert commented["issue"]["comments"][0]["comment"] == "Yes"
    assert commented["project"] == (await alice.pagure("/nethack"))[1]


async def test_metadata_has_topics_and_its_comments_have_none(forge: Forge, hook: Hook) -> None:
    tracker = await trackers.make_tracker(forge, hook.client)
    alice = tracker.alice
    for _ in range(3):
        await tracker.issue()
    await hook.next("issue.new", "issue.new", "issue.new")
    await alice.post("/nethack/issue/1/custom/reviewer", value="bob")
    await alice.post("/nethack/issue/1/milestone", milestone="v1")
    await alice.post("/nethack/issue/1/assign", assignee="alice")
    await alice.post("/nethack/issue/1/assign", assignee="")
    await alice.post("/nethack/issue/1", title="New", issue_content="words")
    await tracker.execute(AddDependency, number=1, depends_on=2)
    await tracker.execute(AddDependency, number=1, depends_on=3)
    await alice.post("/nethack/issue/2/status", status="Closed", close_status="Fixed")
    stone, given, taken, edited, first, second, closed = await hook.next(
        "issue.edit", "issue.assigned.added", "issue.assigned.reset", "issue.edit", "issue.dependency.added",
        "issue.dependency.added", "issue.edit",
    )  # fmt: skip
    for edit, fields in ((stone, ["milestone"]), (edited, ["content", "title"]), (closed, ["close_status", "status"])):
        assert edit.keys() == ISSUE | {"fields"}
        assert edit["fields"] == fields
    assert given.keys() == taken.keys() == ISSUE
    assert first.keys() == ISSUE | {"added_dependency"}
    assert (first["added_dependency"], second["added_dependency"]) == (2, 3)


async def test_an_issue_on_a_board_is_tagged_edited_and_commented(forge: Forge, hook: Hook) -> None:
    alice = hook.client
    await alice.post("/nethack/tags/new", tag="dev", tag_color="red")
    boards = {"Development": {"active": True, "tag": "dev"}}
    assert (await alice.json("POST", "/api/0/nethack/boards", boards))[0] == 200
    statuses = {
        "Backlog": {"rank": 1, "default": True, "close": False},
        "Done": {"rank": 2, "default": False, "close": True, "close_status": "Fixed"},
    }
    assert (await alice.json("POST", "/api/0/nethack/boards/Development/status", statuses))[0] == 200
    await alice.post("/nethack/new_issue", title="t", issue_content="c")
    await hook.next("issue.new")
    placement = {"1": {"status": "Done", "rank": 1}}
    assert (await alice.json("POST", "/api/0/nethack/boards/Development/add_issue", placement))[0] == 200
    tagged, edited, commented = await hook.next("issue.tag.added", "issue.edit", "issue.comment.added")
    assert tagged.keys() == ISSUE | {"tags"}
    assert (tagged["tags"], edited["fields"]) == (["dev"], ["close_status", "status"])
    assert commented.keys() == ISSUE
    uid = await forge.db.fetchval("select uid from issues")
    rank = {uid: {"status": "Done", "rank": 5}}
    assert (await alice.json("POST", "/api/0/nethack/boards/Development/update_issue", rank))[0] == 200
    await alice.post("/nethack/issue/1/comment", comment="Here")
    await hook.next("issue.comment.added")


async def test_every_change_of_a_pull_request_is_sent(forge: Forge, hook: Hook, bob: Client, tmp_path: Path) -> None:
    tracker = await trackers.make_tracker(forge, hook.client)
    await open_pull_request(bob)
    await bob.post("/nethack/pull-request/1/comment", comment="Please")
    new, commented = await hook.next("pull-request.new", "pull-request.comment.added")
    assert new.keys() == commented.keys() == REQUEST
    assert (new["agent"], new["pullrequest"]["repo_from"]["fullname"]) == ("bob", "forks/bob/nethack")
    assert commented["pullrequest"]["comments"][0]["comment"] == "Please"

    await bob.post("/nethack/pull-request/1", title="Other", initial_comment="words")
    [edited] = await hook.next("pull-request.initial_comment.edited")
    assert edited.keys() == REQUEST | {"project"}
    assert (edited["pullrequest"]["comments"], edited["pullrequest"]["title"]) == ([], "Other")

    for assignee, how in (("alice", "added"), ("", "reset")):
        assert (await tracker.alice.post("/nethack/pull-request/1/assign", assignee=assignee))[0] == 200
        old, now = await hook.next(f"request.assigned.{how}", f"pull-request.assigned.{how}")
        assert now.keys() == REQUEST | {"project"}
        assert old == {**now, "request": now["pullrequest"]}

    await push_commit(tmp_path / "bob", "topic", "two")
    commented, updated = await hook.next("pull-request.comment.added", "pull-request.updated")
    assert commented["agent"] == "bob"
    assert commented["pullrequest"]["comments"][-1]["comment"].startswith("**1 new commit added**")
    assert updated.keys() == REQUEST
    assert (updated["agent"], updated["pullrequest"]["comments"]) == ("pagure", [])

    for path, topic, more in (("close", "closed", {"merged": False}), ("reopen", "reopened", {})):
        assert (await bob.post(f"/nethack/pull-request/1/{path}"))[0] == 200
        commented, over = await hook.next("pull-request.comment.added", f"pull-request.{topic}")
        assert commented.keys() == REQUEST
        assert over.items() >= more.items()
        assert over.keys() == REQUEST | more.keys()


async def test_a_rebased_pull_request_is_sent_once(forge: Forge, hook: Hook, bob: Client, tmp_path: Path) -> None:
    await open_pull_request(bob)
    await hook.next("pull-request.new")
    work = tmp_path / "alice"
    await git("clone", "-q", hook.client.git_url("nethack"), str(work))
    await commit(work, "three")
    await git("push", "-q", "origin", "HEAD:main", cwd=work)
    await hook.next("git.receive")
    assert (await bob.post("/nethack/pull-request/1/rebase"))[0] == 200
    commented, rebased = await hook.next("pull-request.comment.added", "pull-request.rebased")
    assert commented["pullrequest"]["comments"][-1]["comment"].startswith("rebased onto ")
    assert (rebased.keys(), rebased["agent"]) == (REQUEST, "pagure")
    assert (await bob.post("/nethack/pull-request/1/comment", comment="Done"))[0] == 200
    await hook.next("pull-request.comment.added")


async def test_flags_of_commits_and_pull_requests_are_sent(hook: Hook, bob: Client) -> None:
    found = await open_pull_request(bob)
    await hook.next("pull-request.new")
    flag = {"username": "CI", "comment": "passed", "url": "https://ci.example.org/1", "status": "success", "uid": "u"}
    head = (await hook.client.pagure("/nethack/git/branches?with_commits=1"))[1]["branches"]["main"]
    for how in ("added", "updated"):
        assert (await bob.post(f"/nethack/c/{head}/flag", **flag))[0] == 200
        [message] = await hook.next(f"commit.flag.{how}")
        assert message.keys() == {"repo", "flag", "agent"}
        assert (message["flag"]["commit_hash"], message["flag"]["user"]["name"], message["agent"]) == (
            head,
            "bob",
            "bob",
        )
        assert "default_email" not in message["flag"]["user"]
    for how in ("added", "updated"):
        assert (await bob.post("/nethack/pull-request/1/flag", **flag))[0] == 200
        message, on_pull_request = await hook.next(f"commit.flag.{how}", f"pull-request.flag.{how}")
        assert message["flag"]["commit_hash"] == found["commit_stop"]
        assert on_pull_request.keys() == {"pullrequest", "flag", "agent"}
        assert on_pull_request["flag"]["pull_request_uid"] == found["uid"]


async def test_projects_are_sent_to_administrators_who_subscribe_to_everything(forge: Forge, hook: Hook) -> None:
    """A new project has no web hook yet, but a subscription to everything can use Pagure's format."""
    body = {"url": hook.receiver.url + "/all", "format": "pagure", "types": ["project.*", "repository.*"]}
    status, made = await forge.admin.json("POST", "/v1/subscriptions", body)
    assert status == 201
    await hook.client.post("/new", name="other", description="d")
    everything = Hook(hook.receiver, hook.client, "other")
    everything.token, everything.seen = made["secret"], hook.seen
    [new] = await everything.next("project.new")
    assert new.keys() == {"project", "agent"}
    assert (await hook.client.post("/fork", repo="other"))[0] == 200
    everything.fullname = "forks/alice/other"
    [forked] = await everything.next("project.forked")
    assert (forked.keys(), forked["project"]["fullname"]) == ({"project", "agent"}, "forks/alice/other")
    assert forked["project"]["parent"]["name"] == "other"
