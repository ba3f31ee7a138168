"""The creation of projects and forks, and its refusals."""

from pathlib import Path
from typing import Any

import pytest
from aiohttp import FormData

from app.config import Settings
from tests.conftest import Client, Forge, git, run_forge

QUEUED = {"message": "Project creation queued"}
NO_NAMESPACE = (
    "The namespace of your project must be in the list of allowed namespaces set by the admins of this pagure "
    "instance, or the name of a group of which you are a member."
)


@pytest.mark.parametrize("path", ["/new", "/new/"])
@pytest.mark.parametrize("encoding", ["form", "multipart", "JSON"])
async def test_every_field_is_accepted_in_every_encoding(
    alice: Client, path: str, encoding: str, tmp_path: Path
) -> None:
    fields: dict[str, Any] = {
        "name": "x+y.z", "description": "A game", "namespace": " rpms ", "url": "https://example.org/x",
        "avatar_email": "a@b.c", "create_readme": "True", "private": "False", "mirrored_from": "",
        "default_branch": "trunk", "ignore_existing_repos": "1", "repospanner_region": "east", "unknown": "x",
        "wait": "True",
    }  # fmt: skip
    if encoding == "JSON":
        natives = {"create_readme": True, "private": False, "mirrored_from": None, "wait": True, "unknown": 1}
        answer = await alice.json("POST", f"/api/0{path}", {**fields, **natives})
    elif encoding == "multipart":
        parts = FormData(list(fields.items()), default_to_multipart=True)
        answer = await alice.request("POST", f"/api/0{path}", data=parts)
    else:
        answer = await alice.post(path, **fields)
    assert answer == (200, QUEUED)
    shown = (await alice.forge.nobody.pagure("/rpms/x+y.z"))[1]
    assert (shown["fullname"], shown["description"], shown["namespace"]) == ("rpms/x+y.z", "A game", "rpms")
    work = tmp_path / "work"
    await git("clone", "-q", alice.git_url("rpms/x+y.z"), str(work))
    assert (work / "README.md").read_text().rstrip("\n") == "# x+y.z\n\nA game"
    line = await git("log", "--format=%an <%ae> %s", cwd=work)
    assert line == "alice <alice@example.org> Added the README\n"
    assert (await git("branch", "--show-current", cwd=work)) == "trunk\n"


async def test_a_project_without_a_readme_is_empty(alice: Client) -> None:
    for name, given in (("one", "false"), ("two", "0"), ("three", ""), ("four", "False")):
        assert await alice.post("/new", name=name, description="d", create_readme=given, private=given) == (200, QUEUED)
        assert (await alice.pagure(f"/{name}/git/branches"))[1] == {
            "branches": [], "default": None, "total_branches": 0,
        }  # fmt: skip
        assert (await alice.pagure(f"/{name}/git/branches?with_commits=1"))[1]["default"] == {}
        assert (await alice.pagure(f"/{name}/git/tags?with_commits=1"))[1] == {"tags": {}, "total_tags": 0}


async def test_every_spelling_of_no_declines_to_wait(alice: Client) -> None:
    for number, wait in enumerate(("False", "0", "f", "n", "No", "", False, 0, None)):
        command = {"name": f"p{number}", "description": "d", "wait": wait}
        status, body = await alice.json("POST", "/api/0/new", command)
        assert (status, body.keys(), body["message"]) == (200, {"message", "taskid"}, "Project creation queued"), wait
        assert (await alice.pagure(f"/p{number}"))[0] == 200
    for number, command in enumerate(({}, {"wait": "yes"}, {"wait": 1}, {"wait": True})):
        assert await alice.json("POST", "/api/0/new", {"name": f"q{number}", "description": "d", **command}) == (
            200,
            QUEUED,
        )


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("name", " ", "This field is required."), ("name", "a b", "Invalid input."),
        ("description", " ", "This field is required."),
        ("url", "gopher://example.org", "Invalid input."), ("url", "https://nowhere", "Invalid input."),
        ("url", "example.org", "Invalid input."), ("mirrored_from", "file:///etc", "Invalid input."),
        ("avatar_email", "a@b", "avatar_email must be an email"),
        ("avatar_email", "nobody", "avatar_email must be an email"),
        ("namespace", "alice", "Not a valid choice"), ("namespace", "RPMS", "Not a valid choice"),
        ("default_branch", "a..b", "Invalid input."),
    ],
)  # fmt: skip
async def test_errors_name_the_invalid_fields(alice: Client, field: str, value: str, message: str) -> None:
    fields = {"name": "x", "description": "d", field: value}
    assert await alice.post("/new", **fields) == (
        400,
        {
            "error": "Invalid or incomplete input submitted",
            "error_code": "EINVALIDREQ",
            "errors": {field: [message]},
        },
    )
    assert (await alice.pagure("/projects"))[1]["total_projects"] == 0


