"""The access of users and groups, watchers, and blocked users."""

import uuid
from typing import Any

import pytest

from app.actor import Actor
from app.core import commands
from app.core.sharing import GrantAccess
from tests.conftest import Client, Forge

ADDRESSES = ["/nethack", "/rpms/nethack", "/fork/alice/nethack", "/fork/alice/rpms/nethack"]
NOT_ALLOWED = {"error": "You are not allowed to modify this project", "error_code": "EMODIFYPROJECTNOTALLOWED"}
NOT_HIGH_ENOUGH = {
    "error": "You do not have sufficient permissions to perform this action",
    "error_code": "ENOTHIGHENOUGH",
}
NO_PROJECT = {"error": "Project not found", "error_code": "ENOPROJECT"}
BLOCKED = {"error": "You have been blocked from this project", "error_code": "EUBLOCKED"}


async def four_projects(alice: Client) -> None:
    """Create a project for each of the four forms of a path."""
    for namespace in ("", "rpms"):
        assert (await alice.post("/new", name="nethack", description="d", namespace=namespace))[0] == 200
        assert (await alice.post("/fork", repo="nethack", namespace=namespace))[0] == 200


async def grant_access(alice: Client, name: str, acl: str, party: str = "user", path: str = "/nethack") -> Any:
    status, body = await alice.post(f"{path}/git/modifyacls", user_type=party, name=name, acl=acl)
    assert status == 200, body
    return body


async def create_group(maker: Client, name: str, *members: str) -> None:
    """Create a group of its creator and these members."""
    assert (await maker.json("POST", "/v1/groups", {"name": name}))[0] == 201
    for member in members:
        assert (await maker.json("PUT", f"/v1/groups/{name}/members/{member}"))[0] == 204


async def add_collaborator(forge: Forge, project_id: int, name: str, branches: str, party: str = "user") -> None:
    """Grant access to some branches, which no endpoint offers yet."""
    command = GrantAccess(project_id=project_id, party=party, name=name, level="collaborator", branches=branches)
    await commands.execute(forge.db, Actor("alice"), command, command_id=uuid.uuid4())


async def test_access_is_granted_changed_and_revoked_under_each_path(forge: Forge, alice: Client) -> None:
    await four_projects(alice)
    await forge.user("bob")
    await create_group(forge.admin, "hackers")
    empty = {"admin": [], "collaborator": [], "commit": [], "ticket": []}
    for path in ADDRESSES:
        before = (await alice.pagure(path))[1]
        shown = await grant_access(alice, "bob", "ticket", path=path)
        assert shown.keys() == before.keys()
        assert shown["fullname"] == before["fullname"]
        assert shown["parent"] == before["parent"]
        assert shown["access_users"] == {**empty, "owner": ["alice"], "ticket": ["bob"]}
        shown = await grant_access(alice, "bob", "admin", path=path)
        assert shown["access_users"] == {**empty, "owner": ["alice"], "admin": ["bob"]}
        shown = await grant_access(alice, "hackers", "commit", "group", path=path)
        assert shown["access_groups"] == {**empty, "commit": ["hackers"]}
        assert (await alice.pagure(path))[1] == shown
        for party, name in (("user", "bob"), ("group", "hackers")):
            shown = await grant_access(alice, name, "", party, path=path)
        assert (shown["access_users"], shown["access_groups"]) == ({**empty, "owner": ["alice"]}, empty)


async def test_names_are_sorted_and_the_owner_is_not_repeated(forge: Forge, nethack: Client) -> None:
    for name in ("dave", "bob", "carol"):
        await forge.user(name)
        await grant_access(nethack, name, "commit")
    shown = await grant_access(nethack, "alice", "commit")
    assert shown["access_users"] == {
        "admin": [], "collaborator": [], "commit": ["bob", "carol", "dave"], "owner": ["alice"], "ticket": [],
    }  # fmt: skip
    assert (await nethack.pagure("/projects"))[1]["projects"] == [shown]
    assert await grant_access(nethack, "bob", "commit") == shown
    modified = await forge.db.fetchval("select count(*) from events where type = 'access.granted'")
    assert modified == 3


