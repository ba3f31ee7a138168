"""A fetch gets what visible refs lead to, in every version of the protocol, and nothing else."""

from contextlib import suppress
from pathlib import Path

import pytest
from aiohttp import ClientPayloadError

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


def pkt(*lines: bytes) -> bytes:
    return b"".join(b"%04x%s" % (len(line) + 4, line) for line in lines)


async def ask_for_pack(forge: Forge, *lines: bytes) -> bytes:
    """Send a fetch in version 2 that no git would send; the answer."""
    body = pkt(b"command=fetch\n") + b"0001" + pkt(*lines, b"done\n") + b"0000"
    headers = {"Content-Type": "application/x-git-upload-pack-request", "Git-Protocol": "version=2"}
    async with forge.session.post(f"{forge.url}/nethack.git/git-upload-pack", data=body, headers=headers) as answer:
        assert answer.status in (200, 400)
        said = bytearray()
        with suppress(ClientPayloadError):  # the connection is cut when git gives up
            async for chunk in answer.content.iter_any():
                said += chunk
        return bytes(said)


@pytest.mark.parametrize("depth", ["2147483647", "0x7fffffff", "017777777777", "99999999999"])
async def test_the_parents_of_a_hidden_commit_are_not_given(
    forge: Forge, nethack: Client, work: Path, depth: str
) -> None:
    """Git adds them to what is wanted when a client that claims to be shallow there asks for everything."""
    removed = await push_and_delete_secret(work)
    tip = (await git("rev-parse", "main", cwd=work)).strip()
    wanted = f"want {tip}\n".encode()
    said = await ask_for_pack(forge, wanted, f"shallow {removed['commit']}\n".encode(), f"deepen {depth}\n".encode())
    assert b"not our ref" in said
    assert b"PACK" not in said


async def test_a_shallow_clone_whose_commit_was_removed_is_still_brought_up_to_date(
    forge: Forge, nethack: Client, work: Path, tmp_path: Path
) -> None:
    await git("checkout", "-q", "-b", "topic", cwd=work)
    await commit(work, "one")
    await git("push", "-q", "origin", "topic", cwd=work)
    url, shallow = forge.nobody.git_url("nethack"), tmp_path / "shallow"
    await git("clone", "-q", "--depth=1", "-b", "topic", url, str(shallow), cwd=tmp_path)
    await git("reset", "-q", "--hard", "main", cwd=work)
    await commit(work, "two")
    await git("push", "-q", "-f", "origin", "topic", cwd=work)
    await git("fetch", "-q", "--depth=1", "origin", "+topic:refs/remotes/origin/topic", cwd=shallow)
    await git("fetch", "-q", "origin", "+main:refs/remotes/origin/main", cwd=shallow)


async def test_a_filter_by_the_lines_of_a_file_is_refused(forge: Forge, nethack: Client, work: Path) -> None:
    removed = await push_and_delete_secret(work)
    tip = (await git("rev-parse", "main", cwd=work)).strip()
    said = await ask_for_pack(forge, f"want {tip}\n".encode(), f"filter sparse:oid={removed['blob']}\n".encode())
    assert b"PACK" not in said


async def test_what_any_visible_ref_leads_to_is_given(
    forge: Forge, nethack: Client, work: Path, tmp_path: Path
) -> None:
    await push_and_delete_secret(work)
    await git("notes", "add", "-m", "noted", "main", cwd=work)
    await git("push", "-q", "origin", "refs/notes/commits", cwd=work)
    note = (await git("rev-parse", "refs/notes/commits^{tree}", cwd=work)).strip()
    assert await fetch(forge.nobody, tmp_path, "2", note) is None
