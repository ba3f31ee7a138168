"""Projects: creating, forking, showing and listing them."""

import pytest

from tests.conftest import Client, Forge


async def test_a_new_project_is_shown_in_the_next_call(alice: Client) -> None:
    assert await alice.post("/new", name="nethack", description="A game") == (
        200,
        {"message": "Project creation queued"},
    )
    status, project = await alice.pagure("/nethack")
    assert status == 200
    assert set(project) == {
        "access_groups", "access_users", "close_status", "custom_keys", "date_created", "date_modified", "description",
        "full_url", "fullname", "id", "milestones", "name", "namespace", "parent", "priorities", "tags", "url_path",
        "user",
    }  # fmt: skip
    assert project["user"]["name"] == "alice"
    assert project["access_users"]["owner"] == ["alice"]
    assert project["date_created"].isdigit()


async def test_a_client_that_does_not_wait_polls_the_task(forge: Forge, alice: Client) -> None:
    status, queued = await alice.post("/new", name="nethack", description="A game", wait="False")
    assert (status, queued["message"]) == (200, "Project creation queued")
    status, task = await alice.get(f"/v1/tasks/{queued['taskid']}?wait=20")
    assert (task["status"], task["kind"], task["percent"]) == ("succeeded", "create-project", 100)
    assert await forge.nobody.pagure(f"/task/{queued['taskid']}/status") == (
        200,
        {"ready": True, "status": "SUCCESS", "successful": True},
    )


async def test_an_unknown_task_is_pending(forge: Forge) -> None:
    assert await forge.nobody.pagure("/task/nonsense/status/") == (200, {"ready": False, "status": "PENDING"})


async def test_missing_fields_are_named(alice: Client) -> None:
    assert await alice.post("/new") == (
        400,
        {
            "error": "Invalid or incomplete input submitted",
            "error_code": "EINVALIDREQ",
            "errors": {"description": ["This field is required."], "name": ["This field is required."]},
        },
    )


@pytest.mark.parametrize(
    "name", ["../etc", "-upload-pack=x", "a/b", "a b", "ü", "a\x00b", "a\nb", ".hidden", "x.git", "x.lock", "a" * 256]
)
async def test_invalid_names_are_refused(forge: Forge, alice: Client, name: str) -> None:
    status, body = await alice.post("/new", name=name, description="d")
    assert (status, body["error_code"], list(body["errors"])) == (400, "EINVALIDREQ", ["name"])
    assert await forge.db.fetchval("select count(*) from projects") == 0
    assert await forge.db.fetchval("select count(*) from commands where name = 'create-project'") == 0


async def test_a_foreign_namespace_is_not_a_valid_choice(alice: Client) -> None:
    status, body = await alice.post("/new", name="x", description="d", namespace="somewhere")
    assert (status, body["errors"]) == (400, {"namespace": ["Not a valid choice"]})
    status, _ = await alice.post("/new", name="x", description="d", namespace="rpms")
    assert status == 200
    assert (await alice.pagure("/RPMS/X"))[1]["fullname"] == "rpms/x"


async def test_names_are_unique_regardless_of_case(nethack: Client) -> None:
    status, body = await nethack.post("/new", name="NetHack", description="d")
    assert (status, body) == (
        400,
        {"error": 'It is not possible to create the repo "NetHack"', "error_code": "ENOCODE"},
    )


async def test_reserved_paths_cannot_be_used(alice: Client) -> None:
    status, body = await alice.post("/new", name="projects", description="d")
    assert (status, body["error"]) == (
        400,
        'No project "projects" are allowed to be created due to potential conflicts in URLs with pagure itself',
    )


async def test_a_token_with_the_acl_is_required(forge: Forge, alice: Client) -> None:
    status, body = await forge.nobody.post("/new", name="x", description="d")
    assert (status, body["error_code"], body["errors"]) == (401, "EINVALIDTOK", "Invalid token")
    assert body["error"].startswith("Invalid or expired token. Please visit http")
    bob = await forge.user("bob", acls=["fork_project"])
    status, body = await bob.post("/new", name="x", description="d")
    assert (status, body["errors"]) == (401, "Missing ACLs: create_project")


