"""Users and the instance, as RhodeCode's clients see them; both dialects show the same user."""

from typing import Any

import pytest

from tests.conftest import Client, Forge
from tests.rpc import KALLITHEA, Rpc

USER_KEYS = {
    "user_id", "username", "firstname", "lastname", "email", "emails", "active", "admin", "extern_type", "extern_name",
    "ldap_dn", "last_login", "last_activity", "ip_addresses", "language", "description", "api_key", "api_keys",
    "auth_tokens",
}  # fmt: skip


async def test_a_user_sees_their_own_account(rpc: Rpc) -> None:
    shown = await rpc.ask("get_user")
    assert shown.keys() == USER_KEYS | {"permissions", "permissions_summary"}
    assert (shown["username"], shown["email"], shown["emails"]) == ("alice", "alice@example.org", ["alice@example.org"])
    assert (shown["active"], shown["admin"]) == (True, False)
    assert shown["permissions"] == shown["permissions_summary"]
    assert shown["permissions"].keys() == {"global", "repositories", "repositories_groups", "user_groups"}
    assert "hg.create.repository" in shown["permissions"]["global"]


async def test_keys_are_shown_by_their_beginnings_and_to_few(rpc: Rpc, admin: Rpc) -> None:
    token = str(rpc.client.token)
    for reader in (rpc, admin):
        shown = await reader.ask("get_user", **({"userid": "alice"} if reader is admin else {}))
        assert shown["api_keys"] == shown["auth_tokens"] == [token[:8] + "*" * 32]
        assert shown["api_key"] == shown["api_keys"][0]


async def test_others_may_be_seen_by_administrators_only(rpc: Rpc, admin: Rpc) -> None:
    own = (await rpc.ask("get_user"))["user_id"]
    for userid in ("alice", "admin", "unknown", own + 1, True, [own]):
        assert await rpc.fail("get_user", userid=userid) == "userid is not the same as your user"
    for userid in (own, str(own)):
        assert (await rpc.ask("get_user", userid=userid))["username"] == "alice"
        assert (await admin.ask("get_user", userid=userid))["username"] == "alice"


@pytest.mark.parametrize("userid", ["Alice", "nobody", 10**30, -1, 0, 1.5, {}, "x\x00", "9" * 30])
async def test_an_unknown_user_is_named_as_it_was_sent(admin: Rpc, userid: Any) -> None:
    assert await admin.fail("get_user", userid=userid) == f"user `{userid}` does not exist"


async def test_a_name_goes_before_a_number(admin: Rpc) -> None:
    number = (await admin.ask("get_user"))["user_id"]
    await admin.client.json("POST", "/v1/users", {"username": str(number), "email": "number@example.org"})
    assert (await admin.ask("get_user", userid=str(number)))["username"] == str(number)
    assert (await admin.ask("get_user", userid=number))["username"] == "admin"


async def test_permissions_follow_grants_and_ownership(nethack: Client, rpc: Rpc, admin: Rpc) -> None:
    bob = Rpc(await nethack.forge.user("bob"), rpc.address)
    await nethack.json("POST", "/v1/groups", {"name": "hackers"})
    assert (await nethack.post("/new", name="secret", description="d", private="1"))[0] == 200

    async def ask(reader: Rpc) -> tuple[Any, Any]:
        permissions = (await reader.ask("get_user"))["permissions"]
        return permissions["repositories"], permissions["user_groups"]

    everything = {"nethack": "repository.admin", "alice/secret": "repository.admin"}
    assert await ask(rpc) == await ask(admin) == (everything, {"hackers": "usergroup.admin"})
    assert await ask(bob) == ({"nethack": "repository.read"}, {"hackers": "usergroup.read"})
    await nethack.json("PUT", "/v1/groups/hackers/members/bob")
    await nethack.post("/nethack/git/modifyacls", user_type="group", name="hackers", acl="commit")
    assert await ask(bob) == ({"nethack": "repository.write"}, {"hackers": "usergroup.admin"})


async def test_a_bound_token_shows_only_what_it_may_see(nethack: Client, rpc: Rpc) -> None:
    for name in ("secret", "other"):
        assert (await nethack.post("/new", name=name, description="d", private="1"))[0] == 200
    await nethack.json("POST", "/v1/groups", {"name": "hackers"})
    bound = Rpc(await nethack.limited(project="alice/secret", acls=["modify_project"]), rpc.address)
    permissions = (await bound.ask("get_user"))["permissions"]
    assert permissions["repositories"] == {"nethack": "repository.read", "alice/secret": "repository.admin"}
    assert permissions["user_groups"] == {"hackers": "usergroup.read"}
    assert [each["repo_name"] for each in await bound.ask("get_repos")] == ["alice/secret", "nethack"]


