"""Users, their projects and their issues."""

import asyncio
import hashlib
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.conftest import Client, Forge
from tests.pagure.test_sharing import add_collaborator, create_group, grant_access


def avatar_url(name: str) -> str:
    digest = hashlib.sha256(f"{name}@example.org".encode()).hexdigest()
    return f"https://seccdn.libravatar.org/avatar/{digest}?s=16&d=retro"


async def test_users_are_found_by_prefix(forge: Forge, alice: Client) -> None:
    for name in ("bob", "bobby", "carol"):
        await forge.user(name)
    assert await forge.nobody.pagure("/users?pattern=bob") == (
        200,
        {
            "mention": [{"image": avatar_url(name), "name": name, "username": name} for name in ("bob", "bobby")],
            "total_users": 2,
            "users": ["bob", "bobby"],
        },
    )
    everybody = ["admin", "alice", "bob", "bobby", "carol"]
    for path, names in (
        ("/users", everybody), ("/users/", everybody), ("/users?pattern=*b", ["bob", "bobby"]),
        ("/users?pattern=B", []), ("/users?pattern=%25", []), ("/users?pattern=_ob", []),
    ):  # fmt: skip
        assert (await alice.pagure(path))[1]["users"] == names, path


async def test_a_user_is_shown_with_their_projects_and_forks(forge: Forge, nethack: Client) -> None:
    bob = await forge.user("bob")
    for name in ("angband", "moria"):
        await bob.post("/new", name=name, description="d", wait="0")
    await nethack.post("/new", name="secret", description="d", private="1", wait="0")
    await bob.post("/fork", repo="nethack")
    status, shown = await forge.nobody.pagure("/user/bob?per_page=1&repopage=2&x=1")
    assert (status, shown.keys()) == (200, {"forks", "forks_pagination", "repos", "repos_pagination", "user"})
    assert shown["user"] == {
        "avatar_url": avatar_url("bob"),
        "full_url": f"{forge.url}/user/bob",
        "fullname": "bob",
        "name": "bob",
        "url_path": "user/bob",
    }
    assert shown["repos"] == [(await bob.pagure("/moria"))[1]]
    assert shown["forks"] == [(await bob.pagure("/fork/bob/nethack"))[1]]
    base = f"{forge.url}/api/0/user/bob?per_page=1"
    assert shown["repos_pagination"] == {
        "first": f"{base}&x=1&repopage=1", "last": f"{base}&x=1&repopage=2", "next": None, "pages": 2, "per_page": 1,
        "prev": f"{base}&x=1&repopage=1", "repopage": 2,
    }  # fmt: skip
    assert shown["forks_pagination"] == {
        "first": f"{base}&repopage=2&x=1&forkpage=1", "last": f"{base}&repopage=2&x=1&forkpage=1", "next": None,
        "pages": 1, "per_page": 1, "prev": None, "forkpage": 1,
    }  # fmt: skip
    by_address = (await forge.nobody.pagure("/user/ALICE@example.org"))[1]
    assert [project["name"] for project in by_address["repos"]] == ["nethack"]
    for page in ("x", "0", "-1", ""):
        assert (await bob.pagure(f"/user/bob?repopage={page}"))[1]["repos_pagination"]["repopage"] == 1


async def test_invalid_user_pages_are_refused(forge: Forge, alice: Client) -> None:
    for name in ("ghost", "%00", "ghost?per_page=0"):
        assert await alice.pagure(f"/user/{name}") == (404, {"error": "No such user found", "error_code": "ENOUSER"})
    for size, code in (("0", "EINVALIDPERPAGEVALUE"), ("x", "EINVALIDREQ")):
        status, body = await alice.pagure(f"/user/alice?per_page={size}")
        assert (status, body["error_code"]) == (400, code)


async def test_a_user_page_of_any_size_takes_the_same_number_of_statements(
    forge: Forge, alice: Client, statements: list[str]
) -> None:
    taken = []
    for n in range(2):
        for m in range(3):
            await alice.post("/new", name=f"p{n}{m}", description="d", wait="0")
        statements.clear()
        assert len((await forge.nobody.pagure("/user/alice"))[1]["repos"]) == 3 * (n + 1)
        taken.append(len(statements))
    assert taken == [2, 2]  # one for the user, and one for both lists