async def test_a_fork_has_its_parent_and_no_tracker(forge: Forge, nethack: Client) -> None:
    bob = await forge.user("bob")
    assert await bob.post("/fork", repo="nethack") == (200, {"message": 'Repo "nethack" cloned to "bob/nethack"'})
    status, fork = await bob.pagure("/fork/bob/nethack")
    assert (fork["fullname"], fork["url_path"]) == ("forks/bob/nethack", "fork/bob/nethack")
    assert (fork["parent"]["fullname"], fork["parent"]["parent"]) == ("nethack", None)
    status, again = await bob.post("/fork", repo="nethack")
    assert (status, again["error"]) == (400, 'Repo "forks/bob/nethack" already exists')
    assert (await bob.pagure("/fork/bob/nethack/issues"))[1]["error_code"] == "ETRACKERDISABLED"
    parent, forked = (
        (await bob.pagure("/nethack/git/branches"))[1],
        (await bob.pagure("/fork/bob/nethack/git/branches"))[1],
    )
    assert parent == forked == {"branches": ["main"], "default": "main", "total_branches": 1}


async def test_a_fork_of_a_fork_shows_all_ancestors(forge: Forge, nethack: Client) -> None:
    bob, carol = await forge.user("bob"), await forge.user("carol")
    await bob.post("/fork", repo="nethack")
    status, _ = await carol.post("/fork", repo="nethack", username="bob")
    assert status == 200
    fork = (await carol.pagure("/fork/carol/nethack"))[1]
    assert fork["parent"]["fullname"] == "forks/bob/nethack"
    assert fork["parent"]["parent"]["fullname"] == "nethack"


async def test_a_private_project_is_hidden_from_others(forge: Forge, alice: Client) -> None:
    await alice.post("/new", name="secret", description="d", private="1")
    bob = await forge.user("bob")
    for other in (bob, forge.nobody):
        assert (await other.pagure("/alice/secret"))[1] == {"error": "Project not found", "error_code": "ENOPROJECT"}
        assert (await other.pagure("/alice/secret/git/branches"))[0] == 404
    assert (await alice.pagure("/alice/secret"))[0] == 200
    assert (await alice.pagure("/projects"))[1]["total_projects"] == 0


async def test_projects_are_listed_page_by_page(alice: Client) -> None:
    for name in ("delta", "Alpha", "charlie", "bravo"):
        await alice.post("/new", name=name, description="d", wait="0")
    first = (await alice.pagure("/projects?per_page=3&short=1"))[1]
    assert [project["name"] for project in first["projects"]] == ["Alpha", "bravo", "charlie"]
    assert first["total_projects"] == 4
    base = f"{alice.forge.url}/api/0/projects?per_page=3&short=1"
    assert first["pagination"] == {
        "first": f"{base}&page=1", "last": f"{base}&page=2", "next": f"{base}&page=2", "page": 1, "pages": 2,
        "per_page": 3, "prev": None,
    }  # fmt: skip
    last = (await alice.get(first["pagination"]["next"]))[1]
    assert last["projects"] == [{"name": "delta", "namespace": None, "description": "d", "fullname": "delta"}]
    assert (last["pagination"]["next"], last["pagination"]["prev"]) == (None, f"{base}&page=1")
    assert (await alice.pagure("/projects?page=9999999999999999999999"))[1]["projects"] == []
    beyond = (await alice.pagure("/projects?page=99999"))[1]
    assert (beyond["projects"], beyond["pagination"]["prev"].endswith("page=99998")) == ([], True)


FILTERS = {
    "pattern=foo": ["foo", "foo"],
    "pattern=FOO": [],
    "pattern=F*": ["foo", "foo", "foobar"],
    "pattern=%25": [],
    "owner=alice": ["foo", "foobar"],
    "owner=!alice": ["bar", "foo"],
    "username=bob": ["bar", "foo"],
    "namespace=rpms": ["bar"],
    "fork=1": ["foo"],
    "fork=0": ["bar", "foo", "foobar"],
    "fork=0&pattern=foo": ["foo"],
    "tags=none": [],
    "owner=nobody-knows": [],
}


