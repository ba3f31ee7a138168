"""Groups in Pagure's API."""

import pytest

from tests.conftest import Client, Forge
from tests.pagure.test_sharing import create_group, grant_access


async def test_a_group_shows_its_creator_and_its_members(forge: Forge, alice: Client) -> None:
    await forge.user("bob")
    command = {"name": "hackers", "display_name": "The Hackers", "description": "They hack."}
    assert (await alice.json("POST", "/v1/groups", command))[0] == 201
    await alice.post("/group/hackers/add", user="bob")
    status, shown = await forge.nobody.pagure("/group/hackers")
    creator = {"full_url": f"{forge.url}/user/alice", "fullname": "alice", "name": "alice", "url_path": "user/alice"}
    assert status == 200
    assert shown.pop("date_created").isdigit()
    assert shown == {
        "creator": creator,
        "description": "They hack.",
        "display_name": "The Hackers",
        "full_url": f"{forge.url}/group/hackers",
        "group_type": "user",
        "members": ["alice", "bob"],
        "name": "hackers",
    }
    status, shown = await alice.request("GET", "/api/0/group/hackers", data={"acl": "x"})
    address = {"default_email": "alice@example.org", "emails": ["alice@example.org"]}
    assert (status, shown["creator"]) == (200, {**creator, **address})
    assert (await Client(forge, "nonsense-" * 5).pagure("/group/hackers"))[1]["errors"] == "Invalid token"
    for name in ("ghost", "HACKERS", "%00"):
        assert await alice.pagure(f"/group/{name}") == (404, {"error": "Group not found", "error_code": "ENOGROUP"})


async def test_groups_are_listed_page_by_page(forge: Forge, alice: Client) -> None:
    for name, title, kind in (("zebra", "Animals", "admin"), ("alpha", "First", "user"), ("beta", "Second", "user")):
        command = {"name": name, "display_name": title, "type": kind, "description": f"The {title}"}
        assert (await forge.admin.json("POST", "/v1/groups", command))[0] == 201
    base = f"{forge.url}/api/0/groups?per_page=20&page=1"
    page = {"first": base, "last": base, "next": None, "page": 1, "pages": 1, "per_page": 20, "prev": None}
    assert await forge.nobody.pagure("/groups") == (
        200,
        {"groups": ["zebra", "alpha", "beta"], "pagination": page, "total_groups": 3},
    )
    assert (await alice.pagure("/groups/?extended=1&pattern=AL"))[1]["groups"] == [
        {"description": "The First", "name": "alpha"}
    ]
    for pattern, names in (("anim", ["zebra"]), ("*e", ["zebra", "beta"]), ("%25", []), ("_lpha", []), ("x", [])):
        found = (await alice.pagure(f"/groups?pattern={pattern}"))[1]
        assert (found["groups"], found["total_groups"]) == (names, len(names)), pattern
    second = (await alice.pagure("/groups?per_page=2&page=2"))[1]
    assert (second["groups"], second["total_groups"], second["pagination"]["pages"]) == (["beta"], 3, 2)


@pytest.mark.parametrize(("query", "code"), [("page=x", "EINVALIDREQ"), ("per_page=0", "EINVALIDPERPAGEVALUE")])
async def test_bad_pages_are_refused(forge: Forge, alice: Client, query: str, code: str) -> None:
    await create_group(alice, "hackers")
    for path in ("/groups?", "/group/hackers?projects=1&"):
        status, body = await forge.nobody.pagure(path + query)
        assert (status, body["error_code"]) == (400, code)


@pytest.mark.parametrize(
    ("acl", "names"),
    [
        ("", ["a-admin", "b-commit", "c-ticket"]), ("&acl=admin", ["a-admin"]),
        ("&acl=commit", ["a-admin", "b-commit"]), ("&acl=ticket", ["a-admin", "b-commit", "c-ticket"]),
        ("&acl=nonsense", []),
    ],
)  # fmt: skip
async def test_the_projects_of_a_group_are_listed(forge: Forge, alice: Client, acl: str, names: list[str]) -> None:
    await create_group(alice, "hackers")
    for level in ("admin", "commit", "ticket"):
        name = f"{'abc'[('admin', 'commit', 'ticket').index(level)]}-{level}"
        await alice.post("/new", name=name, description="d", wait="0")
        await grant_access(alice, "hackers", level, "group", path=f"/{name}")
    status, found = await forge.nobody.pagure(f"/group/hackers?projects=1{acl}&per_page=2")
    assert (status, found["total_projects"], found["pagination"]["per_page"]) == (200, len(names), 2)
    assert [project["name"] for project in found["projects"]] == names[:2]
    if names:
        assert found["projects"][0] == (await alice.pagure(f"/{names[0]}"))[1]
    assert "projects" not in (await alice.pagure("/group/hackers?projects=yes"))[1]


