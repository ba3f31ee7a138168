"""Files and folders at a revision, in both dialects."""

import hashlib
from pathlib import Path
from typing import Any

import pytest

from app.git import tree
from tests.conftest import Client, commit, git
from tests.rpc import KALLITHEA, RHODECODE, Rpc

FOLDERS = ["a", "z", "a/b"]
FILES = ["README.md", "top.bin", "a/one.txt", "a/b/two", "z/three.tar.gz"]


@pytest.fixture(params=[KALLITHEA, RHODECODE])
def rpc(request: pytest.FixtureRequest, nethack: Client) -> Rpc:
    return Rpc(nethack, request.param)


@pytest.fixture
async def head(rpc: Rpc, tmp_path: Path) -> str:
    """The newest commit of nethack, on the branch topic, with three folders and five files."""
    work = tmp_path / "work"
    await git("clone", "-q", rpc.client.git_url("nethack"), str(work))
    await git("checkout", "-qb", "topic", cwd=work)
    (work / "a" / "b").mkdir(parents=True)
    (work / "z").mkdir()
    (work / "top.bin").write_bytes(b"\0\1")
    for name in ("a/b/two", "z/three.tar.gz"):
        (work / name).write_text("x\ny\n")
    await git("add", ".", cwd=work)
    head = await commit(work, "a/one.txt", "text")
    await git("tag", "-m", "One", "v1", cwd=work)
    await git("push", "-q", "origin", "topic", "v1", cwd=work)
    return head


async def ask(rpc: Rpc, **changed: Any) -> list[dict[str, Any]]:
    sent = {"repoid": "nethack", "revision": "tip", "root_path": "", **changed}
    return await rpc.ask("get_repo_nodes", **sent)  # type: ignore[no-any-return]


async def test_folders_come_before_files_and_each_before_what_is_in_it(rpc: Rpc, head: str) -> None:
    shown = await ask(rpc)
    assert [each["name"] for each in shown if each["type"] == "dir"] == ["a", "z", "a/b"]
    assert [each["name"] for each in shown if each["type"] == "file"] == FILES
    assert [each["type"] for each in shown] == ["dir"] * 3 + ["file"] * 5
    assert await ask(rpc, ret_type="files") == shown[3:]
    assert await ask(rpc, ret_type="dirs") == shown[:3]


async def test_a_commit_is_named_in_many_ways(rpc: Rpc, head: str) -> None:
    shown = await ask(rpc)
    for revision in ("", "tip", "HEAD", "head", "1", "topic", "v1", head, head[:7]):
        for root_path in ("", "/"):
            assert await ask(rpc, revision=revision, root_path=root_path) == shown, revision
    assert [each["name"] for each in await ask(rpc, revision="0")] == ["README.md"]
    assert await ask(rpc, revision="main") == await ask(rpc, revision="0")


async def test_only_what_lies_below_a_path_is_listed(rpc: Rpc, head: str) -> None:
    for root_path in ("a", "/a/"):
        assert [each["name"] for each in await ask(rpc, root_path=root_path)] == ["a/b", "a/one.txt", "a/b/two"]
    assert await ask(rpc, root_path="README.md") == []


@pytest.mark.parametrize(
    "changed",
    [
        {"revision": "nothing"}, {"revision": "2"}, {"revision": "-1"}, {"revision": "f" * 40}, {"revision": "abc"},
        {"root_path": "nothing"}, {"root_path": "../a"}, {"root_path": "README.md/x"}, {"revision": "refs/heads/topic"},
    ],
)  # fmt: skip
async def test_an_unknown_revision_or_path_is_a_failure(rpc: Rpc, head: str, changed: dict[str, Any]) -> None:
    sent = {"repoid": "nethack", "revision": "tip", "root_path": "", **changed}
    assert await rpc.fail("get_repo_nodes", **sent) == "failed to get repo: `nethack` nodes"


async def test_an_unknown_kind_is_refused(rpc: Rpc) -> None:
    sent = {"repoid": "nethack", "revision": "tip", "root_path": ""}
    assert await rpc.fail("get_repo_nodes", **sent, ret_type="error") == "ret_type must be one of all,dirs,files"
    if rpc.address == RHODECODE:
        error = await rpc.fail("get_repo_nodes", **sent, details="error")
        assert error == "ret_type must be one of basic,full"


async def test_an_empty_repository_has_no_nodes_or_fails(rpc: Rpc) -> None:
    await rpc.client.post("/new", name="empty", description="d")
    if rpc.address == RHODECODE:
        assert await ask(rpc, repoid="empty") == []
    else:
        error = await rpc.fail("get_repo_nodes", repoid="empty", revision="tip", root_path="")
        assert error == "failed to get repo: `empty` nodes"


async def test_kallithea_shows_names_and_types(rpc: Rpc, head: str) -> None:
    if rpc.address == KALLITHEA:
        assert all(each.keys() == {"name", "type"} for each in await ask(rpc))


async def test_rhodecode_describes_files(rpc: Rpc, head: str) -> None:
    if rpc.address == KALLITHEA:
        return
    shown = {each["name"]: each for each in await ask(rpc, details="full", max_file_bytes="4")}
    assert shown["a/one.txt"] == {
        "name": "a/one.txt", "type": "file", "md5": hashlib.md5(b"text").hexdigest(), "binary": False, "size": 4,
        "extension": "txt", "mimetype": "text/plain", "lines": 1, "content": "text",
    }  # fmt: skip
    assert (shown["a/b/two"]["extension"], shown["a/b/two"]["lines"], shown["a/b/two"]["content"]) == (
        "two",
        2,
        "x\ny\n",
    )
    assert (shown["top.bin"]["binary"], shown["top.bin"]["content"], shown["top.bin"]["lines"]) == (True, None, 0)
    assert shown["README.md"]["content"] is None
    folder = {"md5": None, "binary": None, "size": None, "extension": None, "content": None}
    assert shown["a"] == {"name": "a", "type": "dir", **folder}
    assert all("content" not in each and "md5" in each for each in await ask(rpc))


@pytest.mark.parametrize("limit", ["BELOW_LIMIT", "CONTENT_LIMIT"])
async def test_a_listing_has_limits(rpc: Rpc, head: str, monkeypatch: pytest.MonkeyPatch, limit: str) -> None:
    monkeypatch.setattr(tree, limit, 3)
    if rpc.address == KALLITHEA and limit == "CONTENT_LIMIT":
        assert len(await ask(rpc)) == 8
    else:
        error = await rpc.fail("get_repo_nodes", repoid="nethack", revision="tip", root_path="")
        assert error == "failed to get repo: `nethack` nodes"


async def test_a_revision_of_rhodecode_is_a_text_and_one_of_kallithea_may_be_a_number(rpc: Rpc, head: str) -> None:
    if rpc.address == KALLITHEA:
        assert await ask(rpc, revision=0) == await ask(rpc, revision="0")
    else:
        error = await rpc.fail("get_repo_nodes", repoid="nethack", revision=0, root_path="")
        assert error == "commit_id must be a string value"
