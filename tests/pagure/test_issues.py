"""Issues and their comments."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from app.core.issue_metadata import AddDependency
from app.core.tracker import ConfigureTracker
from tests.conftest import Client, Forge
from tests.pagure.trackers import Tracker, invalid_input


async def test_a_new_issue_is_first_in_the_listing(nethack: Client) -> None:
    await nethack.post("/nethack/new_issue", title="Hungry dog", issue_content="Feed it.", tag="pet, food,pet")
    status, body = await nethack.post("/nethack/new_issue", title="Bored cat", issue_content="Play.")
    assert (status, body["message"], body["issue"]["id"]) == (200, "Issue created", 2)
    assert set(body["issue"]) == {
        "assignee", "blocks", "close_status", "closed_at", "closed_by", "comments", "content", "custom_fields",
        "date_created", "depends", "full_url", "id", "last_updated", "milestone", "priority", "private", "related_prs",
        "status", "tags", "title", "user",
    }  # fmt: skip
    _, listing = await nethack.pagure("/nethack/issues")
    assert [(issue["title"], issue["tags"]) for issue in listing["issues"]] == [
        ("Bored cat", []),
        ("Hungry dog", ["food", "pet"]),
    ]
    assert listing["issues"][0] == body["issue"] == (await nethack.pagure("/nethack/issue/2"))[1]
    assert listing["total_issues"] == 2


async def test_json_is_accepted_like_a_form(nethack: Client) -> None:
    status, body = await nethack.json(
        "POST", "/api/0/nethack/new_issue", {"title": "t", "issue_content": "c", "private": False, "milestone": None}
    )
    assert (status, body["issue"]["private"]) == (200, False)
    for broken in (b"{", b"[]", b"\xff"):
        status, body = await nethack.request("POST", "/api/0/nethack/new_issue", data=broken)
        assert (status, body["error_code"]) == (400, "EINVALIDREQ")


async def test_missing_fields_are_named_and_nothing_is_recorded(nethack: Client) -> None:
    status, body = await nethack.post("/nethack/new_issue", title="  ")
    assert (status, body["errors"]) == (
        400,
        {"issue_content": ["This field is required."], "title": ["This field is required."]},
    )
    status, body = await nethack.post("/nethack/new_issue", title="t", issue_content="c", assignee="ghost")
    assert (status, body["error_code"], body["error"]) == (400, "ENOCODE", 'No user "ghost" found')
    status, body = await nethack.post("/nethack/new_issue", title="t\x00", issue_content="c")
    assert (status, body["error_code"]) == (400, "EINVALIDREQ")
    assert (await nethack.pagure("/nethack/issues"))[1]["issues"] == []


async def test_numbers_are_dense_under_concurrent_writes(forge: Forge, nethack: Client) -> None:
    async def one(n: int) -> int:
        status, body = await nethack.post("/nethack/new_issue", title=f"t{n}", issue_content="c")
        assert status == 200, body
        return int(body["issue"]["id"])

    assert sorted(await asyncio.gather(*(one(n) for n in range(40)))) == list(range(1, 41))


async def test_a_comment_is_added_to_the_thread(forge: Forge, nethack: Client) -> None:
    bob = await forge.user("bob")
    await nethack.post("/nethack/new_issue", title="t", issue_content="c")
    status, body = await bob.post("/nethack/issue/1/comment", comment="Me too")
    assert (status, body["message"], body["user"]) == (200, "Comment added", "bob")
    [comment] = (await bob.pagure("/nethack/issue/1"))[1]["comments"]
    assert (comment["comment"], comment["user"]["name"], comment["edited_on"]) == ("Me too", "bob", None)
    assert (await bob.pagure("/nethack/issue/1?comments=0"))[1]["comments"] == []
    status, one = await bob.pagure(f"/nethack/issue/1/comment/{comment['id']}")
    assert (status, one["comment"], "avatar_url" in one, "comment_date" in one) == (200, "Me too", True, True)
    assert (await bob.pagure("/nethack/issue/1/comment/999"))[1]["error_code"] == "ENOCOMMENT"


@pytest.mark.parametrize("number", ["99", "0", "99999999999999999999", "nonsense", "f" * 32])
async def test_an_unknown_issue_is_not_found(nethack: Client, number: str) -> None:
    status, body = await nethack.pagure(f"/nethack/issue/{number}")
    assert (status, body["error_code"]) == (404, "ENOISSUE")


async def test_a_private_issue_is_visible_to_its_author_and_committers(forge: Forge, nethack: Client) -> None:
    bob, carol = await forge.user("bob"), await forge.user("carol")
    status, body = await bob.post("/nethack/new_issue", title="Hole", issue_content="c", private="1")
    assert (status, body["issue"]["private"]) == (200, True)
    for reader, sees in ((bob, True), (nethack, True), (carol, False), (forge.nobody, False)):
        status, body = await reader.pagure("/nethack/issue/1")
        assert status == (200 if sees else 403), reader.name
        assert len((await reader.pagure("/nethack/issues"))[1]["issues"]) == (1 if sees else 0)
    assert body == {"error": "You are not allowed to view this issue", "error_code": "EISSUENOTALLOWED"}
    assert (await carol.post("/nethack/issue/1/comment", comment="?"))[0] == 403
    await forge.numbered()
    seen = (await carol.get("/v1/events?types=issue.*"))[1]["events"]
    assert seen == []


FILTERS = {
    "": [3, 2, 1],
    "order=asc": [1, 2, 3],
    "status=closed": [],
    "status=all": [3, 2, 1],
    "status=open": [3, 2, 1],
    "status=Fixed": [],
    "tags=a": [2, 1],
    "tags=a&tags=c": [3, 2, 1],
    "tags=a&tags=!b": [1],
    "tags=!a": [3],
    "assignee=bob": [2],
    "assignee=!bob": [3, 1],
    "assignee=1": [2],
    "assignee=0": [3, 1],
    "author=alice": [3, 2, 1],
    "author=bob": [],
    "milestones=x": [],
    "no_stones=1": [3, 2, 1],
    "no_stones=0": [],
    "since=2001-01-01": [3, 2, 1],
    "since=4000000000": [],
    "query_id=3": [3],
}


async def test_every_filter_of_the_listing_works(forge: Forge, nethack: Client) -> None:
    await forge.user("bob")
    await nethack.post("/nethack/new_issue", title="1", issue_content="c", tag="a")
    await nethack.post("/nethack/new_issue", title="2", issue_content="c", tag="a,b", assignee="bob")
    await nethack.post("/nethack/new_issue", title="3", issue_content="c", tag="c")
    found = {query: (await nethack.pagure(f"/nethack/issues?{query}"))[1] for query in FILTERS}
    assert {query: [issue["id"] for issue in listing["issues"]] for query, listing in found.items()} == FILTERS


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("priority=urgent", "EINVALIDPRIORITY"),
        ("since=yesterday", "EDATETIME"),
        ("since=99999999999999", "ETIMESTAMP"),
        ("page=x", "EINVALIDREQ"),
    ],
)
async def test_bad_filters_are_refused(nethack: Client, query: str, code: str) -> None:
    status, body = await nethack.pagure(f"/nethack/issues?{query}")
    assert (status, body["error_code"]) == (400, code)


async def test_a_listing_of_twenty_takes_at_most_two_statements(
    nethack: Client, tracker: Tracker, statements: list[str]
) -> None:
    for number in range(1, 21):
        await tracker.issue(assignee="alice", tag="a")
        await tracker.alice.post(f"/nethack/issue/{number}/comment", comment="c")
        await tracker.alice.post(f"/nethack/issue/{number}/custom", reviewer="bob", size="small")
        if number > 1:
            await tracker.execute(AddDependency, number=number, depends_on=number - 1)
    statements.clear()
    status, body = await nethack.pagure("/nethack/issues")
    assert (status, body["total_issues"]) == (200, 20)
    assert len(statements) <= 2  # one finds the actor and the project
    assert body["issues"][5] == (await nethack.pagure("/nethack/issue/15"))[1]
    assert (body["issues"][5]["depends"], body["issues"][5]["blocks"]) == (["14"], ["16"])


TRACKER_FILTERS = {
    "": [4, 1],
    "status=Closed": [3, 2],
    "status=closed": [3, 2],
    "status=Fixed": [2],
    "status=fixed": [],
    "status=ALL": [4, 3, 2, 1],
    "milestones=v1": [1],
    "milestones=v1&milestones=v2&status=all": [2, 1],
    "no_stones=true": [4],
    "no_stones=0": [1],
    "milestones=v1&no_stones=1": [4, 1],
    "priority=1": [1],
    "priority=LOW": [4],
    "assignee=true": [4],
    "assignee=!bob": [1],
}


async def test_priorities_and_milestones_filter_the_listing(nethack: Client, tracker: Tracker) -> None:
    await tracker.add_person("bob")
    for fields in ({"milestone": "v1", "priority": "1"}, {"milestone": "v2"}, {}, {"assignee": "bob", "priority": "2"}):
        await tracker.issue(**fields)
    for number, status in ((2, "Fixed"), (3, "Closed")):
        await tracker.alice.post(f"/nethack/issue/{number}/status", status=status)
    found = {query: (await nethack.pagure(f"/nethack/issues?{query}"))[1] for query in TRACKER_FILTERS}
    assert {query: [issue["id"] for issue in listing["issues"]] for query, listing in found.items()} == TRACKER_FILTERS


async def test_a_listing_repeats_its_arguments_and_links_to_other_pages(
    forge: Forge, nethack: Client, tracker: Tracker
) -> None:
    assert (await nethack.pagure("/nethack/issues"))[1] == {
        "args": {
            "assignee": None, "author": None, "milestones": [], "no_stones": None, "order": None, "priority": None,
            "since": None, "status": None, "tags": [],
        },
        "issues": [],
        "pagination": {
            "first": f"{forge.url}/api/0/nethack/issues?per_page=20&page=1",
            "last": f"{forge.url}/api/0/nethack/issues?per_page=20&page=1",
            "next": None, "page": 1, "pages": 0, "per_page": 20, "prev": None,
        },
        "total_issues": 0,
    }  # fmt: skip
    for _ in range(3):
        await tracker.issue(tag="a", priority="1")
    query = "tags=a&tags=!b&no_stones=y&since=1000&priority=high&assignee=0&author=alice&order=asc&status=all"
    _, body = await nethack.pagure(f"/nethack/issues?{query}&per_page=2&page=2")
    assert body["args"] == {
        "assignee": "0", "author": "alice", "milestones": [], "no_stones": True, "order": "asc", "priority": "high",
        "since": 1000, "status": "all", "tags": ["a", "!b"],
    }  # fmt: skip
    assert ([issue["id"] for issue in body["issues"]], body["total_issues"]) == ([3], 1)
    assert (body["pagination"]["pages"], body["pagination"]["next"]) == (2, None)
    status, body = await nethack.get(body["pagination"]["prev"])
    assert (status, [issue["id"] for issue in body["issues"]]) == (200, [1, 2])


async def test_private_issues_are_listed_to_author_assignee_and_committers(
    forge: Forge, nethack: Client, tracker: Tracker
) -> None:
    author, assignee = await tracker.add_person("author"), await tracker.add_person("assignee")
    committer = await tracker.add_person("committer", "commit")
    others = [await tracker.add_person(level, level) for level in ("ticket", "collaborator")]
    await tracker.issue(author, private="1", assignee="assignee")
    for reader in (author, assignee, committer, *others, forge.nobody):
        seen = reader in (author, assignee, committer)
        assert (await reader.pagure("/nethack/issues"))[1]["total_issues"] == seen, reader.name
        assert (await reader.pagure("/nethack/issue/1"))[0] == (200 if seen else 403), reader.name


async def test_a_single_comment_shows_its_date_and_avatar(nethack: Client) -> None:
    await nethack.post("/nethack/new_issue", title="t", issue_content="c")
    await nethack.post("/nethack/issue/1/comment", comment="c")
    [comment] = (await nethack.pagure("/nethack/issue/1"))[1]["comments"]
    uid = await nethack.forge.db.fetchval("select uid from issues")
    for key in ("1", uid):
        status, one = await nethack.pagure(f"/nethack/issue/{key}/comment/{comment['id']}")
        avatar, date = one.pop("avatar_url"), one.pop("comment_date")
        assert (status, one) == (200, comment)
        assert avatar.endswith("?s=16&d=retro")
        shown_at = datetime.strptime(date, "%Y-%m-%d %H:%M").replace(tzinfo=UTC)
        assert 0 <= int(comment["date_created"]) - shown_at.timestamp() < 60


async def test_a_comment_is_found_only_at_its_own_issue(forge: Forge, nethack: Client) -> None:
    carol = await forge.user("carol")
    await nethack.post("/new", name="other", description="d")
    for path, private in (("/nethack", "1"), ("/nethack", ""), ("/other", "")):
        await nethack.post(f"{path}/new_issue", title="t", issue_content="c", private=private)
    await nethack.post("/nethack/issue/1/comment", comment="c")
    [comment] = (await nethack.pagure("/nethack/issue/1"))[1]["comments"]
    uid = await forge.db.fetchval("select uid from issues where private")
    for issue, answer in (
        ("/nethack/issue/1", (403, "EISSUENOTALLOWED")), (f"/nethack/issue/{uid}", (403, "EISSUENOTALLOWED")),
        ("/nethack/issue/2", (404, "ENOCOMMENT")), ("/other/issue/1", (404, "ENOCOMMENT")),
        (f"/other/issue/{uid}", (404, "ENOISSUE")),
    ):  # fmt: skip
        status, body = await carol.pagure(f"{issue}/comment/{comment['id']}")
        assert (status, body["error_code"]) == answer, issue
    assert (await nethack.pagure(f"/nethack/issue/{uid}/comment/{comment['id']}"))[0] == 200


async def test_a_blank_comment_is_refused(nethack: Client) -> None:
    await nethack.post("/nethack/new_issue", title="t", issue_content="c")
    for form in ({}, {"comment": " \n"}):
        status, body = await nethack.post("/nethack/issue/1/comment", **form)
        assert (status, body["errors"]) == (400, {"comment": ["This field is required."]})
        assert (await nethack.post("/nethack/issue/2/comment", **form))[1]["error_code"] == "ENOISSUE"


async def test_a_token_of_another_project_is_refused_without_details(forge: Forge, nethack: Client) -> None:
    await nethack.post("/new", name="other", description="d")
    status, issued = await nethack.json("POST", "/v1/users/alice/tokens", {"description": "t", "project": "other"})
    assert status == 201
    bound = Client(forge, issued["token"], "alice")
    status, body = await bound.post("/nethack/new_issue", title="t", issue_content="c")
    assert (status, body["error_code"], "errors" in body) == (401, "EINVALIDTOK", False)
    assert (await bound.post("/other/new_issue", title="t", issue_content="c"))[0] == 200


async def test_all_errors_of_a_new_issue_are_reported_at_once(nethack: Client, tracker: Tracker) -> None:
    choice, required = ["Not a valid choice"], ["This field is required."]
    for form, errors in (
        ({}, {"title": required, "issue_content": required}),
        (
            {"title": " ", "issue_content": "c", "priority": "High", "milestone": "v3"},
            {"title": required, "priority": choice, "milestone": choice},
        ),
        ({"title": "t", "issue_content": "c", "priority": "3"}, {"priority": choice}),
    ):
        assert await nethack.post("/nethack/new_issue", **form) == invalid_input(**errors)
    assert (await nethack.pagure("/nethack/issues"))[1]["issues"] == []


async def test_a_new_issue_has_only_the_given_fields(nethack: Client, tracker: Tracker) -> None:
    await tracker.execute(ConfigureTracker, changed={"default_priority": "High", "milestones_keys": ["v2", "v1"]})
    await tracker.configure(issues_default_to_private=True)
    bob = await tracker.add_person("bob")
    form = {"priority": 2, "milestone": "v2", "tag": " b ,a,, b", "assignee": " BOB@example.org ", "private": "no"}
    status, body = await bob.json("POST", "/api/0/nethack/new_issue", {"title": " t ", "issue_content": " c", **form})
    issue = body["issue"]
    assert (status, body["message"]) == (200, "Issue created")
    assert (issue["title"], issue["content"], issue["private"]) == (" t ", " c", True)
    assert (issue["priority"], issue["milestone"], issue["tags"]) == (2, "v2", ["a", "b"])
    assert (issue["assignee"]["name"], issue["user"]["name"], issue["status"]) == ("bob", "bob", "Open")
    assert (issue["full_url"], issue["comments"]) == (f"{nethack.forge.url}/nethack/issue/1", [])
    assert issue["date_created"] == issue["last_updated"]
    plain = {"priority": "", "milestone": "", "tag": ",", "assignee": " ", "private": "False"}
    _, body = await bob.post("/nethack/new_issue", title="t", issue_content="c", **plain)
    nothing = {"priority": None, "milestone": None, "tags": [], "assignee": None, "private": False}
    assert {key: body["issue"][key] for key in nothing} == nothing
    _, tags = await nethack.pagure("/nethack/tag/a")
    assert (tags["tag"], tags["tag_color"], tags["tag_description"]) == ("a", "DeepSkyBlue", "")


UNUSUAL_FILTERS = {
    "tags=a&tags=!a": [], "tags=%20a%20": [1], "tags=a,b": [], "tags=!a&tags=!b": [3], "tags=": [3, 2, 1],
    "since=0": [3, 2, 1], "order=ascending": [3, 2, 1], "no_stones=nonsense": [], "status=OPEN": [3, 2, 1],
}  # fmt: skip


async def test_unusual_filters_are_read_as_pagure_reads_them(nethack: Client) -> None:
    for tag in ("a", "b", ""):
        await nethack.post("/nethack/new_issue", title="t", issue_content="c", tag=tag)
    found = {query: (await nethack.pagure(f"/nethack/issues?{query}"))[1] for query in UNUSUAL_FILTERS}
    assert {query: [issue["id"] for issue in listing["issues"]] for query, listing in found.items()} == UNUSUAL_FILTERS


async def test_since_filters_by_the_last_change(nethack: Client, tracker: Tracker) -> None:
    for _ in range(2):
        await tracker.issue()
    await nethack.forge.db.execute("update issues set updated_at = now() - interval '3 days' where number = 1")
    day = (datetime.now(UTC) - timedelta(days=2)).strftime("%Y-%m-%d")
    assert [each["id"] for each in (await nethack.pagure(f"/nethack/issues?since={day}"))[1]["issues"]] == [2]
    await nethack.post("/nethack/issue/1/comment", comment="c")
    assert [each["id"] for each in (await nethack.pagure(f"/nethack/issues?since={day}"))[1]["issues"]] == [2, 1]
    # The moment itself is included, and so is the beginning of a day.
    await nethack.forge.db.execute("update issues set updated_at = '2020-02-02T00:00Z'")
    for since, found in (("2020-02-02", 2), ("1580601600", 2), ("1580601601", 0), ("2020-02-03", 0)):
        assert (await nethack.pagure(f"/nethack/issues?since={since}"))[1]["total_issues"] == found, since


async def test_the_token_is_checked_before_anything_else(forge: Forge, nethack: Client, tracker: Tracker) -> None:
    stale = Client(forge, "stale", "nobody")
    for path in ("/issues?page=x", "/issue/99?comments=%00", "/issue/99/comment/1"):
        status, body = await stale.pagure(f"/gone{path}")
        assert (status, body["error_code"], body["errors"]) == (401, "EINVALIDTOK", "Invalid token")
        assert (await nethack.pagure(f"/gone{path}"))[1]["error_code"] == "ENOPROJECT"
    # Except where Pagure does not check tokens.
    assert (await stale.pagure("/nethack/issues/history/stats"))[0] == 200
