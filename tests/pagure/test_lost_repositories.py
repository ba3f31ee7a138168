"""Projects whose repository is missing on disk: the project is shown, and its code is not found."""

import shutil

import pytest

from app.git import store
from tests.conftest import Client, Forge, git
from tests.pagure.pulls import create_branch, open_pull_request
from tests.pagure.test_code import read_page
from tests.pagure.test_sharing import NO_PROJECT

NO_COMMIT = {"error": "No such commit found in this repository", "error_code": "ENOCOMMIT"}


@pytest.fixture
async def lost(forge: Forge, nethack: Client) -> Client:
    await create_branch(nethack)
    assert (await nethack.post("/nethack/pull-request/new", title="t", branch_to="main", branch_from="still"))[0] == 200
    await forge.idle()
    [repo_path] = forge.settings.repositories.glob("*/*")
    shutil.rmtree(repo_path)
    return nethack


async def test_the_code_of_a_lost_repository_is_not_found(forge: Forge, lost: Client) -> None:
    head = (await lost.pagure("/nethack/git/branches?with_commits=1"))[1]["branches"]["main"]
    for path in ("/tree", "/tree/main", "/git/alias"):
        assert await lost.pagure(f"/nethack{path}") == (404, NO_PROJECT), path
    for method, path in (("GET", "info"), ("POST", "flag")):
        assert await lost.request(method, f"/api/0/nethack/c/{head}/{path}") == (404, NO_COMMIT)
    for page in ("raw/main/f/README.md", "raw/main"):
        assert (await read_page(lost, f"/nethack/{page}"))[0] == 404, page
    pair = {"alias_from": "x", "alias_to": "main"}
    for path, form in (
        ("branch", {"branch": "x"}), ("branches", {"branch_name": "main"}), ("alias/new", pair), ("alias/drop", pair),
        ("tags", {"tagname": "x", "commit_hash": head}),
    ):  # fmt: skip
        assert await lost.post(f"/nethack/git/{path}", **form) == (404, NO_PROJECT), path
    form = {"title": "t", "branch_to": "main", "branch_from": "still"}
    assert await lost.post("/nethack/pull-request/new", **form) == (404, NO_PROJECT)
    assert (await lost.pagure("/nethack"))[0] == 200


async def test_missing_commits_are_a_git_error(forge: Forge, lost: Client) -> None:
    project = (await lost.pagure("/nethack"))[1]["id"]
    await git("init", "-q", "--bare", str(store.repository_path(forge.settings.repositories, project)))
    form = {"title": "t", "branch_to": "main", "branch_from": "still"}
    failed = {"error": "An error occurred during a git operation", "error_code": "EGITERROR"}
    assert await lost.post("/nethack/pull-request/new", **form) == (400, failed)


async def test_a_pull_request_to_a_lost_repository_is_neither_merged_nor_rebased(
    forge: Forge, nethack: Client, bob: Client
) -> None:
    project = (await nethack.pagure("/nethack"))[1]["id"]
    await open_pull_request(bob)
    await forge.idle()
    shutil.rmtree(store.repository_path(forge.settings.repositories, project))
    assert await bob.post("/nethack/pull-request/1/rebase") == (
        400,
        {"error": "Could not find the targeted git repository for nethack", "error_code": "ENOCODE"},
    )
    status, body = await nethack.post("/nethack/pull-request/1/merge")
    assert (status, body["error_code"]) == (409, "EPRCONFLICTS")
    assert (await nethack.pagure("/nethack/pull-request/1"))[1]["status"] == "Open"