async def test_every_filter_of_the_listing_works(forge: Forge, alice: Client) -> None:
    bob = await forge.user("bob")
    await alice.post("/new", name="foo", description="d")
    await alice.post("/new", name="foobar", description="d", wait="0")
    await bob.post("/new", name="bar", description="d", namespace="rpms", wait="0")
    await bob.post("/fork", repo="foo", wait="0")
    found = {query: (await alice.pagure(f"/projects?{query}"))[1] for query in FILTERS}
    assert {query: [each["name"] for each in listing["projects"]] for query, listing in found.items()} == FILTERS
    assert all(listing["total_projects"] == len(FILTERS[query]) for query, listing in found.items())


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("page=0", "EINVALIDREQ"), ("page=x", "EINVALIDREQ"), ("page=-1", "EINVALIDREQ"),
        ("per_page=x", "EINVALIDREQ"),
        ("per_page=0", "EINVALIDPERPAGEVALUE"), ("per_page=101", "EINVALIDPERPAGEVALUE"),
        ("owner=a&username=b", "EINVALIDREQ"), ("pattern=%00", "EINVALIDREQ"),
    ],
)  # fmt: skip
async def test_bad_pages_are_refused(forge: Forge, query: str, code: str) -> None:
    status, body = await forge.nobody.pagure(f"/projects?{query}")
    assert (status, body["error_code"]) == (400, code)


async def test_no_path_is_ambiguous(forge: Forge, nethack: Client) -> None:
    status, body = await nethack.post("/new", name="NetHack", description="d", private="1")
    assert (status, body["error"]) == (400, 'It is not possible to create the repo "alice/NetHack"')
    bob = await forge.user("bob")
    assert (await bob.post("/new", name="nethack", description="d", private="1"))[0] == 200


async def test_a_listing_is_current_and_shows_the_parents_of_forks(nethack: Client) -> None:
    await nethack.post("/fork", repo="nethack")
    before = (await nethack.pagure("/projects"))[1]["projects"]
    assert (await nethack.pagure("/projects"))[1]["projects"] == before
    await nethack.forge.db.execute("update projects set description = 'new' where path = 'nethack'")
    parent, fork = (await nethack.pagure("/projects"))[1]["projects"]
    assert (fork["fullname"], fork["parent"]["description"], fork["description"]) == (
        "forks/alice/nethack", "new", "A game",
    )  # fmt: skip
    assert parent["description"] == "new"


async def test_git_urls_branches_and_tags_are_listed(nethack: Client) -> None:
    assert await nethack.pagure("/nethack/git/urls") == (
        200,
        {"total_urls": 1, "urls": {"git": f"{nethack.forge.url}/nethack.git"}},
    )
    _, found = await nethack.pagure("/nethack/git/branches?with_commits=true")
    assert list(found["default"]) == ["main"]
    assert found["branches"] == found["default"]
    assert await nethack.pagure("/nethack/git/tags") == (200, {"tags": [], "total_tags": 0})


async def test_the_instance_describes_itself(forge: Forge, alice: Client) -> None:
    for path in ("/-/version", "/version", "/version/"):
        assert await forge.nobody.pagure(path) == (200, {"version": "1"})
    assert len((await forge.nobody.pagure("/-/error_codes"))[1]) == 47
    assert await alice.post("/-/whoami") == (200, {"username": "alice"})
    status, body = await forge.nobody.post("/-/whoami")
    assert (status, body["error_code"], "errors" in body) == (401, "EINVALIDTOK", False)


async def test_unknown_paths_are_answered_in_json(forge: Forge) -> None:
    status, body = await forge.nobody.pagure("/a/b/c/d/e/f")
    assert (status, body["error_code"]) == (404, "ENOCODE")
    status, body = await forge.nobody.request("DELETE", "/api/0/version")
    assert (status, body["error_code"]) == (405, "ENOCODE")
    assert (await forge.nobody.pagure("/projects/"))[0] == 404
    assert (await forge.nobody.pagure("/-/whoami"))[1]["error_code"] == "ENOPROJECT"
    assert (await forge.nobody.request("OPTIONS", "/api/0/projects"))[0] == 200