async def test_json_works_like_a_form_and_null_revokes_access(forge: Forge, nethack: Client) -> None:
    await forge.user("bob")
    path = "/api/0/nethack/git/modifyacls"
    command = {"user_type": "user", "name": "bob"}
    assert (await nethack.json("POST", path, {**command, "acl": "commit"}))[1]["access_users"]["commit"] == ["bob"]
    assert (await nethack.json("POST", path, {**command, "acl": None}))[1]["access_users"]["commit"] == []


@pytest.mark.parametrize(
    ("form", "status", "code", "errors"),
    [
        ({"name": "bob"}, 400, "EINVALIDREQ", {"user_type": ["This field is required."]}),
        ({"user_type": "user"}, 400, "EINVALIDREQ", {"name": ["This field is required."]}),
        ({"user_type": "robot", "name": "bob"}, 400, "EINVALIDREQ", {"user_type": ["Not a valid choice"]}),
        ({"user_type": "user", "name": "bob", "acl": "x"}, 400, "EINVALIDREQ", {"acl": ["Not a valid choice"]}),
        ({"user_type": "user", "name": "bob", "acl": "collaborator"}, 400, "EINVALIDREQ",
         {"acl": ["Not a valid choice"]}),
        ({"user_type": "user", "name": "ghost", "acl": "admin"}, 404, "ENOUSER", None),
        ({"user_type": "user", "name": "ghost"}, 404, "ENOUSER", None),
        ({"user_type": "group", "name": "ghost", "acl": "admin"}, 404, "ENOGROUP", None),
        ({"user_type": "user", "name": "bob"}, 400, "EINVALIDREQ", "User does not have any access on the repo"),
        ({"user_type": "user", "name": "alice"}, 400, "EINVALIDREQ", "User does not have any access on the repo"),
    ],
)  # fmt: skip
async def test_invalid_changes_of_access_are_refused(
    forge: Forge, nethack: Client, form: dict[str, str], status: int, code: str, errors: object
) -> None:
    await forge.user("bob")
    answer, body = await nethack.post("/nethack/git/modifyacls", **form)
    assert (answer, body["error_code"], body.get("errors")) == (status, code, errors)


async def test_revoking_access_of_a_group_without_any_succeeds(forge: Forge, nethack: Client) -> None:
    await create_group(forge.admin, "hackers")
    events = await forge.db.fetchval("select count(*) from events where type like 'access.%'")
    await grant_access(nethack, "hackers", "", "group")
    assert await forge.db.fetchval("select count(*) from events where type like 'access.%'") == events


async def test_only_administrators_change_access_and_anybody_may_leave(forge: Forge, nethack: Client) -> None:
    bob, carol, dave = [await forge.user(name) for name in ("bob", "carol", "dave")]
    await create_group(forge.admin, "hackers")
    for name, acl in (("bob", "commit"), ("carol", "admin")):
        await grant_access(nethack, name, acl)
    await grant_access(nethack, "hackers", "commit", "group")
    change = "/nethack/git/modifyacls"
    for other in (bob, dave):
        assert await other.post(change, user_type="user", name="ghost", acl="admin") == (401, NOT_ALLOWED)
        assert await other.post(change, user_type="user", name="carol") == (401, NOT_ALLOWED)
        assert await other.post(change, user_type="group", name="hackers") == (401, NOT_ALLOWED)
    status, shown = await bob.post(change, user_type="user", name="bob")
    assert (status, shown["access_users"]["commit"]) == (200, [])
    for administrator in (carol, forge.admin):
        assert (await administrator.post(change, user_type="user", name="dave", acl="ticket"))[0] == 200
        assert (await administrator.post(change, user_type="user", name="dave"))[0] == 200


