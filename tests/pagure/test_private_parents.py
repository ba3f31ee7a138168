"""Forks of private projects, which show their parent only to those who may read it."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.conftest import Client, Forge
from tests.pagure.pulls import create_branch
from tests.pagure.test_sharing import create_group, grant_access

SECRET, FORK = "/alice/secret", "/fork/bob/alice/secret"
PAGES = [
    FORK, f"{FORK}/hascommit?user=bob&branch=main", f"{FORK}/pull-requests", f"{FORK}/pull-request/2",
    "/user/bob/issues", "/user/bob/requests/filed", "/user/bob/requests/actionable",
    "/group/hackers?projects=1",
]  # fmt: skip


@pytest.fixture
async def bob(forge: Forge, alice: Client) -> Client:
    """Bob, with a fork of alice's private project, in which he and carol have an issue and a pull request each."""
    bob, carol = await forge.user("bob"), await forge.user("carol")
    assert (await alice.post("/new", name="secret", description="d", private="1", create_readme="1"))[0] == 200
    await grant_access(alice, "bob", "ticket", path=SECRET)
    assert (await bob.post("/fork", repo="secret", namespace="alice"))[0] == 200
    await bob.post(f"{FORK}/options/update", issue_tracker="1", pull_requests="1")
    await grant_access(bob, "carol", "commit", path=FORK)
    await create_group(carol, "hackers")
    await grant_access(bob, "hackers", "commit", "group", path=FORK)
    await create_branch(bob, path=FORK)
    for client in (bob, carol):
        assert (await client.post(f"{FORK}/new_issue", title="t", issue_content="c"))[0] == 200
        form = {"title": "t", "branch_to": "main", "branch_from": "still"}
        assert (await client.post(f"{FORK}/pull-request/new", **form))[0] == 200
    return bob


def find_forks(shown: Any) -> Iterator[Any]:
    """Find the fork anywhere in a response."""
    for value in shown.values() if isinstance(shown, dict) else shown if isinstance(shown, list) else ():
        yield from find_forks(value)
    if isinstance(shown, dict) and shown.get("url_path") == FORK[1:]:
        yield shown


async def list_parents(client: Client) -> set[str | None]:
    """Return the name of the fork's parent on each page; they must agree."""
    uid = await client.forge.db.fetchval("select uid from pull_requests where author = 'carol'")
    found = set()
    for page in (*PAGES, f"/pull-requests/{uid}"):
        status, shown = await client.pagure(page)
        there = list(find_forks(shown))
        assert (status, there != []) == (200, True), page
        found |= {fork["parent"] and fork["parent"]["fullname"] for fork in there}
    return found


async def test_a_private_parent_is_shown_to_those_who_may_read_it(forge: Forge, alice: Client, bob: Client) -> None:
    carol = Client(forge, (await forge.user("carol")).token, "carol")
    for _ in range(2):  # a cached project is not shown to another user
        assert await list_parents(bob) == await list_parents(forge.admin) == {"alice/secret"}
        assert await list_parents(carol) == {None}
    bound = await bob.limited(project=FORK[1:])
    assert await list_parents(bound) == {None}
    assert (await bound.post(f"{FORK}/git/modifyacls", user_type="user", name="carol", acl="ticket"))[1][
        "parent"
    ] is None
    assert (await bound.post(f"{FORK}/pull-request/2", title="t"))[1]["project"]["parent"] is None

    await grant_access(alice, "carol", "ticket", path=SECRET)
    await grant_access(alice, "bob", "", path=SECRET)
    assert await list_parents(bob) == {None}
    assert {fork["parent"]["name"] for fork in find_forks((await carol.pagure(FORK))[1])} == {"secret"}
    assert (await bound.post(f"{FORK}/delete"))[1]["project"]["parent"] is None