async def test_a_users_projects_are_those_they_may_write_to(forge: Forge, alice: Client) -> None:
    bob = await forge.user("bob")
    levels = ("admin", "commit", "ticket", "collaborator")
    for name in (*(f"own-{level}" for level in levels), *(f"group-{level}" for level in levels), "made", "by-admins"):
        assert (await alice.post("/new", name=name, description="d", wait="0"))[0] == 200
    await bob.post("/new", name="owned", description="d", wait="0")
    await create_group(alice, "hackers", "bob")
    await create_group(bob, "makers")
    assert (await forge.admin.json("POST", "/v1/groups", {"name": "chiefs", "type": "admin"}))[0] == 201
    assert (await forge.admin.json("PUT", "/v1/groups/chiefs/members/bob"))[0] == 204
    for level in levels[:3]:
        await grant_access(alice, "bob", level, path=f"/own-{level}")
        await grant_access(alice, "hackers", level, "group", path=f"/group-{level}")
    for name, party, path in (("bob", "user", "own-collaborator"), ("hackers", "group", "group-collaborator")):
        await add_collaborator(forge, (await alice.pagure(f"/{path}"))[1]["id"], name, "f*", party)
    await grant_access(alice, "makers", "commit", "group", path="/made")
    await grant_access(alice, "chiefs", "admin", "group", path="/by-admins")
    await alice.post("/new", name="secret", description="d", private="1", wait="0")
    await grant_access(alice, "bob", "admin", path="/alice/secret")
    levels = ("admin", "collaborator", "commit")
    names = [*(f"group-{level}" for level in levels), "made", *(f"own-{level}" for level in levels), "owned"]
    listed = (await forge.nobody.pagure("/projects?username=bob&short=1&per_page=100"))[1]
    assert [project["name"] for project in listed["projects"]] == names
    assert (listed["total_projects"], listed["args"]["username"]) == (len(names), "bob")
    assert [project["name"] for project in (await bob.pagure("/user/bob"))[1]["repos"]] == names


# ---------------------------------------------------------------- issues


async def test_a_users_issues_are_those_they_wrote_and_those_assigned_to_them(forge: Forge, nethack: Client) -> None:
    bob = await forge.user("bob")
    await nethack.post("/new", name="angband", description="d")
    await bob.post("/nethack/new_issue", title="one", issue_content="c", tag="pet")
    await bob.post("/angband/new_issue", title="two", issue_content="c", assignee="bob")
    await nethack.post("/nethack/new_issue", title="three", issue_content="c", assignee="bob")
    await bob.post("/nethack/issue/1/comment", comment="Really.")
    status, found = await forge.nobody.pagure("/user/bob/issues?x=1")
    assert status == 200
    base = f"{forge.url}/api/0/user/bob/issues?per_page=20&x=1&page=1"
    page = {"first": base, "last": base, "next": None, "page": 1, "pages": 1, "per_page": 20, "prev": None}
    created, assigned = found.pop("issues_created"), found.pop("issues_assigned")
    assert found == {
        "args": {
            "assignee": True, "author": True, "closed": None, "created": None, "milestones": [], "no_stones": None,
            "order": None, "order_key": None, "page": 1, "since": None, "status": None, "tags": [], "updated": None,
        },
        "pagination_issues_assigned": page,
        "pagination_issues_created": page,
        "total_issues_assigned": 2,
        "total_issues_assigned_pages": 1,
        "total_issues_created": 2,
        "total_issues_created_pages": 1,
    }  # fmt: skip
    assert [issue["title"] for issue in created] == ["two", "one"]
    assert [issue["title"] for issue in assigned] == ["three", "two"]
    for issue in (*created, *assigned):
        path = issue["project"]["url_path"]
        assert issue["project"] == (await bob.pagure(f"/{path}"))[1]
        alone = (await bob.pagure(f"/{path}/issue/{issue['id']}"))[1]
        assert {**alone, "project": issue["project"]} == issue
        assert issue.keys() >= {"full_url", "related_prs"}