async def test_members_of_an_administering_group_are_administrators(forge: Forge, nethack: Client) -> None:
    bob = await forge.user("bob")
    await create_group(forge.admin, "hackers", "bob")
    await grant_access(nethack, "hackers", "admin", "group")
    assert (await bob.post("/nethack/git/modifyacls", user_type="user", name="bob", acl="commit"))[0] == 200


@pytest.mark.parametrize(
    ("method", "path", "missing"),
    [
        ("POST", "/git/modifyacls", "modify_project"),
        ("POST", "/blockuser", "modify_project"),
        ("POST", "/watchers/update", "modify_project, update_watch_status"),
        ("POST", "/options/update", "modify_project"),
        ("GET", "/options", "modify_project"),
        ("PATCH", "", "modify_project"),
        ("POST", "/git/generateacls", "generate_acls_project"),
        ("POST", "/delete", "modify_project"),
        ("POST", "/token/new", "modify_project"),
        ("GET", "/connector", "modify_project"),
        ("POST", "/tags/new", "modify_project"),
        ("DELETE", "/tag/pet", "modify_project"),
    ],
)
async def test_every_change_of_a_project_takes_a_token_with_its_scope(
    forge: Forge, nethack: Client, method: str, path: str, missing: str
) -> None:
    address = "/api/0/nethack" + path
    status, body = await forge.nobody.request(method, address)
    assert (status, body["error_code"], body["errors"]) == (401, "EINVALIDTOK", "Invalid token")
    other = await nethack.limited(acls=["issue_create"])
    status, body = await other.request(method, address)
    assert (status, body["error_code"], body["errors"]) == (401, "EINVALIDTOK", f"Missing ACLs: {missing}")
    assert (await nethack.post("/new", name="other", description="d"))[0] == 200
    bound = await nethack.limited(project="other")
    status, body = await bound.request(method, address)
    assert (status, body["error_code"], "errors" in body) == (401, "EINVALIDTOK", False)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/watchers"), ("GET", "/contributors"), ("GET", "/hascommit?user=alice&branch=main"),
        ("GET", "/tags"), ("GET", "/tag/x"), ("GET", "/options"), ("GET", "/connector"), ("PATCH", ""),
        ("POST", "/git/modifyacls"), ("POST", "/blockuser"), ("POST", "/watchers/update"), ("POST", "/options/update"),
        ("POST", "/git/generateacls"), ("POST", "/delete"), ("POST", "/token/new"), ("POST", "/tags/new"),
        ("DELETE", "/tag/x"),
    ],
)  # fmt: skip
async def test_a_private_project_is_hidden_everywhere(forge: Forge, alice: Client, method: str, path: str) -> None:
    assert (await alice.post("/new", name="secret", description="d", private="1"))[0] == 200
    bob = await forge.user("bob")
    assert await bob.request(method, "/api/0/alice/secret" + path) == (404, NO_PROJECT)
    assert await bob.request(method, "/api/0/alice/missing" + path) == (404, NO_PROJECT)


async def test_any_access_lets_a_user_read_a_private_project(forge: Forge, alice: Client) -> None:
    assert (await alice.post("/new", name="secret", description="d", private="1"))[0] == 200
    bob, carol = await forge.user("bob"), await forge.user("carol")
    await create_group(forge.admin, "hackers", "carol")
    await grant_access(alice, "bob", "ticket", path="/alice/secret")
    await grant_access(alice, "hackers", "ticket", "group", path="/alice/secret")
    for reader in (bob, carol, forge.admin):
        assert (await reader.pagure("/alice/secret"))[0] == 200
    await grant_access(alice, "bob", "", path="/alice/secret")
    assert await bob.pagure("/alice/secret") == (404, NO_PROJECT)


# ---------------------------------------------------------------- blocking