async def test_administrators_with_a_limited_token_are_ordinary_users(nethack: Client, rpc: Rpc, admin: Rpc) -> None:
    bound = Rpc(await admin.client.limited(project="nethack"), rpc.address)
    scoped = Rpc(await admin.client.limited(acls=["modify_project"]), rpc.address)
    for limited in (bound, scoped):
        assert await limited.fail("get_user", userid="alice") == "userid is not the same as your user"
        assert await limited.fail("get_users") == "Access was denied to this resource."
        own = await limited.ask("get_user")
        assert own["username"] == "admin"
        assert "hg.admin" not in own["permissions"]["global"]
        assert own["api_keys"] == ["*" * 40]
        [follower] = (await limited.ask("get_repo", repoid="nethack"))["followers"]
        assert (follower["username"], follower["email"]) == ("alice", None)
    assert "hg.admin" in (await admin.ask("get_user"))["permissions"]["global"]


async def test_a_blocked_user_may_only_read(nethack: Client, rpc: Rpc) -> None:
    assert (await (await nethack.limited(project="nethack")).post("/nethack/blockuser", username="alice"))[0] == 200
    assert (await rpc.ask("get_user"))["permissions"]["repositories"] == {"nethack": "repository.read"}


async def test_an_address_is_shown_to_its_user_and_to_administrators(nethack: Client, rpc: Rpc, admin: Rpc) -> None:
    bob = Rpc(await nethack.forge.user("bob"), rpc.address)
    await rpc.ask("create_user_group", group_name="hackers")
    for reader, email in ((rpc, "alice@example.org"), (admin, "alice@example.org"), (bob, None)):
        shown = [
            *(await reader.ask("get_user_group", usergroupid="hackers"))["users"],
            *(await reader.ask("get_user_groups"))[0]["members"],
            *(await reader.ask("get_repo", repoid="nethack"))["followers"],
        ]
        assert [each["username"] for each in shown] == ["alice"] * 3
        assert [(each["email"], each["emails"]) for each in shown] == [(email, [email] if email else [])] * 3


async def test_administrators_list_users_by_name(forge: Forge, rpc: Rpc, admin: Rpc, statements: list[str]) -> None:
    for number in range(20):
        await forge.admin.json("POST", "/v1/users", {"username": f"user{number}", "email": f"u{number}@example.org"})
    statements.clear()
    shown = await admin.ask("get_users")
    assert len(statements) == 2
    names = [each["username"] for each in shown]
    assert names == sorted(names)
    assert len(names) == 22
    assert all(each.keys() == USER_KEYS for each in shown)
    assert await rpc.fail("get_users") == "Access was denied to this resource."


async def test_administrators_create_users(admin: Rpc) -> None:
    made = await admin.ask("create_user", username="bob", email="Bob@Example.org", firstname="Bob", lastname="Roe")
    assert made["msg"] == "created new user `bob`"
    shown = made["user"]
    assert shown.keys() == USER_KEYS
    assert (shown["firstname"], shown["lastname"], shown["email"]) == ("Bob", "Roe", "bob@example.org")
    assert (shown["admin"], shown["active"]) == (False, True)
    assert (await admin.ask("create_user", username="eve", email="eve@example.org", admin="True"))["user"]["admin"]


async def test_a_taken_name_or_address_is_refused_in_any_case(admin: Rpc) -> None:
    for name in ("alice", "ALICE"):
        error = await admin.fail("create_user", username=name, email="alice@example.org")
        assert error == f"user `{name}` already exist"
    error = await admin.fail("create_user", username="bob", email="ALICE@example.org")
    assert error == "email `ALICE@example.org` already exist"


@pytest.mark.parametrize(
    "changed",
    [{"username": "-"}, {"email": "x"}, {"active": "false"}, {"extern_type": "ldap"}, {"extern_name": "cn=bob"}],
)
async def test_a_user_that_the_forge_cannot_have_is_refused(admin: Rpc, changed: dict[str, Any]) -> None:
    sent = {"username": "bob", "email": "bob@example.org", **changed}
    assert await admin.fail("create_user", **sent) == f"failed to create user `{sent['username']}`"