async def test_private_projects_of_a_group_are_listed_to_their_readers(forge: Forge, alice: Client) -> None:
    bob, carol, dave = [await forge.user(name) for name in ("bob", "carol", "dave")]
    await create_group(alice, "hackers", "bob")
    await alice.post("/new", name="secret", description="d", private="1")
    await grant_access(alice, "hackers", "commit", "group", path="/alice/secret")
    await grant_access(alice, "carol", "ticket", path="/alice/secret")
    for reader, total in ((alice, 1), (bob, 1), (carol, 1), (forge.admin, 1), (dave, 0), (forge.nobody, 0)):
        found = (await reader.pagure("/group/hackers?projects=1"))[1]
        assert (len(found["projects"]), found["total_projects"]) == (total, total), reader.name
    assert (await alice.pagure("/projects"))[1]["total_projects"] == 0


async def test_members_are_added_and_removed(forge: Forge, alice: Client) -> None:
    bob = await forge.user("bob")
    await create_group(alice, "hackers")
    for _ in range(2):
        status, shown = await alice.post("/group/hackers/add", user="bob")
        assert (status, shown["members"], shown["creator"]["default_email"]) == (
            200,
            ["alice", "bob"],
            "alice@example.org",
        )
    assert await forge.db.fetchval("select count(*) from events where type = 'group.member-added'") == 1
    status, shown = await bob.post("/group/hackers/remove", user="bob")
    assert (status, shown["members"]) == (200, ["alice"])
    assert (await forge.admin.post("/group/hackers/add", user="bob"))[0] == 200
    assert (await forge.admin.post("/group/hackers/remove", user="bob"))[0] == 200


@pytest.mark.parametrize(
    ("who", "action", "user", "message"),
    [
        ("alice", "add", "ghost", "No user `ghost` found"),
        ("alice", "remove", "ghost", "No user `ghost` found"),
        ("dave", "add", "carol", "You are not allowed to add user to this group"),
        ("dave", "remove", "bob", "You are not allowed to remove user from this group"),
        ("bob", "remove", "alice", "The creator of a group cannot be removed"),
        ("bob", "remove", "carol", "User `carol` could not be found in the group `hackers`"),
    ],
)
async def test_invalid_changes_of_members_are_refused(
    forge: Forge, alice: Client, who: str, action: str, user: str, message: str
) -> None:
    people = {name: await forge.user(name) for name in ("bob", "carol", "dave")} | {"alice": alice}
    await create_group(alice, "hackers", "bob")
    status, body = await people[who].post(f"/group/hackers/{action}", user=user)
    assert (status, body) == (
        400,
        {
            "error": "An error occurred at the database level and prevent the action from reaching completion",
            "error_code": "EDBERROR",
            "errors": [message],
        },
    )
    assert (await alice.pagure("/group/hackers"))[1]["members"] == ["alice", "bob"]


async def test_changing_members_takes_a_token_a_group_and_a_name(forge: Forge, alice: Client) -> None:
    await create_group(alice, "hackers")
    one = await alice.limited(acls=["modify_project"])
    for path in ("/group/hackers/add", "/group/hackers/remove"):
        assert (await one.post(path, user="bob"))[1]["errors"] == "Missing ACLs: group_modify"
        assert (await forge.nobody.post(path, user="bob"))[1]["errors"] == "Invalid token"
        assert (await alice.post(path))[1]["errors"] == {"user": ["This field is required."]}
        assert (await alice.post(path.replace("hackers", "ghost")))[1]["error_code"] == "ENOGROUP"


async def test_a_group_is_a_namespace_of_its_members(forge: Forge, alice: Client) -> None:
    bob, carol = await forge.user("bob"), await forge.user("carol")
    await create_group(alice, "hackers", "bob")
    assert (await bob.post("/new", name="x", description="d", namespace="hackers"))[0] == 200
    assert (await bob.pagure("/hackers/x"))[1]["fullname"] == "hackers/x"
    status, body = await carol.post("/new", name="y", description="d", namespace="hackers")
    assert (status, body["errors"]) == (400, {"namespace": ["Not a valid choice"]})


async def test_a_project_lists_the_members_of_its_groups_on_request(forge: Forge, nethack: Client) -> None:
    await forge.user("bob")
    await create_group(nethack, "hackers", "bob")
    await create_group(nethack, "testers")
    await grant_access(nethack, "hackers", "ticket", "group")
    await grant_access(nethack, "testers", "admin", "group")
    shown = (await nethack.pagure("/nethack"))[1]
    assert "group_details" not in shown
    members = {"hackers": ["alice", "bob"], "testers": ["alice"]}
    assert (await nethack.pagure("/nethack?expand_group=1"))[1] == {**shown, "group_details": members}