async def test_a_blocked_user_can_read_and_post_nothing(forge: Forge, nethack: Client) -> None:
    bob = await forge.user("bob")
    bound = await nethack.limited(project="nethack", acls=["modify_project"])
    await grant_access(nethack, "bob", "admin")
    data = [("username", " bob "), ("username", ""), ("username", "bob")]
    status, body = await bound.request("POST", "/api/0/nethack/blockuser", data=data)
    assert (status, body) == (200, {"message": "User(s) blocked"})
    for path in ("new_issue", "git/modifyacls", "options/update", "watchers/update", "tags/new", "delete"):
        assert await bob.post(f"/nethack/{path}") == (403, BLOCKED), path
    assert (await bob.pagure("/nethack"))[0] == (await bob.pagure("/nethack/options"))[0] == 200
    assert (await bob.json("PATCH", "/api/0/nethack", {"retain_access": True}))[0] == 200
    assert (await bob.post("/fork", repo="nethack"))[0] == 200
    assert (await bound.post("/nethack/blockuser"))[0] == 200
    assert (await bob.post("/nethack/watchers/update", watcher="bob", status="1"))[0] == 200


async def test_an_owner_can_block_themselves(nethack: Client) -> None:
    bound = await nethack.limited(project="nethack")
    assert (await bound.json("POST", "/api/0/nethack/blockuser", {"username": ["alice"]}))[0] == 200
    assert await bound.post("/nethack/blockuser") == (403, BLOCKED)


async def test_blocking_takes_a_bound_token_and_an_administrator_of_the_project(forge: Forge, nethack: Client) -> None:
    status, body = await nethack.post("/nethack/blockuser", username="bob")
    assert (status, body["error_code"], "errors" in body) == (401, "EINVALIDTOK", False)
    bob = await forge.user("bob")
    await grant_access(nethack, "bob", "commit")
    for other in (bob, forge.admin):
        bound = await other.limited(project="nethack")
        assert await bound.post("/nethack/blockuser", username="ghost") == (401, NOT_HIGH_ENOUGH)
    await grant_access(nethack, "bob", "admin")
    bound = await bob.limited(project="nethack")
    assert await bound.post("/nethack/blockuser", username="ghost") == (
        400,
        {"error": 'No user "ghost" found', "error_code": "ENOCODE"},
    )
    assert (await bound.request("POST", "/api/0/nethack/blockuser", data=b"{"))[1]["error_code"] == "EINVALIDREQ"
    assert await forge.db.fetchval("select blocked from projects") == []


# ---------------------------------------------------------------- watching


async def test_users_with_access_are_watchers_by_default(forge: Forge, nethack: Client) -> None:
    bob, carol = await forge.user("bob"), await forge.user("carol")
    await create_group(forge.admin, "hackers")
    await grant_access(nethack, "bob", "ticket")
    await grant_access(nethack, "hackers", "commit", "group")
    assert await forge.nobody.pagure("/nethack/watchers") == (
        200,
        {"total_watchers": 3, "watchers": {"alice": ["issues"], "bob": ["issues"], "@hackers": ["issues"]}},
    )
    for who, status in ((nethack, "0"), (bob, "2"), (carol, "3")):
        assert (await who.post("/nethack/watchers/update", watcher=who.name, status=status))[0] == 200
    assert (await forge.nobody.pagure("/nethack/watchers"))[1] == {
        "total_watchers": 3,
        "watchers": {"bob": ["commits"], "carol": ["issues", "commits"], "@hackers": ["issues"]},
    }


@pytest.mark.parametrize("path", ADDRESSES)
async def test_every_watch_status_has_a_message(forge: Forge, alice: Client, path: str) -> None:
    await four_projects(alice)
    for status, message in (
        ("-1", "Watch status is already reset"),
        ("1", "You are now watching issues and PRs on this project"),
        ("2", "You are now watching commits on this project"),
        ("3", "You are now watching issues, PRs, and commits on this project"),
        ("3", "You are now watching issues, PRs, and commits on this project"),
        ("0", "You are no longer watching this project"),
        (-1, "Watch status reset"),
    ):
        command = {"watcher": "alice", "status": status, "repo": "ignored"}
        assert await alice.json("POST", f"/api/0{path}/watchers/update", command) == (
            200,
            {"message": message, "status": "ok"},
        )


