"""A token issues no token that may do more or lasts longer, and one of a project reaches no group."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from app.core.access import PROJECT_ACLS
from tests.conftest import Client, Forge


def in_days(days: int) -> datetime:
    return datetime.now(UTC).replace(microsecond=0) + timedelta(days=days)


async def issue(client: Client, **form: Any) -> tuple[int, Any]:
    return await client.post("/nethack/token/new", **form)


@pytest.mark.parametrize("bound", [None, "nethack"], ids=["anywhere", "its project"])
async def test_a_token_passes_on_only_the_scopes_that_it_has(nethack: Client, bound: str | None) -> None:
    mine = {"modify_project", "commit"}
    limited = await nethack.limited(acls=sorted(mine), project=bound)
    for acl in sorted(PROJECT_ACLS - mine):
        status, body = await issue(limited, acls=[acl, "commit"])
        assert (status, body["error_code"], body["errors"]) == (401, "EINVALIDTOK", f"Missing ACLs: {acl}")
    assert (await issue(limited, acls=sorted(mine)))[0] == 200
    assert (await issue(nethack, acls=sorted(PROJECT_ACLS)))[0] == 200


async def test_a_token_of_a_project_ends_with_the_token_that_issued_it(forge: Forge, nethack: Client) -> None:
    end = in_days(10)
    limited = await nethack.limited(acls=["modify_project"], expires_at=end.isoformat())
    assert (await issue(limited, acls="modify_project", expiration_date=str(end.date())))[0] == 200
    status, body = await issue(limited, acls="modify_project", expiration_date=str(in_days(11).date()))
    sentence = f"The new token would outlive this one, which expires at {end.isoformat()}."
    assert (status, body["errors"]) == (400, {"expiration_date": [sentence]})
    assert (await issue(limited, acls="modify_project"))[0] == 200
    rows = await forge.db.fetch("select expires_at from tokens where project_id is not null order by created_at")
    assert [row["expires_at"] for row in rows] == [end.replace(hour=0, minute=0, second=0), end]


async def test_a_token_of_a_user_ends_with_the_token_that_issued_it(forge: Forge, alice: Client) -> None:
    end = in_days(10).isoformat()
    path, new = "/v1/users/alice/tokens", {"description": "d"}
    for client in (await alice.limited(expires_at=end), await forge.admin.limited(expires_at=end)):
        status, problem = await client.json("POST", path, {**new, "expires_at": in_days(11).isoformat()})
        assert (status, problem["errors"][0]["pointer"]) == (422, "/expires_at")
        assert end in problem["detail"]
        status, issued = await client.json("POST", path, new)
        assert (status, datetime.fromisoformat(issued["expires_at"]).isoformat()) == (201, end)
        assert (await client.json("POST", path, {**new, "expires_at": in_days(9).isoformat()}))[0] == 201
    assert (await alice.json("POST", path, new))[1]["expires_at"] is None


@pytest.mark.parametrize("acls", [None, ["group_modify", "create_project", "fork_project"]], ids=["any scope", "these"])
async def test_a_token_of_a_project_reaches_no_group(forge: Forge, nethack: Client, acls: list[str] | None) -> None:
    await forge.user("bob")
    assert (await nethack.json("POST", "/v1/groups", {"name": "hackers"}))[0] == 201
    bound = await nethack.limited(project="nethack", acls=acls)
    for path in ("/group/hackers/add", "/group/hackers/remove"):
        status, body = await bound.post(path, user="bob")
        assert (status, body["error_code"]) == (401, "EINVALIDTOK")
    for method in ("PUT", "DELETE"):
        assert (await bound.json(method, "/v1/groups/hackers/members/bob"))[0] == 403
    assert (await bound.json("POST", "/v1/groups", {"name": "others"}))[0] == 403
    assert await forge.db.fetchval("select count(*) from group_members") == 1
    assert await forge.db.fetchval("select count(*) from groups") == 1


async def test_a_token_of_a_project_creates_and_forks_others_with_the_scope_for_it(
    forge: Forge, nethack: Client
) -> None:
    bob = await forge.user("bob")
    assert (await bob.post("/new", name="moria", description="d"))[0] == 200
    bound = await nethack.limited(project="nethack", acls=["create_project", "fork_project"])
    assert (await bound.post("/new", name="angband", description="d"))[0] == 200
    assert (await bound.post("/fork", repo="moria"))[0] == 200
    narrow = await nethack.limited(project="nethack", acls=["modify_project"])
    assert (await narrow.post("/new", name="zangband", description="d"))[0] == 401
