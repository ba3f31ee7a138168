"""The hook token, which signs a project's web hooks."""

import asyncio
import re
from typing import Any

import pytest

from tests.conftest import Client, Forge
from tests.pagure.test_sharing import ADDRESSES, NO_PROJECT, NOT_HIGH_ENOUGH, create_group, four_projects, grant_access

KEY = re.compile(r"[A-Z0-9]{40}\Z")


async def read_hook_token(client: Client, path: str = "/nethack") -> str:
    status, body = await client.pagure(f"{path}/webhook/token")
    assert (status, body.keys(), body["webhook"].keys(), body["status"]) == (
        200, {"status", "webhook"}, {"token"}, "ok",
    )  # fmt: skip
    assert client.headers["Cache-Control"] == "no-store"
    assert KEY.match(body["webhook"]["token"])
    return str(body["webhook"]["token"])


async def test_each_project_has_a_permanent_hook_token(alice: Client) -> None:
    await four_projects(alice)
    keys = [await read_hook_token(alice, path) for path in ADDRESSES]
    assert len(set(keys)) == 4
    assert [await read_hook_token(alice, path) for path in ADDRESSES] == keys


async def test_the_connector_shows_the_hook_token_and_ids_of_api_tokens(nethack: Client) -> None:
    made = (await nethack.post("/nethack/token/new", acls="commit", description="CI"))[1]["token"]["id"]
    status, body = await nethack.pagure("/nethack/connector")
    assert (status, body.keys(), body["connector"].keys()) == (
        200, {"connector", "status"}, {"api_tokens", "hook_token"},
    )  # fmt: skip
    assert nethack.headers["Cache-Control"] == "no-store"
    assert body["connector"]["hook_token"] == await read_hook_token(nethack)
    assert [each["description"] for each in body["connector"]["api_tokens"]] == ["CI"]
    assert made not in str(body)


async def test_concurrent_first_requests_get_the_same_hook_token(nethack: Client) -> None:
    assert len(set(await asyncio.gather(*(read_hook_token(nethack) for _ in range(8))))) == 1


async def test_the_hook_token_takes_access_in_ones_own_name(forge: Forge, nethack: Client) -> None:
    bob, carol, dave = [await forge.user(name) for name in ("bob", "carol", "dave")]
    await grant_access(nethack, "bob", "ticket")
    await create_group(nethack, "hackers", "carol")
    await grant_access(nethack, "hackers", "admin", "group")
    assert await read_hook_token(bob) == await read_hook_token(nethack)
    for other in (carol, dave, forge.admin):
        assert await other.pagure("/nethack/webhook/token") == (401, NOT_HIGH_ENOUGH)
    status, body = await forge.nobody.pagure("/nethack/webhook/token")
    assert (status, body["error_code"], body["errors"]) == (401, "EINVALIDTOK", "Invalid token")
    await nethack.post("/new", name="other", description="d")
    elsewhere = await nethack.limited(project="other")
    status, body = await elsewhere.pagure("/nethack/webhook/token")
    assert (status, body["error_code"], "errors" in body) == (401, "EINVALIDTOK", False)
    assert await read_hook_token(await nethack.limited(acls=["commit"], project="nethack")) == await read_hook_token(
        nethack
    )


async def test_the_hook_token_of_a_private_project_is_not_found_by_strangers(forge: Forge, alice: Client) -> None:
    await alice.post("/new", name="secret", description="d", private="1")
    bob = await forge.user("bob")
    assert await bob.pagure("/alice/secret/webhook/token") == (404, NO_PROJECT)
    assert await read_hook_token(alice, "/alice/secret")


async def wait_until_deleted(forge: Forge, left: int = 0) -> None:
    async with asyncio.timeout(10):
        while await forge.db.fetchval("select count(*) from project_secrets") != left:
            await asyncio.sleep(0.02)


async def test_secrets_are_deleted_with_their_project(forge: Forge, nethack: Client) -> None:
    await nethack.post("/new", name="other", description="d")
    await read_hook_token(nethack, "/other")
    await read_hook_token(nethack)
    await nethack.post("/nethack/settings/IRC/install", nick_pass="opensesame")
    assert await forge.db.fetchval("select count(*) from project_secrets") == 3
    assert (await (await nethack.limited(project="nethack")).post("/nethack/delete"))[0] == 200
    await wait_until_deleted(forge, 1)
    assert KEY.match(await read_hook_token(nethack, "/other"))


@pytest.mark.parametrize("ask", ["/nethack/webhook/token", "/nethack/connector"])
async def test_the_hook_token_is_in_no_event_and_no_command(forge: Forge, nethack: Client, ask: str) -> None:
    body: Any = (await nethack.pagure(ask))[1]
    key = body.get("webhook", {}).get("token") or body["connector"]["hook_token"]
    for table in ("events", "commands"):
        assert not await forge.db.fetchval(f"select count(*) from {table} where {table}::text like $1", f"%{key}%")