async def test_only_administrators_change_the_watches_of_others(forge: Forge, nethack: Client) -> None:
    bob, update = await forge.user("bob"), "/nethack/watchers/update"
    for watcher in ("alice", "ghost"):
        assert await bob.post(update, watcher=watcher, status="x") == (401, NOT_ALLOWED)
    assert (await forge.admin.post(update, watcher="bob", status="1"))[0] == 200
    for form in ({"watcher": "ghost", "status": "x"}, {"status": "1"}, {}):
        status, body = await forge.admin.post(update, **form)
        assert (status, body["error_code"], "errors" in body) == (400, "EINVALIDREQ", False)
    for form, shown in (({"status": "7"}, "7"), ({}, "None")):
        status, body = await bob.post(update, watcher="bob", **form)
        assert (status, body) == (400, {"error": f'The watch value of "{shown}" is invalid', "error_code": "ENOCODE"})
    one = await bob.limited(acls=["update_watch_status"])
    assert (await one.post(update, watcher="bob", status="1"))[0] == 200


# ---------------------------------------------------------------- who contributes


async def test_contributors_are_listed_by_level(forge: Forge, nethack: Client) -> None:
    for name in ("bob", "carol", "dave", "erin"):
        await forge.user(name)
    for name in ("hackers", "testers"):
        await create_group(forge.admin, name)
    project = (await nethack.pagure("/nethack"))[1]["id"]
    await grant_access(nethack, "bob", "admin")
    await grant_access(nethack, "carol", "commit")
    await grant_access(nethack, "dave", "ticket")
    await add_collaborator(forge, project, "erin", "epel*,f*")
    await grant_access(nethack, "hackers", "commit", "group")
    await add_collaborator(forge, project, "testers", "test/*", "group")
    assert await forge.nobody.pagure("/nethack/contributors") == (
        200,
        {
            "groups": {
                "admin": [],
                "collaborators": [{"branches": "test/*", "user": "testers"}],
                "commit": ["hackers"],
                "ticket": [],
            },
            "users": {
                "admin": ["alice", "bob"],
                "collaborators": [{"branches": "epel*,f*", "user": "erin"}],
                "commit": ["carol"],
                "ticket": ["dave"],
            },
        },
    )
    assert (await nethack.pagure("/nethack"))[1]["access_users"]["collaborator"] == ["erin"]


async def test_hascommit_tells_who_may_write_to_a_branch(forge: Forge, nethack: Client) -> None:
    for name in ("bob", "carol", "dave", "erin"):
        await forge.user(name)
    await create_group(nethack, "hackers", "erin")
    project = (await nethack.pagure("/nethack"))[1]
    await grant_access(nethack, "bob", "commit")
    await add_collaborator(forge, project["id"], "carol", "epel*, f*")
    await grant_access(nethack, "dave", "ticket")
    await grant_access(nethack, "hackers", "commit", "group")
    project = (await nethack.pagure("/nethack"))[1]
    for user, branch, has in (
        ("alice", "main", True), ("bob", "main", True), ("carol", "main", False), ("carol", "f40", True),
        ("dave", "main", False), ("erin", "main", True), ("admin", "main", False), ("ghost", "main", False),
    ):  # fmt: skip
        assert await forge.nobody.pagure(f"/nethack/hascommit?user={user}&branch={branch}") == (
            200,
            {"args": {"branch": branch, "project": project, "user": user}, "hascommit": has},
        )
    for query in ("user=bob", "branch=main", "", "user=&branch=main"):
        status, body = await forge.nobody.pagure(f"/nethack/hascommit?{query}")
        assert (status, body["error_code"], "errors" in body) == (400, "EINVALIDREQ", False)