@pytest.mark.parametrize(
    "url",
    [
        "http://localhost", "HTTPS://10.0.0.1:8080/x?y#z", "git://example.org/x.git",
        "ftp://[::1]:21/", "https://a-b.example.museum",
    ],
)  # fmt: skip
async def test_an_existing_path_is_refused(alice: Client, url: str) -> None:
    assert await alice.post("/new", name="x", description="d", url=url) == (200, QUEUED)


async def test_disabled_mirrors_are_refused_after_the_form(own_settings: Settings) -> None:
    mirror = {"mirrored_from": "https://example.org/x.git"}
    async with run_forge(own_settings.model_copy(update={"mirroring": False})) as forge:
        alice = await forge.user("alice")
        status, body = await alice.post("/new", name="x", **mirror)
        assert body["errors"] == {"description": ["This field is required."]}
        status, body = await alice.post("/new", name="projects", description="d", **mirror)
        assert (status, body["error_code"]) == (400, "EMIRRORINGDISABLED")
        assert body["error"] == "Mirroring external project has been disabled in this instance"


RESERVED = """
    static pv releases new api settings search fork logout login user users groups projects ssh_info issues
    pull-requests commits tree forks admin c wait dashboard API New
"""


async def test_reserved_paths_are_refused(forge: Forge, alice: Client) -> None:
    message = 'No project "{}" are allowed to be created due to potential conflicts in URLs with pagure itself'
    for name in RESERVED.split():
        assert await alice.post("/new", name=name, description="d") == (
            400,
            {"error": message.format(name), "error_code": "ENOCODE"},
        )
    assert await alice.post("/new", name="static", description="d", namespace="rpms") == (200, QUEUED)
    for namespace in ("docs", "tickets", "requests"):
        someone = await forge.user(namespace)
        status, body = await someone.post("/new", name="x", description="d", private="1")
        assert (status, body["error"]) == (400, message.format(f"{namespace}/x"))


async def test_a_private_project_is_created_below_its_owners_name(forge: Forge, alice: Client) -> None:
    for given in ("", "rpms"):
        name = f"secret-{given}"
        assert await alice.post("/new", name=name, description="d", private="1", namespace=given) == (200, QUEUED)
        status, shown = await alice.pagure(f"/alice/{name}")
        assert (status, shown["namespace"], shown["fullname"]) == (200, "alice", f"alice/{name}")
    assert await alice.post("/new", name="secret-", description="d", private="1") == (
        400,
        {"error": 'It is not possible to create the repo "alice/secret-"', "error_code": "ENOCODE"},
    )


class TestWithoutNewProjects:
    @pytest.fixture
    def settings(self, own_settings: Settings) -> Settings:
        return own_settings.model_copy(update={"new_projects": False})

    async def test_new_projects_are_refused_before_the_form_is_read(self, forge: Forge, alice: Client) -> None:
        assert await alice.post("/new") == (
            404,
            {"error": "Creating project have been disabled for this instance", "error_code": "ENEWPROJECTDISABLED"},
        )
        assert (await forge.nobody.post("/new"))[0] == 401


