"""User groups of both dialects."""

from tests.rpc import KALLITHEA, Rpc

KEYS = {
    "users_group_id", "group_name", "group_description", "active", "owner", "owner_email", "sync", "users",
}  # fmt: skip


async def test_a_new_group_belongs_to_its_creator(rpc: Rpc) -> None:
    made = await rpc.ask("create_user_group", group_name="hackers", description="They hack.")
    assert made["msg"] == "created new user group `hackers`"
    shown, kallithea = made["user_group"], rpc.address == KALLITHEA
    assert shown.keys() == (KEYS | {"members"} if kallithea else KEYS)
    assert (shown["owner"], shown["group_description"], shown["active"]) == ("alice", "They hack.", True)
    assert [each["username"] for each in shown["users"]] == ["alice"]
    assert made.get("users_group") == (shown if kallithea else None)


async def test_a_group_is_found_by_name_and_by_number(rpc: Rpc, bob: Rpc) -> None:
    number = (await rpc.ask("create_user_group", group_name="hackers"))["user_group"]["users_group_id"]
    found = await bob.ask("get_user_group", usergroupid="hackers")
    assert found["users_group_id"] == number
    assert await bob.ask("get_user_group", usergroupid=str(number)) == found
    assert await bob.ask("get_user_group", usersgroupid=number) == found
    for unknown in ("nothing", number + 1, "Hackers"):
        assert await bob.fail("get_user_group", usergroupid=unknown) == f"user group `{unknown}` does not exist"


async def test_the_keys_of_other_members_are_asterisks(rpc: Rpc, bob: Rpc) -> None:
    await rpc.ask("create_user_group", group_name="hackers")
    for reader, prefix in ((bob, ""), (rpc, str(rpc.client.token)[:8])):
        [member] = (await reader.ask("get_user_group", usergroupid="hackers"))["users"]
        assert member["api_keys"] == member["auth_tokens"] == [member["api_key"]] == [prefix.ljust(40, "*")]


async def test_members_are_users_or_permissions(rpc: Rpc) -> None:
    await rpc.ask("create_user_group", group_name="hackers")
    found = await rpc.ask("get_user_group", usergroupid="hackers")
    if rpc.address == KALLITHEA:
        assert [each["username"] for each in found["members"]] == ["alice"]
        return
    rows = [(each["name"], each["permission"], each["type"], each["origin"]) for each in found["members"]]
    assert rows == [
        ("admin", "usergroup.admin", "user", "super-admin"),
        ("alice", "usergroup.admin", "user", "owner"),
        ("default", "usergroup.read", "user", "permission"),
        ("alice", "usergroup.admin", "user", "permission"),
    ]
    assert found["permissions"] == found["members"]


async def test_administrators_choose_an_owner(rpc: Rpc, admin: Rpc) -> None:
    made = await admin.ask("create_user_group", group_name="hackers", owner="alice")
    assert made["user_group"]["owner"] == "alice"
    product = "Kallithea" if rpc.address == KALLITHEA else "RhodeCode"
    error = await rpc.fail("create_user_group", group_name="others", owner="nobody")
    assert error == f"Only {product} admin can specify `owner` param"
    error = await admin.fail("create_user_group", group_name="others", owner="nobody")
    assert error == ("user `nobody` does not exist" if product == "Kallithea" else "failed to create group `others`")


async def test_a_group_that_cannot_be_made_is_refused(rpc: Rpc) -> None:
    await rpc.ask("create_user_group", group_name="hackers")
    assert await rpc.fail("create_user_group", group_name="hackers") == "user group `hackers` already exist"
    assert await rpc.fail("create_user_group", group_name="a b") == "failed to create group `a b`"
    assert await rpc.fail("create_user_group", group_name="x", active="no") == "failed to create group `x`"


async def test_a_taken_name_comes_before_the_owner_and_what_the_forge_cannot_have(rpc: Rpc, admin: Rpc) -> None:
    await rpc.ask("create_user_group", group_name="hackers")
    for name in ("hackers", "alice"):
        for caller, more in ((admin, {"owner": "nobody"}), (admin, {"active": False}), (rpc, {"owner": "admin"})):
            error = await caller.fail("create_user_group", group_name=name, **more)
            assert error == f"user group `{name}` already exist"


async def test_members_come_and_go_once(rpc: Rpc, bob: Rpc) -> None:
    await rpc.ask("create_user_group", group_name="hackers")
    names = {"usergroupid": "hackers", "userid": "bob"}
    added = {"success": True, "msg": "added member `bob` to user group `hackers`"}
    assert await rpc.ask("add_user_to_user_group", **names) == added
    again = {"success": False, "msg": "User is already in that group"}
    assert await rpc.ask("add_user_to_user_group", **names) == again
    removed = {"success": True, "msg": "removed member `bob` from user group `hackers`"}
    assert await rpc.ask("remove_user_from_user_group", **names) == removed
    again = {"success": False, "msg": "User wasn't in group"}
    assert await rpc.ask("remove_user_from_user_group", **names) == again


async def test_others_may_not_change_a_group_and_hear_that_there_is_none(rpc: Rpc, bob: Rpc) -> None:
    await rpc.ask("create_user_group", group_name="hackers")
    for method in ("add_user_to_user_group", "remove_user_from_user_group"):
        assert await bob.fail(method, usergroupid="hackers", userid="nobody") == "user `nobody` does not exist"
        error = "user group `hackers` does not exist"
        assert await bob.fail(method, usergroupid="hackers", userid="bob") == error
    error = await rpc.fail("remove_user_from_user_group", usergroupid="hackers", userid="alice")
    assert error == "failed to remove member from user group `hackers`"


async def test_groups_are_listed_with_two_statements(rpc: Rpc, statements: list[str]) -> None:
    for number in range(20):
        await rpc.ask("create_user_group", group_name=f"group{number}")
    statements.clear()
    shown = await rpc.ask("get_user_groups")
    assert len(statements) == 2
    assert len(shown) == 20
    assert all([user["username"] for user in each["users"]] == ["alice"] for each in shown)
    assert all(each["members"] == each["users"] for each in shown)  # each dialect has its own key
