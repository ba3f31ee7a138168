"""The settings, owner and tokens of projects, and their deletion."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from app.config import Settings
from app.git import store
from tests.conftest import Client, Forge
from tests.pagure.test_sharing import ADDRESSES, NO_PROJECT, NOT_ALLOWED, NOT_HIGH_ENOUGH, four_projects, grant_access

DEFAULTS = {
    "Enforce_signed-off_commits_in_pull-request": False,
    "Minimum_score_to_merge_pull-request": -1,
    "Only_assignee_can_merge_pull-request": False,
    "Web-hooks": None,
    "always_merge": False,
    "disable_non_fast-forward_merges": False,
    "fedmsg_notifications": True,
    "issue_tracker": True,
    "issue_tracker_read_only": False,
    "issues_default_to_private": False,
    "mqtt_notifications": True,
    "notify_on_commit_flag": False,
    "notify_on_pull-request_flag": False,
    "open_metadata_access_to_all": False,
    "project_documentation": False,
    "pull_request_access_only": False,
    "pull_requests": True,
    "stomp_notifications": True,
}
HOOKS = "https://example.org/a\nhttps://example.org/b"


@pytest.mark.parametrize("path", ADDRESSES)
async def test_options_have_defaults_and_keep_their_values(alice: Client, path: str) -> None:
    await four_projects(alice)
    fork = {"issue_tracker": False, "pull_requests": False} if path.startswith("/fork") else {}
    assert await alice.pagure(f"{path}/options") == (200, {"settings": {**DEFAULTS, **fork}, "status": "ok"})
    update = f"{path}/options/update"
    name = (await alice.pagure(path))[1]["fullname"]
    edited = {"message": f"Edited successfully settings of repo: {name}", "status": "ok"}
    assert await alice.post(update, **{"always_merge": "True", "Web-hooks": HOOKS, "color": "red"}) == (200, edited)
    now = {**DEFAULTS, **fork, "always_merge": True, "Web-hooks": HOOKS}
    assert (await alice.pagure(f"{path}/options"))[1]["settings"] == now
    same = {"always_merge": True, "issues_default_to_private": False, "unheard_of": 1}
    assert await alice.json("POST", f"/api/0{update}", same) == (
        200,
        {"message": "No settings to change", "status": "ok"},
    )


@pytest.mark.parametrize("name", [name for name, default in DEFAULTS.items() if isinstance(default, bool)])
async def test_every_switch_can_be_turned_on_and_off(nethack: Client, name: str) -> None:
    for given, value in (("y", True), ("no", False), ("1", True), ("", False), ("TRUE", True)):
        assert (await nethack.post("/nethack/options/update", **{name: given}))[0] == 200
        settings = (await nethack.pagure("/nethack/options"))[1]["settings"]
        assert settings == {**DEFAULTS, name: value}


@pytest.mark.parametrize(
    ("name", "given", "value"),
    [
        ("Minimum_score_to_merge_pull-request", "3", 3), ("Minimum_score_to_merge_pull-request", 2, 2),
        ("Minimum_score_to_merge_pull-request", "0", -1), ("Minimum_score_to_merge_pull-request", "", -1),
        ("Web-hooks", "", None), ("Web-hooks", False, None),
    ],
)  # fmt: skip
async def test_scores_and_hooks_are_parsed(nethack: Client, name: str, given: object, value: object) -> None:
    await nethack.post("/nethack/options/update", **{"Minimum_score_to_merge_pull-request": "9", "Web-hooks": HOOKS})
    assert (await nethack.json("POST", "/api/0/nethack/options/update", {name: given}))[0] == 200
    assert (await nethack.pagure("/nethack/options"))[1]["settings"][name] == value


async def test_an_invalid_score_is_refused_and_invalid_json_ignored(nethack: Client) -> None:
    for score in ("many", "1.5", "9" * 400):
        status, body = await nethack.post(
            "/nethack/options/update", **{"Minimum_score_to_merge_pull-request": score, "always_merge": "1"}
        )
        assert (status, body) == (
            400,
            {
                "error": "Please enter a numeric value for the 'minimum score to merge pull request' field.",
                "error_code": "ENOCODE",
            },
        )
    broken = {"data": b"{", "headers": {"Content-Type": "application/json"}}
    status, body = await nethack.request("POST", "/api/0/nethack/options/update", **broken)
    assert (status, body["message"]) == (200, "No settings to change")
    assert (await nethack.pagure("/nethack/options"))[1]["settings"] == DEFAULTS


async def test_readers_see_options_and_administrators_change_them(forge: Forge, nethack: Client) -> None:
    bob = await forge.user("bob")
    await nethack.post("/nethack/options/update", **{"Web-hooks": HOOKS})
    await grant_access(nethack, "bob", "commit")
    assert (await bob.pagure("/nethack/options"))[1]["settings"] == DEFAULTS
    assert await bob.post("/nethack/options/update", always_merge="1") == (401, NOT_ALLOWED)
    await grant_access(nethack, "bob", "admin")
    assert (await bob.pagure("/nethack/options"))[1]["settings"]["Web-hooks"] == HOOKS
    assert (await bob.post("/nethack/options/update", always_merge="1"))[0] == 200


async def test_the_urls_of_hooks_are_hidden_in_the_feed(forge: Forge, nethack: Client) -> None:
    await nethack.post("/nethack/options/update", **{"Web-hooks": HOOKS, "always_merge": "1"})
    await forge.numbered()
    for reader in (forge.nobody, await forge.user("bob")):
        [event] = (await reader.get("/v1/events?types=project.configured"))[1]["events"]
        assert "settings" not in event["data"]
    for reader in (nethack, forge.admin):
        [event] = (await reader.get("/v1/events?types=project.configured"))[1]["events"]
        hooks = event["data"]["settings"].pop("web_hooks")
        assert event["data"]["settings"] == {"always_merge": True}
        assert [hook.keys() for hook in hooks] == [{"id", "host"}] * 2
        assert [hook["host"] for hook in hooks] == ["example.org"] * 2


async def test_a_tracker_is_disabled_and_enabled(nethack: Client) -> None:
    await nethack.post("/nethack/options/update", issue_tracker="0")
    assert (await nethack.pagure("/nethack/issues"))[1]["error_code"] == "ETRACKERDISABLED"
    await nethack.post("/nethack/options/update", issue_tracker="1", issue_tracker_read_only="1")
    status, body = await nethack.post("/nethack/new_issue", title="t", issue_content="c")
    assert (status, body["error_code"]) == (401, "ETRACKERREADONLY")


# ---------------------------------------------------------------- owners


@pytest.mark.parametrize("path", ["/nethack", "/rpms/nethack"])
async def test_a_project_is_transferred(forge: Forge, alice: Client, path: str) -> None:
    await four_projects(alice)
    await forge.user("bob")
    await grant_access(alice, "bob", "commit", path=path)
    before = (await alice.pagure(path))[1]
    status, shown = await alice.json("PATCH", f"/api/0{path}", {"main_admin": "bob"})
    assert (status, shown.keys()) == (200, before.keys())
    assert shown["user"] == {
        "default_email": "bob@example.org",
        "emails": ["bob@example.org"],
        "full_url": f"{forge.url}/user/bob",
        "fullname": "bob",
        "name": "bob",
        "url_path": "user/bob",
    }
    assert shown["access_users"] == {"admin": [], "collaborator": [], "commit": [], "owner": ["bob"], "ticket": []}
    assert "emails" not in (await alice.pagure(path))[1]["user"]
    status, body = await alice.json("PATCH", f"/api/0{path}", {"main_admin": "alice"})
    assert (status, body) == (401, NOT_ALLOWED)


@pytest.mark.parametrize(("retain", "kept"), [("true", True), (True, True), ("1", True), ("no", False), (False, False)])
async def test_the_former_owner_may_stay_administrator(
    forge: Forge, nethack: Client, retain: object, kept: bool
) -> None:
    await forge.user("bob")
    command = {"main_admin": "bob@example.org", "retain_access": retain}
    _, shown = await nethack.json("PATCH", "/api/0/nethack", command)
    assert (shown["user"]["name"], shown["access_users"]["admin"]) == ("bob", ["alice"] if kept else [])
    status, shown = await nethack.json("PATCH", "/api/0/nethack", {"retain_access": "1"})
    assert status == (200 if kept else 401)


async def test_a_transfer_to_the_owner_or_to_nobody_changes_nothing(nethack: Client) -> None:
    before = (await nethack.pagure("/nethack"))[1]
    for command in ({"main_admin": "alice", "retain_access": "1"}, {"retain_access": "1"}):
        status, shown = await nethack.json("PATCH", "/api/0/nethack", command)
        assert (status, shown["date_modified"], shown["user"]["name"]) == (200, before["date_modified"], "alice")
        assert shown["access_users"]["admin"] == []


async def test_invalid_transfers_are_refused(forge: Forge, nethack: Client) -> None:
    bob = await forge.user("bob")
    await grant_access(nethack, "bob", "admin")
    for body in ({}, {"main_admin": "bob", "name": "x"}, {"main_admin": None}, [1], {"main_admin": {"a": 1}}):
        status, answer = await nethack.json("PATCH", "/api/0/nethack", body)
        assert (status, answer["error_code"], "errors" in answer) == (400, "EINVALIDREQ", False), body
    assert (await nethack.request("PATCH", "/api/0/nethack", data=b"{"))[1]["error_code"] == "EINVALIDREQ"
    assert await bob.json("PATCH", "/api/0/nethack", {"main_admin": "ghost"}) == (
        401,
        {"error": "Only the main admin can set the main admin of a project", "error_code": "ENOTMAINADMIN"},
    )
    assert await nethack.json("PATCH", "/api/0/nethack", {"main_admin": "ghost"}) == (
        400,
        {"error": "No such user found", "error_code": "ENOUSER"},
    )
    carol = await forge.user("carol")
    assert await carol.json("PATCH", "/api/0/nethack", {}) == (401, NOT_ALLOWED)
    assert (await forge.admin.json("PATCH", "/api/0/nethack", {"main_admin": "carol"}))[0] == 200
    assert (await carol.json("PATCH", "/api/0/fork/alice/nethack", {"main_admin": "bob"}))[0] == 405


@pytest.mark.parametrize(("path", "status"), [("/nethack", 400), ("/rpms/nethack", 200)])
async def test_a_transfer_to_an_owner_with_a_project_of_that_path_is_refused(
    forge: Forge, alice: Client, path: str, status: int
) -> None:
    await four_projects(alice)
    bob = await forge.user("Bob")
    assert (await bob.post("/new", name="NetHack", description="d", private="1"))[0] == 200
    answer, body = await alice.json("PATCH", f"/api/0{path}", {"main_admin": "Bob"})
    assert (answer, body.get("error_code")) == (status, "EDBERROR" if status == 400 else None)
    assert (await alice.pagure(path))[1]["user"]["name"] == ("Bob" if status == 200 else "alice")


async def test_every_change_updates_the_modification_date(forge: Forge, nethack: Client) -> None:
    await forge.user("bob")
    for method, path, form in (
        ("POST", "/options/update", {"always_merge": "1"}),
        ("POST", "/git/modifyacls", {"user_type": "user", "name": "bob", "acl": "admin"}),
        ("PATCH", "", {"main_admin": "bob", "retain_access": "1"}),
    ):
        await forge.db.execute("update projects set modified_at = '2001-01-01'")
        before = (await nethack.pagure("/nethack"))[1]
        assert (await nethack.request(method, f"/api/0/nethack{path}", data=form))[0] == 200
        after = (await nethack.pagure("/nethack"))[1]
        assert int(after["date_modified"]) > int(before["date_modified"]) == 978307200, path
        assert after["date_created"] == before["date_created"]


# ---------------------------------------------------------------- tasks


@pytest.mark.parametrize("path", ADDRESSES)
async def test_access_is_refreshed_at_once(forge: Forge, alice: Client, path: str) -> None:
    await four_projects(alice)
    status, queued = await alice.post(f"{path}/git/generateacls", wait="False")
    assert (status, queued.keys(), queued["message"]) == (
        200,
        {"message", "taskid"},
        "Project ACL generation queued",
    )
    assert alice.headers["Location"] == f"{forge.url}/v1/tasks/{queued['taskid']}"
    assert await forge.nobody.pagure(f"/task/{queued['taskid']}/status") == (
        200,
        {"ready": True, "status": "SUCCESS", "successful": True},
    )
    task = (await alice.get(f"/v1/tasks/{queued['taskid']}"))[1]
    assert (task["kind"], task["project"], task["percent"]) == ("refresh-access", path[1:], 100)
    for wait in ("true", True):
        assert await alice.json("POST", f"/api/0{path}/git/generateacls", {"wait": wait}) == (
            200,
            {"message": "Project ACLs generated"},
        )


# ---------------------------------------------------------------- the end


@pytest.mark.parametrize("path", ADDRESSES)
async def test_a_project_is_deleted_with_its_repository(forge: Forge, alice: Client, path: str) -> None:
    await four_projects(alice)
    before = (await alice.pagure(path))[1]
    repo_path = store.repository_path(forge.settings.repositories, before["id"])
    assert repo_path.exists()
    if not path.startswith("/fork"):
        await alice.post(f"{path}/new_issue", title="t", issue_content="c", tag="pet")
    bound = await alice.limited(project=path[1:])
    assert await bound.post(f"{path}/delete") == (200, {"message": "Project deleted", "project": before})
    assert (await alice.pagure(path))[1]["error_code"] == "ENOPROJECT"
    await forge.numbered()
    async with asyncio.timeout(20):
        while await forge.db.fetchval("select count(*) from work where done_at is null"):
            await asyncio.sleep(0.02)
    assert not repo_path.exists()
    assert [left.name for left in repo_path.parent.iterdir() if str(before["id"]) in left.name] == []
    assert (await alice.pagure("/projects"))[1]["total_projects"] == 3
    for table in ("issues", "issue_tags", "refs", "access"):
        rows = await forge.db.fetchval(f"select count(*) from {table} where project_id = $1", before["id"])
        assert rows == 0, table


async def test_the_ancestors_of_a_fork_end_at_a_deleted_project(forge: Forge, nethack: Client) -> None:
    bob, carol = await forge.user("bob"), await forge.user("carol")
    await bob.post("/fork", repo="nethack")
    await carol.post("/fork", repo="nethack", username="bob")
    bound = await bob.limited(project="fork/bob/nethack")
    assert (await bound.post("/fork/bob/nethack/delete"))[0] == 200
    assert (await carol.pagure("/fork/carol/nethack"))[1]["parent"] is None
    assert (await carol.pagure("/fork/carol/nethack/git/branches"))[1]["branches"] == ["main"]
    assert (await bob.post("/fork", repo="nethack"))[0] == 200


async def test_deleting_takes_a_bound_token_and_an_administrator(forge: Forge, nethack: Client) -> None:
    status, body = await nethack.post("/nethack/delete")
    assert (status, body["error_code"], "errors" in body) == (401, "EINVALIDTOK", False)
    bob = await forge.user("bob")
    await grant_access(nethack, "bob", "commit")
    bound = await bob.limited(project="nethack")
    assert await bound.post("/nethack/delete") == (401, NOT_HIGH_ENOUGH)
    await grant_access(nethack, "bob", "admin")
    assert (await bound.post("/nethack/delete"))[0] == 200
    assert (await nethack.post("/new", name="nethack", description="d"))[0] == 200


async def test_a_project_cannot_be_deleted_while_it_is_being_created(forge: Forge, nethack: Client) -> None:
    await forge.db.execute("update projects set head = null")
    bound = await nethack.limited(project="nethack")
    status, body = await bound.post("/nethack/delete")
    assert (status, body["error_code"]) == (400, "ENOCODE")
    assert (await nethack.pagure("/nethack"))[0] == 200


class TestWithoutDeletion:
    @pytest.fixture(params=["projects", "forks"])
    def kept(self, request: pytest.FixtureRequest) -> str:
        return str(request.param)

    @pytest.fixture
    def settings(self, own_settings: Settings, kept: str) -> Settings:
        return own_settings.model_copy(update={f"delete_{kept}": False})

    async def test_deletion_of_projects_and_of_forks_is_disabled_separately(
        self, forge: Forge, nethack: Client, kept: str
    ) -> None:
        assert (await nethack.post("/fork", repo="nethack"))[0] == 200
        bob = await forge.user("bob")
        for path, kind in (("fork/alice/nethack", "forks"), ("nethack", "projects")):
            assert (await nethack.post(f"/{path}/delete"))[0] == 401
            bound = await bob.limited(project=path)
            refused = (404, NO_PROJECT) if kind == kept else (401, NOT_HIGH_ENOUGH)
            assert await bound.post(f"/{path}/delete") == refused
            bound = await nethack.limited(project=path)
            assert (await bound.post(f"/{path}/delete"))[0] == (404 if kind == kept else 200)


# ---------------------------------------------------------------- tokens


@pytest.mark.parametrize("path", ADDRESSES)
async def test_a_project_token_is_limited_to_its_project_and_scopes(alice: Client, path: str) -> None:
    await four_projects(alice)
    one = await alice.limited(acls=["modify_project", "issue_create"])
    status, body = await one.request(
        "POST",
        f"/api/0{path}/token/new",
        data=[("acls", "modify_project"), ("acls", "issue_create"), ("description", "CI")],
    )
    assert (status, body.keys(), body["token"].keys()) == (200, {"token"}, {"description", "id"})
    assert body["token"]["description"] == "CI"
    made = Client(alice.forge, body["token"]["id"], "alice")
    assert (await made.pagure(f"{path}/options"))[0] == 200
    other = next(each for each in ADDRESSES if each != path)
    assert (await made.pagure(f"{other}/options"))[0] == 401
    assert (await made.post("/new", name="x", description="d"))[1]["errors"] == "Missing ACLs: create_project"
    status, body = await made.pagure(f"{path}/connector")
    [shown] = body["connector"]["api_tokens"]
    assert (status, body.keys(), body["status"]) == (200, {"connector", "status"}, "ok")
    assert (shown.keys(), shown["description"], shown["expired"]) == ({"description", "expired", "id"}, "CI", False)
    assert made.token is not None
    assert made.token not in str(body)
    assert (await alice.json("DELETE", f"/v1/tokens/{shown['id']}"))[0] == 204
    assert (await alice.pagure(f"{path}/connector"))[1]["connector"]["api_tokens"] == []


@pytest.mark.parametrize(
    ("form", "errors"),
    [
        ({}, {"acls": ["This field is required."]}),
        ({"acls": "generate_acls_project"}, {"acls": ["Not a valid choice"]}),
        ({"acls": "everything"}, {"acls": ["Not a valid choice"]}),
        ({"acls": "commit", "expiration_date": "tomorrow"}, {"expiration_date": ["Invalid input."]}),
        ({"acls": "commit", "expiration_date": "2001-01-01"}, {"expiration_date": ["Invalid input."]}),
        ({"acls": "commit", "expiration_date": "20990101"}, {"expiration_date": ["Invalid input."]}),
        ({"acls": "x", "expiration_date": "2999-01-01"}, {"acls": ["Not a valid choice"]}),
    ],
)
async def test_invalid_tokens_are_refused(nethack: Client, form: dict[str, str], errors: object) -> None:
    status, body = await nethack.post("/nethack/token/new", **form)
    assert (status, body["error_code"], body["errors"]) == (400, "EINVALIDREQ", errors)


async def test_a_token_lasts_half_a_year_or_two_years_at_most(forge: Forge, nethack: Client) -> None:
    today = datetime.now(UTC).date()
    assert (await nethack.post("/nethack/token/new", acls="commit"))[1]["token"]["description"] is None
    longest = str(today + timedelta(days=730))
    assert (await nethack.post("/nethack/token/new", acls="commit", expiration_date=longest))[0] == 200
    rows = await forge.db.fetch("select expires_at from tokens where project_id is not null order by created_at")
    assert [row["expires_at"].date() - today for row in rows] == [timedelta(days=180), timedelta(days=730)]
    longer = str(today + timedelta(days=731))
    assert await nethack.post("/nethack/token/new", acls="commit", expiration_date=longer) == (
        400,
        {"error": "API tokens can only be created up to 2 years", "error_code": "ENOCODE"},
    )


async def test_only_administrators_create_tokens_of_a_project(forge: Forge, nethack: Client) -> None:
    bob = await forge.user("bob")
    await grant_access(nethack, "bob", "commit")
    assert await bob.post("/nethack/token/new") == (401, NOT_HIGH_ENOUGH)
    assert await bob.pagure("/nethack/connector") == (401, NOT_HIGH_ENOUGH)