class TestWithoutPrivateProjects:
    @pytest.fixture
    def settings(self, own_settings: Settings) -> Settings:
        return own_settings.model_copy(update={"private_projects": False})

    async def test_a_private_project_is_refused(self, alice: Client) -> None:
        refused = (400, {"error": NO_NAMESPACE, "error_code": "ENOCODE"})
        assert await alice.post("/new", name="x", description="d", private="1") == refused
        assert await alice.post("/new", name="x", description="d", private="0") == (200, QUEUED)


class TestWithUserNamespaces:
    @pytest.fixture
    def settings(self, own_settings: Settings) -> Settings:
        return own_settings.model_copy(update={"user_namespaces": True})

    async def test_a_project_is_created_below_its_owners_name_by_default(self, forge: Forge, alice: Client) -> None:
        bob = await forge.user("bob")
        assert await alice.post("/new", name="one", description="d") == (200, QUEUED)
        assert await alice.post("/new", name="two", description="d", namespace="alice") == (200, QUEUED)
        assert await alice.post("/new", name="three", description="d", namespace="rpms") == (200, QUEUED)
        _, found = await forge.nobody.pagure("/projects?short=1")
        assert [each["fullname"] for each in found["projects"]] == ["alice/one", "rpms/three", "alice/two"]
        status, body = await bob.post("/new", name="x", description="d", namespace="alice")
        assert (status, body["errors"]) == (400, {"namespace": ["Not a valid choice"]})


# ---------------------------------------------------------------- forks


@pytest.mark.parametrize("path", ["/fork", "/fork/"])
async def test_a_fork_is_answered_with_the_message_that_clients_expect(forge: Forge, alice: Client, path: str) -> None:
    assert await alice.post("/new", name="bash", description="A shell", namespace="rpms", create_readme="1") == (
        200,
        QUEUED,
    )
    bob, carol = await forge.user("bob"), await forge.user("carol")
    command = {"repo": "BASH", "namespace": " rpms ", "wait": True}
    assert await bob.json("POST", f"/api/0{path}", command) == (
        200,
        {"message": 'Repo "rpms/bash" cloned to "bob/rpms/bash"'},
    )
    assert await bob.json("POST", f"/api/0{path}", command) == (
        400,
        {"error": 'Repo "forks/bob/bash" already exists', "error_code": "ENOCODE"},
    )
    status, queued = await carol.json("POST", f"/api/0{path}", {**command, "username": "bob", "wait": None})
    assert (status, queued.keys(), queued["message"]) == (200, {"message", "taskid"}, "Project forking queued")
    assert (await carol.get(f"/v1/tasks/{queued['taskid']}?wait=20"))[1]["status"] == "succeeded"
    shown = (await carol.pagure("/fork/carol/rpms/bash"))[1]
    assert (shown["name"], shown["namespace"], shown["description"]) == ("bash", "rpms", "A shell")
    assert (shown["parent"]["url_path"], shown["parent"]["parent"]["url_path"]) == ("fork/bob/rpms/bash", "rpms/bash")
    assert (shown["tags"], shown["close_status"], shown["access_users"]["owner"]) == ([], [], ["carol"])


async def test_invalid_forks_are_refused(forge: Forge, nethack: Client) -> None:
    assert (await nethack.post("/new", name="secret", description="d", private="1"))[0] == 200
    bob = await forge.user("bob")
    assert (await bob.post("/fork"))[1] == {
        "error": "Invalid or incomplete input submitted",
        "error_code": "EINVALIDREQ",
        "errors": {"repo": ["This field is required."]},
    }
    for command in (
        {"repo": "ghost"}, {"repo": "nethack", "namespace": "rpms"}, {"repo": "nethack", "username": "alice"},
        {"repo": "secret", "namespace": "alice"}, {"repo": "alice/secret"},
    ):  # fmt: skip
        assert await bob.post("/fork", **command) == (404, {"error": "Project not found", "error_code": "ENOPROJECT"})
    one = await bob.limited(acls=["create_project"])
    assert (await one.post("/fork", repo="nethack"))[1]["errors"] == "Missing ACLs: fork_project"
    assert (await nethack.post("/new", name="x", description="d", namespace="rpms"))[0] == 200
    assert (await bob.post("/fork", repo="rpms/x"))[0] == 404
