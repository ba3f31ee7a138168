"""Faults of git objects that old tools have made."""

from pathlib import Path

import pytest

from app.git import limits
from tests.conftest import Client, Forge, git
from tests.git import bombs
from tests.git.repositories import create_bare, write_object

PLAIN = "V <v@example.org> 1312735823 +0000"
NO_SPACE = "V <v@example.org>1312735823 +0000"
BAD_ZONE = "V <v@example.org> 1312735823 +051800"
NO_NAME = "<v@example.org> 1312735823 +0000"


def write_signed(repo_path: Path, tree: str, person: str) -> str:
    return write_object(repo_path, "commit", f"tree {tree}\nauthor {person}\ncommitter {person}\n\nm\n".encode())


def write_folder(repo_path: Path, name: str = "d", mode: str = "40000") -> str:
    blob = write_object(repo_path, "blob", b"hello\n")
    return bombs.write_tree(repo_path, [(mode, name, bombs.write_tree(repo_path, [("100644", "a", blob)]))])


@pytest.mark.parametrize("fault", ["zone", "space", "mode"])
async def test_what_large_forges_accept_is_accepted_and_read(
    forge: Forge, nethack: Client, tmp_path: Path, fault: str
) -> None:
    local = await create_bare(tmp_path)
    person = {"zone": BAD_ZONE, "space": NO_SPACE}.get(fault, PLAIN)
    made = write_signed(local, write_folder(local, mode="040000" if fault == "mode" else "40000"), person)
    await git("push", "-q", nethack.git_url("nethack"), f"{made}:refs/heads/old", cwd=local)
    status, info = await forge.nobody.pagure(f"/nethack/c/{made}/info")
    assert (status, info["author"], info["commit_time"]) == (200, "V", 1312735823)
    async with forge.session.get(f"{forge.url}/nethack/raw/old/f/d/a") as answer:
        assert (answer.status, await answer.text()) == (200, "hello\n")
    async with forge.session.get(f"{forge.url}/nethack/raw/{made}") as answer:
        assert (answer.status, "\n+hello\n" in await answer.text()) == (200, True)
    await git("clone", "-q", "-b", "old", nethack.git_url("nethack"), str(tmp_path / "clone"))
    assert (tmp_path / "clone/d/a").read_text() == "hello\n"


@pytest.mark.parametrize("fault", [".git", "..", "no name"])
async def test_other_faults_are_refused(nethack: Client, tmp_path: Path, fault: str) -> None:
    local = await create_bare(tmp_path)
    named = fault != "no name"
    made = write_signed(local, write_folder(local, fault if named else "d"), PLAIN if named else NO_NAME)
    await git("push", "-q", nethack.git_url("nethack"), f"{made}:refs/heads/old", cwd=local, fails=True)


async def test_the_accepted_faults_are_a_setting(nethack: Client, tmp_path: Path) -> None:
    local, url = await create_bare(tmp_path), nethack.git_url("nethack")
    unnamed = write_signed(local, write_folder(local), NO_NAME)
    zone = write_signed(local, write_folder(local), BAD_ZONE)
    other = limits.current_settings().model_copy(update={"git_accepted_faults": ["missingNameBeforeEmail"]})
    with limits.using_settings(other):
        await git("push", "-q", url, f"{unnamed}:refs/heads/unnamed", cwd=local)
        await git("push", "-q", url, f"{zone}:refs/heads/zone", cwd=local, fails=True)


async def test_deleting_the_default_branch_is_refused_in_one_sentence(nethack: Client, tmp_path: Path) -> None:
    local = await create_bare(tmp_path)
    said = await git("push", nethack.git_url("nethack"), ":main", cwd=local, fails=True)
    assert "choose another default branch before you delete it" in said
    assert "denyDeleteCurrent" not in said
