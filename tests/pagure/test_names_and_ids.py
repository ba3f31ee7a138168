"""Names that look like ids, and ids that are also names."""

from pathlib import Path

import pytest

from app.config import Settings
from app.core import paths
from tests.conftest import Client, Forge, commit, git
from tests.pagure.refs import find_repository


@pytest.fixture
async def impostors(nethack: Client, settings: Settings, tmp_path: Path) -> tuple[str, str]:
    """Refs that are named like a commit, as an older forge may hold them; that commit, and the one they point to."""
    work = tmp_path / "work"
    await git("clone", "-q", nethack.git_url("nethack"), str(work))
    good = await commit(work, "file", "good")
    bad = await commit(work, "file", "bad")
    await git("push", "-q", "origin", "HEAD:main", cwd=work)
    repo_path = await find_repository(nethack, settings)
    for name in (f"heads/{good}", f"tags/{good}", f"heads/{good}/f/file", "heads/HEAD", "tags/HEAD"):
        if name != f"heads/{good}/f/file":
            await git("update-ref", f"refs/{name}", bad, cwd=repo_path)
    await git("symbolic-ref", "HEAD", "refs/heads/gone", cwd=repo_path)
    return good, bad


async def read(client: Client, path: str) -> tuple[int, str]:
    async with client.forge.session.get(client.forge.url + path) as answer:
        return answer.status, await answer.text()


async def test_a_full_id_is_an_id_first(forge: Forge, nethack: Client, impostors: tuple[str, str]) -> None:
    good, bad = impostors
    for spelling in (good, good.upper()):
        assert await read(forge.nobody, f"/nethack/raw/{spelling}/f/file") == (200, "good")
        assert (await read(forge.nobody, f"/nethack/raw/{spelling}"))[1].startswith(f"From {good} ")
        found = (await forge.nobody.pagure(f"/nethack/tree/{spelling}"))[1]
        assert [entry["name"] for entry in found["content"]] == ["README.md", "file"]
        assert (await forge.nobody.pagure(f"/nethack/c/{spelling}/info"))[1]["hash"] == good
    assert (await nethack.post("/nethack/git/branch", branch="from", from_commit=good))[0] == 200
    assert (await forge.nobody.pagure("/nethack/git/branches?with_commits=1"))[1]["branches"]["from"] == good
    assert (await forge.nobody.pagure(f"/nethack/c/{good[:10]}/info"))[1]["hash"] == good
    assert await read(forge.nobody, f"/nethack/raw/{bad}/f/file") == (200, "bad")


async def test_an_id_of_nothing_is_no_ref(nethack: Client, settings: Settings, impostors: tuple[str, str]) -> None:
    repo_path = await find_repository(nethack, settings)
    await git("update-ref", f"refs/heads/{'f' * 40}", impostors[1], cwd=repo_path)
    await git("update-ref", f"refs/heads/{'e' * 40}/f/file", impostors[1], cwd=repo_path)
    for path in (f"/nethack/raw/{'f' * 40}/f/file", f"/nethack/raw/{'e' * 40}/f/file"):
        assert (await read(nethack, path))[0] == 404


async def test_head_is_no_branch_of_that_name(forge: Forge, impostors: tuple[str, str]) -> None:
    assert (await read(forge.nobody, "/nethack/raw/HEAD/f/file"))[0] == 404
    assert (await forge.nobody.pagure("/nethack/tree/HEAD"))[0] == 404


@pytest.mark.parametrize(
    ("ref", "allowed"),
    [
        (b"refs/heads/main", True),
        (b"refs/tags/v1.0", True),
        (b"refs/notes/commits", True),
        (b"refs/heads/20240101", True),
        (b"refs/heads/deadbeef", True),
        (b"refs/heads/x/" + b"0" * 40, True),
        (b"refs/heads/" + b"0" * 39, True),
        (b"refs/heads/" + b"0" * 40, False),
        (b"refs/tags/" + b"aB" * 20, False),
        (b"refs/tags/" + b"a" * 64, False),
        (b"refs/heads/HEAD", False),
        (b"refs/tags/HEAD", False),
        (b"refs/heads/-x", False),
        (b"refs/tags/--option", False),
        (b"refs/heads/refs/heads/main", False),
        (b"refs/heads/caf\xe9", False),
        (b"refs/heads/" + b"x" * 1100, False),
    ],
)
def test_a_new_ref_cannot_be_taken_for_something_else(ref: bytes, allowed: bool) -> None:
    assert paths.may_create_ref(ref) is allowed


@pytest.mark.parametrize("name", ["0" * 40, "HEAD", "-x", "refs/heads/main"])
async def test_a_new_project_cannot_have_such_a_default_branch(forge: Forge, alice: Client, name: str) -> None:
    assert (await alice.post("/new", name="p", description="d", default_branch=name))[0] == 400


async def test_the_last_page_of_nothing_can_be_read(forge: Forge, nethack: Client) -> None:
    for path in ("/api/0/nethack/issues", "/api/0/nethack/pull-requests", "/api/0/user/alice/issues"):
        status, found = await nethack.get(path)
        assert status == 200
        links = found.get("pagination") or found["pagination_issues_created"]
        assert (await nethack.get(links["last"]))[0] == 200
