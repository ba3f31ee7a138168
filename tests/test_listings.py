"""A listing of twenty costs as many statements as one of two: those that find who asks and whose it is, and its own."""

import asyncio
from pathlib import Path

import pytest

from tests.conftest import Client, Forge, commit, git

COUNT = 20
# Where each listing is, what its rows are under, and how many statements it takes at most.
LISTINGS = {
    "projects": ("/projects?per_page=20", "projects", 2),
    "projects by pattern": ("/projects?per_page=20&pattern=listed*", "projects", 2),
    "issues": ("/nethack/issues?per_page=20", "issues", 2),
    "issues by tag": ("/nethack/issues?per_page=20&tags=pet", "issues", 2),
    "pull requests": ("/nethack/pull-requests?per_page=20", "requests", 2),
    "users": ("/users", "users", 2),
    "groups": ("/groups?per_page=20", "groups", 2),
    "tags": ("/nethack/tags", "tags", 2),
    "branches": ("/nethack/git/branches", "branches", 2),
    # One more finds the group.
    "group projects": ("/group/group0?projects=1&per_page=20", "projects", 3),
    # One finds the user; there are two listings of projects, whose rows are read together.
    "user page": ("/user/alice?per_page=20", "repos", 4),
    # There are two listings here too, and one for the projects of both.
    "user issues": ("/user/alice/issues?per_page=20", "issues_created", 3),
}


async def fill(forge: Forge, alice: Client, work: Path) -> None:
    """Twenty of everything."""
    await git("clone", "-q", alice.git_url("nethack"), str(work))
    await git("checkout", "-qb", "branch0", cwd=work)
    await commit(work)
    await git("push", "-q", "origin", *(f"HEAD:refs/heads/branch{n}" for n in range(COUNT)), cwd=work)
    for n in range(COUNT):
        await forge.admin.json("POST", "/v1/users", {"username": f"user{n}", "email": f"user{n}@example.org"})
        await alice.json("POST", "/v1/groups", {"name": f"group{n}"})
        await alice.post("/new", name=f"listed{n}", description="d", wait="0")
        await alice.post(f"/listed{n}/git/modifyacls", user_type="group", name="group0", acl="commit")
        await alice.post("/nethack/new_issue", title="t", issue_content="c", tag=f"pet,tag{n}")
        form = {"title": "t", "branch_to": "main", "branch_from": f"branch{n}"}
        assert (await alice.post("/nethack/pull-request/new", **form))[0] == 200
    for n in range(1, 2 * COUNT):
        await asyncio.gather(
            alice.post(f"/nethack/issue/{n}/comment", comment="c"),
            alice.post(f"/nethack/pull-request/{n}/comment", comment="c"),
        )
    await forge.idle()


@pytest.fixture
async def full(forge: Forge, nethack: Client, tmp_path: Path) -> Forge:
    await fill(forge, nethack, tmp_path / "nethack")
    return forge


async def test_a_listing_of_twenty_costs_few_statements(full: Forge, statements: list[str]) -> None:
    taken, most = {}, {}
    for name, (path, rows, limit) in LISTINGS.items():
        statements.clear()
        status, body = await full.nobody.pagure(path)
        assert status == 200, (name, body)
        assert len(body[rows]) >= COUNT, name
        taken[name], most[name] = len(statements), limit
    assert {name: count for name, count in taken.items() if count > most[name]} == {}