async def two_issues(forge: Forge, nethack: Client) -> Client:
    """Bob, who wrote two issues: #1 of 2020 with a tag, #2 of 2024 with a milestone, closed in 2025."""
    bob = await forge.user("bob")
    words = {"milestones": {"v1": {"date": None, "active": True}}, "priorities": {"1": "High", "2": "Low"}}
    assert (await nethack.json("PATCH", "/v1/projects/nethack/tracker", words))[0] == 200
    await bob.post("/nethack/new_issue", title="a", issue_content="c", tag="pet", priority="2")
    await bob.post("/nethack/new_issue", title="b", issue_content="c", milestone="v1", priority="1")
    for number, year in ((1, 2020), (2, 2024)):
        await forge.db.execute(
            "update issues set created_at = $2, updated_at = $2 where number = $1",
            number,
            datetime(year, 6, 1, tzinfo=UTC),
        )
    closed = datetime(2025, 6, 1, tzinfo=UTC)
    await forge.db.execute(
        "update issues set status = 'Closed', close_status = 'Fixed', closed_at = $1 where number = 2", closed
    )
    return bob


FILTERS = {
    "": [1], "status=all": [2, 1], "status=Closed": [2], "status=CLOSED": [2], "status=Fixed": [2],
    "status=fixed": [], "status=all&order=asc": [1, 2], "status=all&tags=pet": [1],
    "status=all&tags=!pet": [2], "status=all&milestones=v1": [2], "status=all&no_stones=1": [1],
    "status=all&no_stones=0": [2], "status=all&no_stones=1&milestones=v1": [2, 1],
    "status=all&since=2022-01-01": [2], "status=all&created=2022-01-01": [2],
    "status=all&created=..2022-01-01": [1], "status=all&created=2019-01-01..2021-01-01": [1],
    "status=all&created=1577836800..": [2, 1], "status=all&updated=2022-01-01..": [2],
    "status=all&closed=2025-01-01..2026-01-01": [2], "status=all&closed=2026-01-01": [],
    "status=all&order_key=title": [2, 1], "status=all&order_key=title&order=asc": [1, 2],
    "status=all&order_key=priority": [2, 1], "status=all&order_key=priority&order=asc": [1, 2],
    "status=all&order_key=nonsense": [2, 1], "status=all&author=0": [], "status=all&per_page=1&page=2": [1],
}  # fmt: skip


async def test_every_filter_of_issues_works(forge: Forge, nethack: Client) -> None:
    await two_issues(forge, nethack)
    found = {query: (await forge.nobody.pagure(f"/user/bob/issues?{query}"))[1] for query in FILTERS}
    assert {query: [issue["id"] for issue in each["issues_created"]] for query, each in found.items()} == FILTERS
    assert all(each["issues_assigned"] == [] for each in found.values())


async def test_either_half_may_be_left_out(forge: Forge, nethack: Client) -> None:
    await nethack.post("/nethack/new_issue", title="t", issue_content="c", assignee="alice")
    for value in ("false", "0", "f"):
        found = (await nethack.pagure(f"/user/alice/issues?assignee={value}"))[1]
        assert (found["issues_assigned"], found["pagination_issues_assigned"]) == ([], None)
        assert (found["total_issues_created"], found["args"]["assignee"], found["args"]["author"]) == (1, False, True)
    found = (await nethack.pagure("/user/alice/issues?author=0&assignee=no"))[1]
    assert (found["pagination_issues_created"], found["total_issues_created"], len(found["issues_assigned"])) == (
        None,
        0,
        1,
    )


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("since=yesterday", "EDATETIME"), ("since=99999999999999", "ETIMESTAMP"), ("created=x..", "EDATETIME"),
        ("updated=..99999999999999", "ETIMESTAMP"), ("closed=2020-02-31", "EDATETIME"), ("page=0", "EINVALIDREQ"),
        ("per_page=101", "EINVALIDPERPAGEVALUE"),
    ],
)  # fmt: skip
async def test_bad_filters_are_refused(forge: Forge, query: str, code: str) -> None:
    status, body = await forge.nobody.pagure(f"/user/bob/issues?{query}")
    assert (status, body["error_code"]) == (400, code)


