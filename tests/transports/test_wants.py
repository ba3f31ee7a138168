"""A fetch gets what visible refs lead to, in every version of the protocol, and nothing else."""

from pathlib import Path

import pytest

from tests.conftest import Client, Forge, commit, git

VERSIONS = ("0", "1", "2")


async def fetch(client: Client, folder: Path, version: str, *wanted: str, path: str = "nethack") -> str | None:
    """Fetch into a new repository; what git says if that is refused, None if it is not."""
    target = folder / f"into-{version}-{len(list(folder.iterdir()))}"
    target.mkdir()
    await git("init", "-q", cwd=target)
    command = ("-c", f"protocol.version={version}", "fetch", "-q", client.git_url(path), *wanted)
    try:
        await git(*command, cwd=target)
    except AssertionError as failed:
        return str(failed)
    return None


@pytest.fixture
async def work(nethack: Client, tmp_path: Path) -> Path:
    """A clone, after a branch with a secret was pushed and deleted."""
    await git("clone", "-q", nethack.git_url("nethack"), str(tmp_path / "work"), cwd=tmp_path)
    return tmp_path / "work"


async def push_and_delete_secret(work: Path) -> dict[str, str]:
    await git("checkout", "-q", "-b", "secret", cwd=work)
    made = await commit(work, "key")
    await git("tag", "-a", "-m", "m", "secret-tag", cwd=work)
    await git("push", "-q", "origin", "secret", "secret-tag", cwd=work)
    await git("push", "-q", "origin", ":secret", ":secret-tag", cwd=work)
    found = {"commit": made}
    for kind, name in (("tree", "HEAD^{tree}"), ("blob", "HEAD:key"), ("tag", "secret-tag")):
        found[kind] = (await git("rev-parse", name, cwd=work)).strip()
    await git("checkout", "-q", "main", cwd=work)
    return found


@pytest.mark.parametrize("version", VERSIONS)
async def test_what_was_removed_is_not_given(
    forge: Forge, nethack: Client, work: Path, tmp_path: Path, version: str
) -> None:
    removed = await push_and_delete_secret(work)
    bob = await forge.user("bob")
    assert (await bob.post("/fork", repo="nethack", wait="1"))[0] == 200
    for kind, object_id in removed.items():
        for path in ("nethack", "forks/bob/nethack"):
            said = await fetch(forge.nobody, tmp_path, version, object_id, path=path)
            assert said is not None, (kind, path)
            assert "not our ref" in said, (kind, path)


@pytest.mark.parametrize("version", VERSIONS)
async def test_what_a_ref_leads_to_is_given_by_its_id(
    forge: Forge, nethack: Client, work: Path, tmp_path: Path, version: str
) -> None:
    old = (await git("rev-parse", "HEAD", cwd=work)).strip()
    await commit(work, "more")
    await git("tag", "-a", "-m", "m", "v1", cwd=work)
    await git("push", "-q", "origin", "main", "v1", cwd=work)
    tag, tree = [(await git("rev-parse", name, cwd=work)).strip() for name in ("v1", f"{old}^{{tree}}")]
    for object_id in (old, tag, tree):
        assert await fetch(forge.nobody, tmp_path, version, object_id) is None, object_id
    await push_and_delete_secret(work)
    for object_id in (old, tag, tree):  # now it is searched for
        assert await fetch(forge.nobody, tmp_path, version, object_id) is None, object_id


async def test_a_partial_clone_reads_its_files_later(forge: Forge, nethack: Client, work: Path, tmp_path: Path) -> None:
    await push_and_delete_secret(work)
    await commit(work, "more")
    await git("push", "-q", "origin", "main", cwd=work)
    url = forge.nobody.git_url("nethack")
    await git("clone", "-q", "--filter=blob:none", "--no-checkout", url, str(tmp_path / "partial"), cwd=tmp_path)
    await git("checkout", "-q", "main", cwd=tmp_path / "partial")
    assert (tmp_path / "partial" / "more").exists()


async def test_a_fork_whose_parent_was_deleted_gives_no_more_than_its_refs_lead_to(
    forge: Forge, nethack: Client, work: Path, tmp_path: Path
) -> None:
    removed = await push_and_delete_secret(work)
    bob = await forge.user("bob")
    assert (await bob.post("/fork", repo="nethack", wait="1"))[0] == 200
    bound = await nethack.limited(project="nethack")
    assert (await bound.post("/nethack/delete"))[0] == 200
    assert await fetch(bob, tmp_path, "2", removed["blob"], path="forks/bob/nethack") is not None
    assert await fetch(bob, tmp_path, "2", "main", path="forks/bob/nethack") is None