async def test_a_taken_name_comes_before_what_the_forge_cannot_have(admin: Rpc, rpc: Rpc) -> None:
    for more in ({"active": False}, {"extern_type": "ldap"}, {"password": "x" * 2000}):
        error = await admin.fail("create_user", username="alice", email="new@example.org", **more)
        assert error == "user `alice` already exist"
        error = await admin.fail("create_user", username="bob", email="alice@example.org", **more)
        assert error == "email `alice@example.org` already exist"
        error = await rpc.fail("create_user", username="alice", email="new@example.org", **more)
        assert error == "Access was denied to this resource."


async def test_missing_and_unknown_arguments_come_before_rights_and_wrong_values_after(rpc: Rpc) -> None:
    kallithea = rpc.address == KALLITHEA
    missing = "email" if kallithea else "username"
    assert await rpc.fail("create_user") == f"Missing non optional `{missing}` arg in JSON DATA"
    denied = "Access was denied to this resource."
    assert await rpc.fail("get_users", foo=1) == ("Unknown `foo` arg in JSON DATA" if kallithea else denied)
    assert await rpc.fail("create_user", username="bob", email="b@example.org", admin=[]) == denied


@pytest.mark.parametrize(("name", "value"), [("active", "perhaps"), ("admin", [])])
async def test_a_truth_value_must_be_one(admin: Rpc, name: str, value: Any) -> None:
    error = await admin.fail("create_user", username="bob", email="bob@example.org", **{name: value})
    assert error == f"{value} value cannot be translated to bool"


async def test_an_error_does_not_show_a_password_or_a_key(admin: Rpc) -> None:
    sent = {"username": "bob", "email": "bob@example.org"}
    for password in ({"x": "correct horse"}, ["correct horse"], True):
        error = await admin.fail("create_user", **sent, password=password)
        assert error == "*** value cannot be translated to str"
    error = await admin.fail("get_user", userid={"password": "correct horse"})
    assert error == "user `{'password': \"***\"}` does not exist"
    assert await admin.fail("get_user", userid=admin.client.token) == "user `***` does not exist"
    issued = "pf_" + "0" * 46
    assert await admin.fail("get_user", userid=issued) == "user `***` does not exist"
    for method in (issued, admin.client.token):
        assert (await admin.fail(str(method))).startswith("No such method: ***")
    assert await admin.fail("get_user", userid=[admin.client.token]) == "user `['***']` does not exist"


async def test_an_error_shows_the_beginning_of_what_is_long(admin: Rpc) -> None:
    long, cut = "x" * 100_000, "x" * 255 + "..."
    assert await admin.fail("get_user", userid=long) == f"user `{cut}` does not exist"
    assert await admin.fail("get_repo", repoid=long) == f"repository `{cut}` does not exist"
    assert await admin.fail("get_user_group", usergroupid=long) == f"user group `{cut}` does not exist"
    assert (await admin.fail(long)).startswith(f"No such method: {cut}")
    several = "[0, 0, 0, 0, 0, 0, ...]"
    assert await admin.fail("get_user", userid=[0] * 100_000) == f"user `{several}` does not exist"
    sent = {"username": "bob", "email": "bob@example.org"}
    assert await admin.fail("create_user", **sent, active=[0] * 100) == f"{several} value cannot be translated to bool"
    assert (
        await admin.fail("create_user", **sent, firstname=[0] * 100) == f"{several} value cannot be translated to str"
    )
    for method, name in (("create_user_group", "group_name"), ("create_repo", "repo_name")):
        assert len(await admin.fail(method, **{name: long})) <= 5003


async def test_a_new_user_logs_in_with_their_password(admin: Rpc, forge: Forge) -> None:
    await admin.ask("create_user", username="bob", email="bob@example.org", password="correct horse")
    assert await forge.db.fetchval("select count(*) from passwords where username = 'bob'") == 1
    stored = await forge.db.fetchval("select string_agg(body::text, '') from commands")
    assert "correct horse" not in stored


async def test_administrators_see_the_server_and_addresses(rpc: Rpc, admin: Rpc) -> None:
    shown = await admin.ask("get_server_info")
    assert shown["modules"] == shown["py_modules"] == sorted(shown["modules"], key=lambda each: each[0].lower())
    assert all(len(each) == 2 for each in shown["modules"])
    assert {"py_version", "platform", "rhodecode_version", "kallithea_version", "git_version"} <= shown.keys()
    for method in ("get_ip", "show_ip"):
        answer = await admin.ask(method, userid="alice")
        assert answer == {"server_ip_addr": "127.0.0.1", "ip_addr_server": "127.0.0.1", "user_ips": []}
        assert await admin.fail(method, userid="nobody") == "user `nobody` does not exist"
