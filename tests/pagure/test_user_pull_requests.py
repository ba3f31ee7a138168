"""The pull requests of a user: those they filed and those they may act on."""

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.conftest import Client, Forge
from tests.pagure.test_sharing import add_collaborator, create_group, grant_access


async def open_pull_request(author: Client, path: str = "/nethack", **form: Any) -> Any:
    """Open a pull request without commits, from another branch of the project or from the author's fork."""
    if "repo_from" not in form:
        await author.post(f"{path}/git/branch", branch="still")  # which may be there already
    source = "main" if "repo_from" in form else "still"
    form = {"title": "Feed the dog", "branch_to": "main", "branch_from": source, **form}
    status, body = await author.post(f"{path}/pull-request/new", **form)
    assert status == 200, body
    await wait_until_idle(author.forge)
    return body


async def wait_until_idle(forge: Forge) -> None:
    """Wait until no work is left that would change the pull requests."""
    await forge.numbered()
    async with asyncio.timeout(20):
        while await forge.db.fetchval("select exists (select 1 from work where done_at is null)"):
            await asyncio.sleep(0.02)


@pytest.fixture
async def bob(forge: Forge, nethack: Client) -> Client:
    """Bob, who has a fork of nethack."""
    bob = await forge.user("bob")
    assert (await bob.post("/fork", repo="nethack"))[0] == 200
    return bob


FORK = {"repo_from": "nethack", "repo_from_username": "bob"}


async def list_titles(reader: Client, path: str) -> list[str]:
    status, found = await reader.pagure(path)
    assert status == 200, found
    return [each["title"] for each in found["requests"]]


async def test_filed_pull_requests_are_listed_newest_first(forge: Forge, nethack: Client, bob: Client) -> None:
    await open_pull_request(bob, title="one", **FORK)
    await open_pull_request(bob, title="two", initial_comment="Please", **FORK)
    await open_pull_request(nethack, title="hers")
    await (await bob.limited(project="nethack")).post("/nethack/pull-request/1/comment", comment="Ping")
    status, found = await forge.nobody.pagure("/user/bob/requests/filed?per_page=1&x=1")
    base = f"{forge.url}/api/0/user/bob/requests/filed?per_page=1&x=1&page="
    requests = found.pop("requests")
    assert (status, found) == (
        200,
        {
            "args": {
                "closed": None, "created": None, "page": 1, "status": "open", "updated": None, "username": "bob",
            },
            "pagination": {
                "first": f"{base}1", "last": f"{base}2", "next": f"{base}2", "page": 1, "pages": 2, "per_page": 1,
                "prev": None,
            },
            "total_requests": 1,
        },
    )  # fmt: skip
    assert requests == [(await bob.pagure("/nethack/pull-request/2"))[1]]
    assert (requests[0]["title"], requests[0]["repo_from"]["fullname"]) == ("two", "forks/bob/nethack")
    second = (await bob.pagure("/user/bob/requests/filed?per_page=1&page=2"))[1]["requests"]
    assert second == [(await bob.pagure("/nethack/pull-request/1"))[1]]
    assert [comment["comment"] for comment in second[0]["comments"]] == ["Ping"]


async def test_a_pull_request_is_listed_after_its_fork_is_deleted(forge: Forge, nethack: Client, bob: Client) -> None:
    await open_pull_request(bob, **FORK)
    assert (await (await bob.limited(project="fork/bob/nethack")).post("/fork/bob/nethack/delete"))[0] == 200
    [found] = (await forge.nobody.pagure("/user/bob/requests/filed"))[1]["requests"]
    assert (found["repo_from"], found["project"]["name"]) == (None, "nethack")


async def three_pull_requests(forge: Forge, author: Client) -> None:
    """#1, open, of 2020; #2, closed, of 2024; #3, merged, of 2025."""
    for number, status, year in ((1, "Open", 2020), (2, "Closed", 2024), (3, "Merged", 2025)):
        await open_pull_request(author)
        at = datetime(year, 6, 1, tzinfo=UTC)
        await forge.db.execute(
            """
            update pull_requests
            set    status = $2, created_at = $3, last_updated = $3, closed_at = $4
            where  number = $1
            """,
            number,
            status,
            at,
            None if status == "Open" else at,
        )


async def test_both_listings_are_filtered_by_status_and_dates(forge: Forge, nethack: Client) -> None:
    await forge.user("bob")
    await grant_access(nethack, "bob", "commit")
    await three_pull_requests(forge, nethack)
    for query, numbers in (
        ("", [1]), ("status=", [1]), ("status=open", [1]), ("status=OPEN", [1]), ("status=closed", [2]),
        ("status=Merged", [3]), ("status=all", [3, 2, 1]), ("status=ALL", [3, 2, 1]), ("status=true", []),
        ("status=all&created=2022-01-01", [3, 2]), ("status=all&created=..2022-01-01", [1]),
        ("status=all&created=2024-06-01..2025-06-01", [3, 2]), ("status=all&created=2024-06-02..2025-05-31", []),
        ("status=all&created=1577836800..1609459200", [1]), ("status=all&updated=2025-01-01", [3]),
        ("status=all&updated=..2024-06-01", [2, 1]), ("status=all&closed=2020-01-01", [3, 2]),
        ("status=all&closed=..2024-12-31", [2]), ("created=2022-01-01", []), ("status=all&per_page=1&page=2", [2]),
        ("status=all&page=9", []),
    ):  # fmt: skip
        for path in ("/user/alice/requests/filed", "/user/bob/requests/actionable"):
            found = (await forge.nobody.pagure(f"{path}?{query}"))[1]
            assert [each["id"] for each in found["requests"]] == numbers, (path, query)
            assert found["total_requests"] == len(numbers)


