"""Scenarios of users who work on issues with ogr."""

from collections.abc import Callable

import pytest
from ogr import PagureService
from ogr.abstract import AccessLevel, IssueStatus
from ogr.exceptions import OperationNotSupported, PagureAPIException

from tests.conftest import Client, Forge
from tests.pagure.clients.sessions import session

Services = Callable[..., PagureService]


@session
def test_an_issue_from_its_report_to_its_end(
    forge: Forge, ogr: Services, maintainer: Client, bob: Client, carol: Client
) -> None:
    project = ogr(maintainer).get_project(repo="nethack", namespace=None)
    theirs = ogr(bob).get_project(repo="nethack", namespace=None)

    report = theirs.create_issue("Hungry dog", "Feed it.", labels=["pets", "bug"], assignees=["alice"])
    assert (report.id, report.title, report.description) == (1, "Hungry dog", "Feed it.")
    assert (report.status, report.author, report.assignee) == (IssueStatus.open, "bob", "alice")
    assert (report.private, [label.name for label in report.labels]) == (False, ["bug", "pets"])
    assert report.url == f"{forge.url}/nethack/issue/1"
    assert report.created.year >= 2024
    with pytest.raises(OperationNotSupported):
        theirs.create_issue("Bored cat", "Play.", assignees=["alice", "bob"])
    with pytest.raises(PagureAPIException) as unknown:
        theirs.create_issue("Bored cat", "Play.", assignees=["nobody"])
    assert (unknown.value.response_code, unknown.value.pagure_error) == (400, 'No user "nobody" found')
    with pytest.raises(PagureAPIException, match="This field is required"):
        theirs.create_issue("", "Play.")

    seen = project.get_issue(1)
    comment = seen.comment("With what?")
    assert (comment.body, comment.author) == ("With what?", "alice")
    report.comment("Tripe, or a lichen corpse")
    comments = list(seen.get_comments())
    assert [(each.author, each.body) for each in comments] == [
        ("alice", "With what?"), ("bob", "Tripe, or a lichen corpse"),
    ]  # fmt: skip
    assert (seen.get_comment(comments[0].id).body, comments[0].edited) == ("With what?", None)
    assert [each.body for each in seen.get_comments(filter_regex="lichen")] == ["Tripe, or a lichen corpse"]
    assert [each.author for each in seen.get_comments(reverse=True)] == ["bob", "alice"]
    with pytest.raises(PagureAPIException) as missing:
        seen.get_comment(10**6)
    assert missing.value.pagure_error == "Comment not found"

    seen.title = "Very hungry dog"
    seen.description = "Feed it, soon."
    assert (seen.title, seen.description) == ("Very hungry dog", "Feed it, soon.")
    assert theirs.get_issue(1).title == "Very hungry dog"
    with pytest.raises(PagureAPIException):
        report.title = "Not with a token that is made for everything"
    seen.add_assignee("carol")
    assert project.get_issue(1).assignee == "carol"
    with pytest.raises(PagureAPIException) as nobody:
        seen.add_assignee("nobody")
    assert nobody.value.response_code == 400

    project.add_user("carol", AccessLevel.triage)
    assert (report.can_close("bob"), report.can_close("carol"), report.can_close("dave")) == (True, True, False)
    assert report.close().status == IssueStatus.closed
    assert project.get_issue(1).status == IssueStatus.closed
    with pytest.raises(PagureAPIException) as gone:
        project.get_issue(99)
    assert (gone.value.response_code, gone.value.pagure_error) == (404, "Issue not found")


@pytest.fixture
async def many(nethack: Client, bob: Client) -> list[int]:
    """102 open issues: the even ones are bob's and about pets, the hundredth is for him; another is closed."""
    for n in range(1, 104):
        form = {"title": f"t{n}", "issue_content": "c", "tag": "pets" if n % 2 == 0 else "traps, food"}
        if n == 100:
            form["assignee"] = "bob"
        assert (await (bob if n % 2 == 0 else nethack).post("/nethack/new_issue", **form))[0] == 200
    assert (await nethack.post("/nethack/issue/103/status", status="Closed"))[0] == 200
    return list(range(102, 0, -1))


@session
def test_issues_are_listed_by_their_fields(ogr: Services, nethack: Client, bob: Client, many: list[int]) -> None:
    project = ogr(bob).get_project(repo="nethack", namespace=None)

    def ids(*wanted: object, **filters: object) -> list[int]:
        return [issue.id for issue in project.get_issue_list(*wanted, **filters)]

    assert ids() == many
    assert ids(IssueStatus.closed) == [103]
    assert ids(IssueStatus.all) == [103, *many]
    assert ids(author="bob") == ids(labels=["pets"]) == many[::2]
    assert ids(labels=["food", "pets"]) == many
    assert ids(assignee="bob") == [100]
    assert ids(author="nobody") == ids(labels=["ghosts"]) == []


@session
def test_a_private_issue_is_visible_to_its_author_and_maintainers(
    ogr: Services, maintainer: Client, bob: Client, carol: Client
) -> None:
    issue = ogr(bob).get_project(repo="nethack", namespace=None).create_issue("Exploit", "Wish.", private=True)
    assert issue.private
    for who, number_seen in ((maintainer, 1), (bob, 1), (carol, 0)):
        project = ogr(who).get_project(repo="nethack", namespace=None)
        assert len(project.get_issue_list()) == number_seen
    with pytest.raises(PagureAPIException) as hidden:
        project.get_issue(1)
    assert (hidden.value.response_code, hidden.value.pagure_error) == (403, "You are not allowed to view this issue")
