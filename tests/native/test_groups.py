"""Groups in the native API."""

import pytest

from app.config import Settings
from tests.conftest import Client, Forge


async def test_a_new_group_has_its_creator_as_a_member(forge: Forge, alice: Client) -> None:
    status, group = await alice.json("POST", "/v1/groups", {"name": "hackers"})
    assert status == 201
    assert group.pop("created_at").endswith("Z")
    assert group == {
        "name": "hackers",
        "display_name": "hackers",
        "description": None,
        "type": "user",
        "creator": "alice",
        "members": ["alice"],
    }
    command = {"name": "chiefs", "display_name": "The Chiefs", "description": "They lead.", "type": "admin"}
    status, group = await forge.admin.json("POST", "/v1/groups", command)
    assert (status, {name: group[name] for name in command}) == (201, command)


@pytest.mark.parametrize(
    ("command", "status", "pointer"),
    [
        ({}, 422, "/name"), ({"name": "a/b"}, 422, "/name"), ({"name": "-x"}, 422, "/name"),
        ({"name": "api"}, 422, "/name"), ({"name": "x", "type": "secret"}, 422, "/type"),
        ({"name": "x", "color": "red"}, 422, "/color"), ({"name": "hackers"}, 409, "/name"),
        ({"name": "HACKERS"}, 409, "/name"), ({"name": "Alice"}, 409, "/name"),
    ],
)  # fmt: skip
async def test_invalid_groups_are_refused(alice: Client, command: object, status: int, pointer: str) -> None:
    await alice.json("POST", "/v1/groups", {"name": "hackers"})
    answer, problem = await alice.json("POST", "/v1/groups", command)
    assert (answer, problem["errors"][0]["pointer"]) == (status, pointer)


async def test_a_user_cannot_have_the_name_of_a_group(forge: Forge, alice: Client) -> None:
    await alice.json("POST", "/v1/groups", {"name": "hackers"})
    command = {"username": "Hackers", "email": "h@example.org"}
    status, problem = await forge.admin.json("POST", "/v1/users", command)
    assert (status, problem["errors"][0]["pointer"]) == (409, "/username")


async def test_users_can_create_groups_with_a_token_for_it(forge: Forge, alice: Client) -> None:
    assert (await forge.nobody.json("POST", "/v1/groups", {"name": "x"}))[0] == 401
    assert (await alice.json("POST", "/v1/groups", {"name": "x", "type": "admin"}))[0] == 403
    other = await alice.limited(acls=["issue_create"])
    assert (await other.json("POST", "/v1/groups", {"name": "x"}))[0] == 403
    one = await alice.limited(acls=["group_modify"])
    assert (await one.json("POST", "/v1/groups", {"name": "x"}))[0] == 201


class TestWithGroupsForAdministratorsOnly:
    @pytest.fixture
    def settings(self, own_settings: Settings) -> Settings:
        return own_settings.model_copy(update={"new_groups": False})

    async def test_other_users_cannot_create_groups(self, forge: Forge, alice: Client) -> None:
        assert (await alice.json("POST", "/v1/groups", {"name": "x"}))[0] == 403
        assert (await forge.admin.json("POST", "/v1/groups", {"name": "x"}))[0] == 201


async def test_members_are_added_and_removed(forge: Forge, alice: Client) -> None:
    bob, carol = await forge.user("bob"), await forge.user("carol")
    await alice.json("POST", "/v1/groups", {"name": "hackers"})
    member = "/v1/groups/hackers/members/bob"
    assert (await carol.json("PUT", member))[0] == 403
    assert (await forge.nobody.json("PUT", member))[0] == 401
    for _ in range(2):
        assert (await alice.json("PUT", member)) == (204, None)
    assert (await bob.pagure("/group/hackers"))[1]["members"] == ["alice", "bob"]
    for path in ("ghosts/members/bob", "hackers/members/ghost", "%00/members/bob", "hackers/members/%00"):
        assert (await alice.json("PUT", f"/v1/groups/{path}"))[0] == 404
        assert (await alice.json("DELETE", f"/v1/groups/{path}"))[0] == 404
    assert (await carol.json("DELETE", member))[0] == 403
    assert (await alice.json("DELETE", member)) == (204, None)
    assert (await alice.json("DELETE", member))[0] == 404
    assert (await alice.json("DELETE", "/v1/groups/hackers/members/alice"))[0] == 422
    other = await alice.limited(acls=["modify_project"])
    assert (await other.json("PUT", member))[0] == 403