@pytest.mark.parametrize("name", ["ghost", "!bob", "%00"])
async def test_an_unknown_user_has_no_issues(forge: Forge, nethack: Client, name: str) -> None:
    await nethack.post("/nethack/new_issue", title="t", issue_content="c")
    status, found = await forge.nobody.pagure(f"/user/{name}/issues")
    assert (status, found["issues_created"], found["issues_assigned"]) == (200, [], [])


async def test_hidden_issues_are_not_listed(forge: Forge, nethack: Client) -> None:
    people: dict[str, Any] = {name: await forge.user(name) for name in ("bob", "carol", "dave", "erin", "frank")}
    await create_group(nethack, "hackers", "dave")
    await nethack.post("/new", name="secret", description="d", private="1")
    for path in ("/nethack", "/alice/secret"):
        await grant_access(nethack, "hackers", "commit", "group", path=path)
        await grant_access(nethack, "erin", "ticket", path=path)
    await people["bob"].post("/nethack/new_issue", title="private", issue_content="c", private="1", assignee="carol")
    await nethack.post("/alice/secret/new_issue", title="hidden", issue_content="c")
    for reader, private, hidden in (
        (nethack, 1, 1), (people["bob"], 1, 0), (people["carol"], 1, 0), (people["dave"], 1, 1),
        (people["erin"], 0, 1), (people["frank"], 0, 0), (forge.nobody, 0, 0), (forge.admin, 1, 1),
    ):  # fmt: skip
        assert (await reader.pagure("/user/bob/issues"))[1]["total_issues_created"] == private, reader.name
        assert (await reader.pagure("/user/carol/issues"))[1]["total_issues_assigned"] == private, reader.name
        assert (await reader.pagure("/user/alice/issues"))[1]["total_issues_created"] == hidden, reader.name


async def test_a_bound_token_shows_private_issues_of_its_project_only(forge: Forge, nethack: Client) -> None:
    await nethack.post("/new", name="secret", description="d", private="1")
    await create_group(nethack, "hackers")
    await grant_access(nethack, "hackers", "commit", "group", path="/alice/secret")
    await forge.admin.post("/nethack/new_issue", title="private", issue_content="c", private="1", assignee="alice")
    await nethack.post("/alice/secret/new_issue", title="hidden", issue_content="c")
    for owner in (nethack, forge.admin):
        here, there = await owner.limited(project="nethack"), await owner.limited(project="alice/secret")
        for reader, private, hidden in ((owner, 1, 1), (here, 1, 0), (there, 0, 1)):
            assert (await reader.pagure("/user/alice/issues"))[1]["total_issues_assigned"] == private
            assert (await reader.pagure("/user/alice/issues"))[1]["total_issues_created"] == hidden
            assert (await reader.pagure("/group/hackers?projects=1"))[1]["total_projects"] == hidden
            assert (await reader.pagure("/alice/secret"))[0] == (200 if hidden else 404)


async def test_any_number_of_issues_takes_the_same_number_of_statements(
    forge: Forge, nethack: Client, statements: list[str]
) -> None:
    taken = []
    for n in range(2):
        for _ in range(3):
            await nethack.post("/nethack/new_issue", title="t", issue_content="c", assignee="alice")
        await nethack.post("/new", name=f"p{n}", description="d")
        await nethack.post(f"/p{n}/new_issue", title="t", issue_content="c")
        statements.clear()
        found = (await forge.nobody.pagure("/user/alice/issues"))[1]
        assert found["total_issues_created"] == 4 * (n + 1)
        taken.append(len(statements))
    assert taken == [1, 1]  # for anonymous clients


async def test_an_expired_token_does_not_prevent_public_reading(forge: Forge, alice: Client) -> None:
    expired = (datetime.now(UTC) + timedelta(seconds=0.3)).isoformat()
    stale = await alice.limited(expires_at=expired)
    await asyncio.sleep(0.4)
    assert (await stale.post("/-/whoami"))[1]["errors"] == "Expired token"
    for path in ("/users", "/user/alice", "/user/alice/issues", "/groups"):
        assert (await stale.pagure(path))[0] == 200
