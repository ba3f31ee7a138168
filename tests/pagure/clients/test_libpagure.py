"""Scenarios with libpagure, which takes every status but 200 for a failure."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from libpagure import APIError, Pagure

from tests.conftest import Client, Forge
from tests.pagure.clients.sessions import Checkout, session
from tests.pagure.trackers import Tracker

Clients = Callable[..., Pagure]


@session
def test_the_instance_its_people_and_its_projects(
    forge: Forge, libpagure: Clients, nethack: Client, packaged: Client, wizards: str
) -> None:
    client = libpagure(nethack)
    client.log_debug()
    assert client.api_version() == "1"
    assert client.error_codes()["ENOPROJECT"] == "Project not found"
    assert client.list_users() == ["admin", "alice", "bob", "carol"]
    assert client.list_users(pattern="b") == ["bob"]
    assert (client.list_groups(), client.list_groups(pattern="wiz"), client.list_groups("x")) == (
        ["wizards"], ["wizards"], [],
    )  # fmt: skip

    assert client.new_project("hack", "An ancestor") == "Project creation queued"
    url = "https://hack.example.org"
    client.new_project("angband", "A tower", namespace="wizards", url=url, avatar_email="a@b.cc", create_readme=True)
    client.new_project("amulet", "Of Yendor", private=True)
    for name, namespace, error in (
        ("hack", None, 'It is not possible to create the repo "hack"'),
        ("two words", None, "Invalid or incomplete input submitted, details: \"{'name': ['Invalid input.']}\""),
        ("hack", "nowhere", "details: \"{'namespace': ['Not a valid choice']}\""),
    ):
        with pytest.raises(APIError) as refused:
            client.new_project(name, "d", namespace=namespace)
        assert error in str(refused.value)

    def names(**filters: object) -> list[str]:
        return [each["fullname"] for each in client.list_projects(**filters)]

    assert names() == [
        "wizards/angband", "hack", "nethack", "forks/bob/nethack", "rpms/rogue", "forks/bob/rpms/rogue",
    ]  # fmt: skip
    assert names(fork=True) == ["forks/bob/nethack", "forks/bob/rpms/rogue"]
    assert names(fork=False, pattern="*hack") == ["hack", "nethack"]
    assert names(owner="bob") == names(username="bob") == ["forks/bob/nethack", "forks/bob/rpms/rogue"]
    assert names(namespace="rpms", fork=False) == names(page=5, per_page=1) == ["rpms/rogue"]
    assert names(tags=["roguelike"]) == []
    assert client.list_projects(pattern="hack", short=True) == [
        {"description": "An ancestor", "fullname": "hack", "name": "hack", "namespace": None}
    ]
    for settings in ({}, {"fork_username": "bob"}):
        assert libpagure(None, "nethack", **settings).project_branches() == ["main"]
        assert libpagure(None, "rogue", namespace="rpms", **settings).project_branches() == ["main"]
    shown = client.user_info("bob")
    assert (shown["user"]["name"], shown["repos"], len(shown["forks"])) == ("bob", [], 2)
    with pytest.raises(Exception, match=r"404, .*/user/nobody not found"):
        client.user_info("nobody")


@session
def test_an_issue_through_its_life(libpagure: Clients, tracker: Tracker, bob: Client) -> None:
    maintainer = libpagure(tracker.alice, "nethack")
    reporter = libpagure(bob, repo_to="nethack")
    made = reporter.create_issue(
        "Hungry dog", "Feed it.", priority=1, milestone="v1", tags="pets,bug", assignee="alice"
    )
    assert (made["message"], made["issue"]["id"]) == ("Issue created", 1)
    assert (made["issue"]["tags"], made["issue"]["priority"], made["issue"]["private"]) == (["bug", "pets"], 1, False)
    assert reporter.create_issue("Exploit", "Wish.", private=True)["issue"]["private"]
    assert not reporter.create_issue("Bored cat", "Play.", private=False)["issue"]["private"]
    assert sorted(maintainer.list_tags()) == ["bug", "pets"]
    assert maintainer.list_tags(pattern="p") == ["pets"]

    assert reporter.comment_issue(1, "Is it still?")["message"] == "Comment added"
    thread = maintainer.issue_info(1)["comments"]
    assert maintainer.get_list_comment(1, thread[0]["id"])["comment"] == "Is it still?"
    assert maintainer.change_issue_milestone(1, None) == {"message": "Successfully edited issue #1"}
    assert maintainer.issue_info(1)["milestone"] is None
    assert maintainer.change_issue_milestone(1, "v2") == {"message": "Successfully edited issue #1"}
    assert maintainer.change_issue_status(3, "Closed", close_status="Invalid") == {
        "message": "Successfully edited issue #3"
    }
    assert maintainer.issue_info(3)["close_status"] == "Invalid"
    assert maintainer.change_issue_status(3, "Closed", close_status="Invalid") == {"message": "No changes"}

    def ids(client: Pagure = maintainer, **filters: object) -> list[int]:
        return [issue["id"] for issue in client.list_issues(**filters)]

    assert (ids(), ids(order="asc"), ids(status="all"), ids(status="Closed")) == ([2, 1], [1, 2], [3, 2, 1], [3])
    assert ids(status="Invalid") == [3]
    assert ids(libpagure(None, "nethack")) == [1]
    assert (ids(tags=["pets", "x"]), ids(assignee="alice"), ids(author="bob"), ids(priority=1)) == (
        [1], [1], [2, 1], [1],
    )  # fmt: skip
    assert (ids(milestones=["v1", "v2"]), ids(no_stones=True), ids(no_stones=False)) == ([1], [2], [1])
    assert (ids(since="2015-01-01"), ids(since=4102444800)) == ([2, 1], [])

    for call, error in (
        (lambda: reporter.change_issue_milestone(1, "v1"), "made for this project"),
        (lambda: maintainer.change_issue_milestone(1, "v9"), "Not a valid choice"),
        (lambda: libpagure(None, "nethack").comment_issue(1, "Anonymous"), "Invalid or expired token"),
        (lambda: reporter.create_issue("", ""), "This field is required."),
        (lambda: maintainer.list_issues(priority="Highest"), "Invalid priority submitted"),
        (lambda: maintainer.list_issues(since="yesterday"), "Invalid datetime format"),
    ):
        with pytest.raises(APIError, match=error):
            call()
    for missing in (lambda: maintainer.issue_info(99), lambda: libpagure(bob, "moria").list_issues()):
        with pytest.raises(Exception, match=r"404, .* not found"):
            missing()


@session
def test_pull_requests_and_those_who_deal_with_them(
    libpagure: Clients, nethack: Client, packaged: Client, tmp_path: Path
) -> None:
    fork = libpagure(packaged, "nethack", fork_username="bob")
    work = Checkout(f"{fork.instance}/fork/bob/nethack", tmp_path / "work", packaged)
    head = work.push("feature", "dog.c", "woof();\n")
    assert (fork.project_branches(), fork.project_tags()) == (["feature", "main"], [])
    work.git("tag", "v1")
    work.git("push", "-q", "origin", "v1")
    assert fork.project_tags() == ["v1"]

    upstream, theirs = libpagure(packaged, "nethack"), libpagure(nethack, "nethack")
    origin = {"repo": "nethack", "username": "bob", "namespace": None}
    for n in range(1, 4):
        opened = upstream.create_pull_request(f"Feed the dog {n}", "main", "feature", origin, initial_comment="Please")
        assert (opened["id"], opened["commit_stop"], opened["initial_comment"]) == (n, head, "Please")
    with pytest.raises(APIError, match="Branch nope does not exist"):
        upstream.create_pull_request("t", "main", "nope", origin)

    theirs.comment_request(1, "LGTM")
    theirs.comment_request(1, "Here", commit=head, filename="dog.c", row=1)
    assert [(each["comment"], each["line"]) for each in upstream.request_info(1)["comments"]] == [
        ("LGTM", None), ("Here", 1),
    ]  # fmt: skip
    flag = theirs.flag_request(1, "CI", 50, "Half done", "https://ci.example.org/1", uid="build-1", commit=head)
    assert (flag["message"], flag["flag"]["status"], flag["flag"]["percent"]) == ("Flag added", "success", 50)
    flag = theirs.flag_request(1, "CI", 0, "Broken", "https://ci.example.org/1", uid="build-1")
    assert (flag["message"], flag["flag"]["status"]) == ("Flag updated", "failure")

    with pytest.raises(APIError, match="You are not allowed to merge/close pull-request for this project"):
        upstream.merge_request(1)
    theirs.merge_request(1)
    upstream.close_request(2)
    with pytest.raises(APIError, match="This pull-request conflicts and thus cannot be merged"):
        theirs.merge_request(2)
    assert [upstream.request_info(n)["status"] for n in (1, 2, 3)] == ["Merged", "Closed", "Open"]

    def ids(**filters: object) -> list[int]:
        return [each["id"] for each in upstream.list_requests(**filters)]

    assert (ids(), ids(status="all"), ids(status="Merged"), ids(status="Closed")) == ([3], [3, 2, 1], [1], [2])
    assert (ids(author="bob"), ids(author="alice"), ids(assignee="alice")) == ([3], [], [])
    with pytest.raises(Exception, match=r"404, .* not found"):
        upstream.request_info(99)

    filed = {status: [each["id"] for each in theirs.list_pull_requests("bob", 1, status)] for status in (None, "all")}
    assert filed == {None: [3], "all": [3, 2, 1]}
    assert theirs.list_pull_requests("bob", 2, "all") == theirs.list_pull_requests("alice", 1) == []
    assert [each["id"] for each in theirs.list_prs_actionable_by_user("alice", 1)] == [3]
    assert [each["id"] for each in theirs.list_prs_actionable_by_user("alice", 1, "Merged")] == [1]
    assert theirs.list_prs_actionable_by_user("bob", 1) == []

    today = datetime.now(UTC).date().isoformat()
    assert set(theirs.user_activity_stats("bob")) == {today}
    assert all(each.isdigit() for each in theirs.user_activity_stats("bob", format="timestamp"))
    done = [each["description"] for each in theirs.user_activity_stats_by_date("bob", today)]
    assert "bob created PR nethack#1" in done
    assert "bob closed PR nethack#2" in done
    assert theirs.user_activity_stats_by_date("bob", "2015-07-01", grouped=True) == []