async def test_the_arguments_are_repeated_as_they_were_given(forge: Forge, nethack: Client) -> None:
    query = "status=Closed&created=2020-01-01..&updated=..1600000000&closed=2020-01-01&page=2&per_page=3"
    for path in ("filed", "actionable"):
        found = (await forge.nobody.pagure(f"/user/alice/requests/{path}?{query}"))[1]
        assert found["args"] == {
            "closed": "2020-01-01", "created": "2020-01-01..", "page": 2, "status": "Closed",
            "updated": "..1600000000", "username": "alice",
        }  # fmt: skip


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("created=x..", "EDATETIME"), ("updated=..99999999999999", "ETIMESTAMP"), ("closed=2020-02-31", "EDATETIME"),
        ("page=0", "EINVALIDREQ"), ("page=x", "EINVALIDREQ"), ("per_page=x", "EINVALIDREQ"),
        ("per_page=101", "EINVALIDPERPAGEVALUE"), ("status=%00", "EINVALIDREQ"),
    ],
)  # fmt: skip
async def test_bad_filters_are_refused(forge: Forge, query: str, code: str) -> None:
    for path in ("filed", "actionable"):
        status, body = await forge.nobody.pagure(f"/user/bob/requests/{path}?{query}")
        assert (status, body["error_code"]) == (400, code)


async def test_an_unknown_user_has_no_pull_requests(forge: Forge, nethack: Client) -> None:
    await open_pull_request(nethack)
    for name in ("ghost", "!alice", "%00", "alice@example.org"):
        for path in ("filed", "actionable"):
            assert await list_titles(forge.nobody, f"/user/{name}/requests/{path}") == []


async def test_actionable_pull_requests_are_those_of_projects_the_user_writes_to(forge: Forge, nethack: Client) -> None:
    bob = await forge.user("bob")
    places = (
        "u-admin",
        "u-commit",
        "u-ticket",
        "u-collaborator",
        "g-admin",
        "g-commit",
        "g-ticket",
        "made",
        "by-admins",
    )
    for name in places:
        await nethack.post("/new", name=name, description="d", create_readme="1")
    await bob.post("/new", name="owned", description="d", create_readme="1")
    await create_group(nethack, "hackers", "bob")
    await create_group(bob, "makers")
    assert (await forge.admin.json("POST", "/v1/groups", {"name": "chiefs", "type": "admin"}))[0] == 201
    assert (await forge.admin.json("PUT", "/v1/groups/chiefs/members/bob"))[0] == 204
    for level in ("admin", "commit", "ticket"):
        await grant_access(nethack, "bob", level, path=f"/u-{level}")
        await grant_access(nethack, "hackers", level, "group", path=f"/g-{level}")
    await add_collaborator(forge, (await bob.pagure("/u-collaborator"))[1]["id"], "bob", "f*")
    await grant_access(nethack, "makers", "commit", "group", path="/made")
    await grant_access(nethack, "chiefs", "commit", "group", path="/by-admins")
    await grant_access(bob, "alice", "commit", path="/owned")
    for name in ("nethack", *places, "owned"):
        await open_pull_request(nethack, f"/{name}", title=name)
        if name in ("u-admin", "owned"):
            await open_pull_request(bob, f"/{name}", title="his own")
    expected = ["owned", "made", "g-commit", "g-admin", "u-commit", "u-admin"]
    assert await list_titles(forge.nobody, "/user/bob/requests/actionable") == expected
    assert await list_titles(forge.nobody, "/user/alice/requests/actionable") == ["his own", "his own"]
    assert await list_titles(forge.nobody, "/user/bob/requests/filed") == ["his own", "his own"]


async def test_pull_requests_of_private_projects_are_listed_to_their_readers(forge: Forge, nethack: Client) -> None:
    people: dict[str, Client] = {name: await forge.user(name) for name in ("bob", "carol", "dave", "erin")}
    await create_group(nethack, "hackers", "dave")
    await nethack.post("/new", name="secret", description="d", private="1", create_readme="1")
    await grant_access(nethack, "bob", "admin", path="/alice/secret")
    await grant_access(nethack, "carol", "ticket", path="/alice/secret")
    await grant_access(nethack, "hackers", "commit", "group", path="/alice/secret")
    await open_pull_request(nethack, "/alice/secret", title="hidden")
    for reader, seen in (
        (nethack, ["hidden"]), (people["bob"], ["hidden"]), (people["carol"], ["hidden"]), (people["dave"], ["hidden"]),
        (forge.admin, ["hidden"]), (people["erin"], []), (forge.nobody, []), (Client(forge, "bad" * 9), []),
    ):  # fmt: skip
        assert await list_titles(reader, "/user/alice/requests/filed") == seen, reader.name
        assert await list_titles(reader, "/user/bob/requests/actionable") == seen, reader.name


async def test_a_page_of_any_size_takes_at_most_two_statements(
    forge: Forge, nethack: Client, bob: Client, statements: list[str]
) -> None:
    for n in range(2):
        await nethack.post("/new", name=f"p{n}", description="d", create_readme="1")
        for path in ("/nethack", f"/p{n}"):
            await open_pull_request(nethack, path)
            await open_pull_request(nethack, path)
        await open_pull_request(bob, **FORK)
        for path, total in (("alice/requests/filed", 4 * (n + 1)), ("alice/requests/actionable", n + 1)):
            statements.clear()
            assert (await forge.nobody.pagure(f"/user/{path}"))[1]["total_requests"] == total
            assert len(statements) <= 2
