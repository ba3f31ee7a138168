"""The contents of a repository: listings, commits, files and patches."""

from pathlib import Path
from typing import Any

import pytest

from app.git import tree
from app.git.errors import GitFailed
from app.http import streaming
from tests.conftest import Client, Forge, commit, git
from tests.pagure.pulls import configure_project, open_pull_request, push_commit, wait_for_pull_request
from tests.pagure.test_sharing import ADDRESSES, NO_PROJECT, four_projects
from tests.raw import send

NO_FILE = {"error": "File not found in this git repository", "error_code": "EFILENOTFOUND"}
TEXT = "text/plain; charset=utf-8"


async def read_page(client: Client, path: str, method: str = "GET") -> tuple[int, bytes]:
    """Read a page outside of the API, as bytes."""
    headers = {"Accept": "text/plain", **({"Authorization": f"token {client.token}"} if client.token else {})}
    async with client.forge.session.request(method, client.forge.url + path, headers=headers) as answer:
        client.headers = answer.headers
        assert answer.status != 404 or answer.reason == "NOT FOUND"
        return answer.status, await answer.read()


async def fill_repository(client: Client, path: str, work: Path) -> str:
    """Push a bit of everything to `main` and return its commit."""
    await git("init", "-q", "-b", "main", str(work))
    (work / "src" / "deep").mkdir(parents=True)
    (work / "src" / "deep" / "a b?.txt").write_text("spaces\n")
    (work / "run.sh").write_text("#!/bin/sh\n")
    (work / "run.sh").chmod(0o755)
    (work / "link").symlink_to("/etc/passwd")
    (work / "page.html").write_text("<script>alert(1)</script>")
    (work / "binary").write_bytes(b"\0\1\2\xff")
    await git("add", ".", cwd=work)
    first = await commit(work, "README.md", "# Hello\n")
    await git("update-index", "--add", "--cacheinfo", f"160000,{first},module", cwd=work)
    await git("commit", "-qm", "Add a module\n\nAnd say more.", cwd=work)
    await git("push", "-q", client.git_url(path[1:]), "main", cwd=work)
    return (await git("rev-parse", "HEAD", cwd=work)).strip()


@pytest.fixture
async def full(nethack: Client, tmp_path: Path) -> str:
    """Create the project `full` with a bit of everything and return its commit."""
    assert (await nethack.post("/new", name="full", description="d"))[0] == 200
    return await fill_repository(nethack, "/full", tmp_path / "full")


@pytest.mark.parametrize("path", ADDRESSES)
async def test_a_tree_is_listed_under_each_path(forge: Forge, alice: Client, tmp_path: Path, path: str) -> None:
    await four_projects(alice)
    head = await fill_repository(alice, path, tmp_path / "work")
    nobody, base = forge.nobody, forge.url

    def entry(kind: str, name: str, identifier: str = "main") -> dict[str, str]:
        where = f"{base}{path}/raw" if kind == "file" else f"{base}/api/0{path}/tree"
        return {"type": kind, "name": name, "path": name, "content_url": f"{where}/{identifier}/f/{name}"}

    kinds = [
        ("folder", "src"), ("file", "README.md"), ("file", "binary"), ("file", "page.html"), ("file", "run.sh"),
        ("link", "link"), ("submodule", "module"),
    ]  # fmt: skip
    root = {"type": "folder", "name": None, "content": [entry(*each) for each in kinds]}
    for asked in ("tree", "tree/main", "tree/main/"):
        assert await nobody.pagure(f"{path}/{asked}") == (200, root)
    for asked in (head, head[:8]):
        content = [entry(*each, asked) for each in kinds]
        assert await nobody.pagure(f"{path}/tree/{asked}") == (200, {**root, "content": content})
    below = {
        "type": "folder", "name": "src/deep", "content": [{
            "type": "file", "name": "a b?.txt", "path": "src/deep/a b?.txt",
            "content_url": f"{base}{path}/raw/main/f/src/deep/a%20b%3F.txt",
        }],
    }  # fmt: skip
    assert await nobody.pagure(f"{path}/tree/main/f/src/deep") == (200, below)
    url = f"{base}{path}/raw/main/f/src/deep/a%20b%3F.txt"
    assert await nobody.pagure(f"{path}/tree/main/f/src/deep/a%20b%3F.txt") == (
        200, {"type": "file", "name": "src/deep/a b?.txt", "content_url": url},
    )  # fmt: skip
    assert await read_page(nobody, url.removeprefix(base)) == (200, b"spaces\n")


async def test_every_link_of_a_listing_works(forge: Forge, full: str) -> None:
    folders, files = [f"{forge.url}/api/0/full/tree"], 0
    while folders:
        status, found = await forge.nobody.get(folders.pop())
        assert status == 200
        for entry in found["content"]:
            if entry["type"] == "file":
                assert (await read_page(forge.nobody, entry["content_url"].removeprefix(forge.url)))[0] == 200
                files += 1
            elif entry["type"] == "folder":
                folders.append(entry["content_url"])
            elif entry["type"] == "link":
                assert (await forge.nobody.get(entry["content_url"]))[1]["type"] == "file"
    assert files == 5


async def test_branches_and_tags_may_have_slashes_and_an_f_in_their_names(
    forge: Forge, nethack: Client, full: str
) -> None:
    for name in ("deep/er", "x/f/src", "x"):
        assert (await nethack.post("/full/git/branch", branch=name))[0] == (400 if name == "x" else 200)
    assert (await nethack.post("/full/git/tags", tagname="v1/f/final", commit_hash=full))[0] == 200
    for name in ("deep/er", "x/f/src", "v1/f/final"):
        _, found = await forge.nobody.pagure(f"/full/tree/{name}")
        assert [entry["name"] for entry in found["content"]][:2] == ["src", "README.md"]
        assert found["content"][1]["content_url"] == f"{forge.url}/full/raw/{name}/f/README.md"
        assert await read_page(forge.nobody, f"/full/raw/{name}/f/README.md") == (200, b"# Hello\n")
        assert (await forge.nobody.pagure(f"/full/tree/{name}/f/src"))[1]["name"] == "src"


async def test_the_page_of_a_file_is_there_if_the_file_is(forge: Forge, full: str) -> None:
    assert await read_page(forge.nobody, "/full/blob/main/f/README.md") == (200, b"# Hello\n")
    assert await read_page(forge.nobody, f"/full/blob/{full}/f/README.md") == (200, b"# Hello\n")
    for missing in ("main/f/nothing", "main/f/src", "other/f/README.md", "main", full):
        assert (await read_page(forge.nobody, f"/full/blob/{missing}"))[0] == 404, missing
    assert (await read_page(forge.nobody, "/other/blob/main/f/README.md"))[0] == 404


async def test_objects_are_listed_by_their_ids(forge: Forge, full: str, tmp_path: Path) -> None:
    work = tmp_path / "full"
    folder, file = [(await git("rev-parse", f"main:{name}", cwd=work)).strip() for name in ("src", "README.md")]
    _, found = await forge.nobody.pagure(f"/full/tree/{folder}")
    assert [entry["name"] for entry in found["content"]] == ["deep"]
    url = f"{forge.url}/full/raw/{file}"
    assert await forge.nobody.pagure(f"/full/tree/{file}") == (200, {"type": "file", "name": None, "content_url": url})
    assert await read_page(forge.nobody, f"/full/raw/{file}") == (200, b"# Hello\n")
    assert (await read_page(forge.nobody, f"/full/raw/{folder}"))[0] == 404


async def test_names_that_are_not_utf8_are_listed_and_can_be_read(
    forge: Forge, nethack: Client, tmp_path: Path
) -> None:
    work = tmp_path / "work"
    await git("init", "-q", "-b", "main", str(work))
    Path(f"{work}/caf\udce9").write_text("latin")
    await git("add", ".", cwd=work)
    await commit(work, "ü", "utf-8")
    await git("push", "-q", nethack.git_url("nethack"), "+main", cwd=work)
    _, found = await forge.nobody.pagure("/nethack/tree")
    assert [(entry["name"], entry["content_url"].rpartition("/")[2]) for entry in found["content"]] == [
        ("caf\\xe9", "caf%E9"), ("ü", "%C3%BC"),
    ]  # fmt: skip
    port = forge.settings.port
    for target, content in (("caf%E9", b"latin"), ("%C3%BC", b"utf-8")):
        answer = await send(port, "GET", f"/nethack/raw/main/f/{target}")
        assert (answer.status, answer.body) == (200, content)


async def test_a_file_named_info_refs_can_be_read(forge: Forge, nethack: Client, tmp_path: Path) -> None:
    work = tmp_path / "work"
    await git("clone", "-q", nethack.git_url("nethack"), str(work))
    (work / "info").mkdir()
    await commit(work, "info/refs", "mine")
    await git("push", "-q", "origin", "main", cwd=work)
    assert await read_page(forge.nobody, "/nethack/raw/main/f/info/refs") == (200, b"mine")


@pytest.mark.parametrize(
    "address",
    ["gone", "main/f/gone", "main/f/README.md/x", "main/f/..", "main/f/%2e%2e/x", "main/f/module", "--all",
     "main/f/%00", "%ff", "%00", "%ed%a0%80", "f" * 40, "HEAD~1", "main^", "x" * 5000, "a/f/" * 1000 + "x"],
)  # fmt: skip
async def test_missing_files_are_not_found(forge: Forge, full: str, address: str) -> None:
    answer = await send(forge.settings.port, "GET", f"/api/0/full/tree/{address}")
    assert (answer.status, answer.json) == (404, NO_FILE)
    answer = await send(forge.settings.port, "GET", f"/full/raw/{address}")
    assert (answer.status, answer.body) == (404, NO_FILE["error"].encode() + b"\n")


async def test_an_empty_repository_is_reported(forge: Forge, alice: Client) -> None:
    assert (await alice.post("/new", name="empty", description="d"))[0] == 200
    empty = {"error": "This git repository is empty", "error_code": "EEMPTYGIT"}
    for asked in ("tree", "tree/main", "tree/main/f/x"):
        assert await forge.nobody.pagure(f"/empty/{asked}") == (404, empty)
    assert (await read_page(forge.nobody, "/empty/raw/main/f/x"))[0] == 404


async def test_a_folder_with_too_many_files_is_not_listed(
    forge: Forge, full: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tree, "ENTRIES_LIMIT", 3)
    status, body = await forge.nobody.pagure("/full/tree")
    assert (status, body["error_code"]) == (400, "ENOCODE")
    assert (await forge.nobody.pagure("/full/tree/main/f/src"))[0] == 200


@pytest.mark.parametrize("path", ["/git/branches", "/git/tags", "/git/alias", "/tree", "/tree/main", "/c/abcd/info"])
async def test_the_code_of_a_private_project_is_hidden(forge: Forge, alice: Client, path: str) -> None:
    command = {"name": "secret", "description": "d", "private": "1", "create_readme": "1"}
    assert (await alice.post("/new", **command))[0] == 200
    for client in (forge.nobody, await forge.user("bob"), Client(forge, "stale")):
        assert await client.pagure("/alice/secret" + path) == (404, NO_PROJECT)
        for page in ("raw/main/f/README.md", "raw/main", "pull-request/1.patch", "pull-request/1.diff"):
            assert await read_page(client, f"/alice/secret/{page}") == (404, b"Project not found\n")
    assert (await alice.pagure("/alice/secret" + path))[1] != NO_PROJECT
    assert (await read_page(alice, "/alice/secret/raw/main/f/README.md"))[0] == 200


# ---------------------------------------------------------------- commits


async def test_a_commit_is_shown_with_all_its_fields(forge: Forge, full: str, tmp_path: Path) -> None:
    work = tmp_path / "full"
    shown = (await git("log", "-1", "--format=%ct%n%P%n%T", cwd=work)).split()
    answer = {
        "author": "Alice", "committer": "Alice", "commit_time": int(shown[0]), "commit_time_offset": 0, "hash": full,
        "message": "Add a module\n\nAnd say more.\n", "parent_ids": [shown[1]], "tree_id": shown[2],
    }  # fmt: skip
    for name in (full, full[:7], full.upper()):
        assert await forge.nobody.pagure(f"/full/c/{name}/info") == (200, answer)
    assert (await forge.nobody.pagure(f"/full/c/{shown[1]}/info"))[1]["parent_ids"] == []


@pytest.mark.parametrize("name", ["main", "xyz", "abc", "f" * 40, "f" * 41, "--all", "%00", "%ff"])
async def test_unknown_commits_are_not_found(forge: Forge, full: str, tmp_path: Path, name: str) -> None:
    none = {"error": "No such commit found in this repository", "error_code": "ENOCOMMIT"}
    folder = (await git("rev-parse", "main:src", cwd=tmp_path / "full")).strip()
    for each in (name, folder):
        assert await forge.nobody.pagure(f"/full/c/{each}/info") == (404, none)


# ---------------------------------------------------------------- files


@pytest.mark.parametrize(
    ("name", "media", "content"),
    [
        ("README.md", TEXT, b"# Hello\n"),
        ("page.html", TEXT, b"<script>alert(1)</script>"),
        ("binary", "application/octet-stream", b"\0\1\2\xff"),
        ("link", TEXT, b"/etc/passwd"),
    ],
)
async def test_a_file_is_never_served_as_a_page(forge: Forge, full: str, name: str, media: str, content: bytes) -> None:
    nobody, path = forge.nobody, f"/full/raw/main/f/{name}"
    assert await read_page(nobody, path) == (200, content)
    assert nobody.headers["Content-Type"] == media
    assert nobody.headers["Content-Length"] == str(len(content))
    assert nobody.headers["X-Content-Type-Options"] == "nosniff"
    assert nobody.headers["Content-Security-Policy"] == "default-src 'none'; sandbox"
    assert nobody.headers["X-Request-Id"]
    assert await read_page(nobody, path, "HEAD") == (200, b"")
    assert nobody.headers["Content-Length"] == str(len(content))
    assert await read_page(nobody, f"/full/raw/{full}/f/{name}") == (200, content)


async def test_large_and_empty_files_are_streamed(forge: Forge, nethack: Client, tmp_path: Path) -> None:
    work, large = tmp_path / "work", "ä" * 3_000_000
    await git("init", "-q", "-b", "main", str(work))
    await commit(work, "empty", "")
    await commit(work, "large", large)
    await git("push", "-q", nethack.git_url("nethack"), "+main", cwd=work)
    assert await read_page(forge.nobody, "/nethack/raw/main/f/large") == (200, large.encode())
    assert forge.nobody.headers["Content-Type"] == TEXT
    assert await read_page(forge.nobody, "/nethack/raw/main/f/empty") == (200, b"")
    assert forge.nobody.headers["Content-Type"] == TEXT


async def test_a_stream_that_breaks_is_closed_and_its_git_process_ended(
    forge: Forge, full: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = []

    def breaking(*arguments: Any) -> Any:
        try:
            yield b"some"
            raise GitFailed("git cat-file: it broke")
        finally:
            ended.append(True)

    monkeypatch.setattr(tree, "read_file", breaking)
    with pytest.raises(Exception, match="payload"):
        await read_page(forge.nobody, "/full/raw/main/f/README.md")
    assert ended == [True]
    monkeypatch.setattr(tree, "read_file", lambda *arguments: breaking_at_once())
    assert await read_page(forge.nobody, "/full/raw/main/f/README.md") == (
        400,
        b"An error occurred during a git operation\n",
    )


def breaking_at_once() -> Any:
    raise GitFailed("git cat-file: it broke")
    yield


async def test_the_git_process_ends_when_its_reader_goes_away() -> None:
    ended = []

    def pieces() -> Any:
        try:
            yield b"some"
            yield b"more"
        finally:
            ended.append(True)

    source = pieces()
    async with streaming.iterate_in_threads(lambda: source) as read:
        assert await anext(read) == b"some"
        assert ended == []
    assert ended == [True]


async def test_a_project_named_raw_can_be_cloned(nethack: Client, tmp_path: Path) -> None:
    command = {"name": "raw", "namespace": "rpms", "description": "d", "create_readme": "1"}
    assert (await nethack.post("/new", **command))[0] == 200
    await git("clone", "-q", nethack.git_url("rpms/raw").removesuffix(".git"), str(tmp_path / "clone"))


# ---------------------------------------------------------------- patches


async def test_the_raw_page_of_a_commit_is_a_patch(forge: Forge, full: str) -> None:
    for name in ("main", full, full[:9]):
        status, body = await read_page(forge.nobody, f"/full/raw/{name}")
        lines = body.decode().splitlines()
        assert (status, lines[:2]) == (
            200,
            [f"From {full} Mon Sep 17 00:00:00 2001", "From: Alice <alice@example.org>"],
        )
        assert lines[3:7] == ["Subject: Add a module", "", "And say more.", "---"]
        assert forge.nobody.headers["Content-Type"] == TEXT


async def test_a_pull_request_is_served_as_patches_and_diffs(
    forge: Forge, nethack: Client, bob: Client, tmp_path: Path
) -> None:
    second = await push_commit(tmp_path / "bob", "topic", "two")
    await open_pull_request(bob)
    first = (await git("rev-parse", "HEAD~1", cwd=tmp_path / "bob")).strip()

    async def check() -> None:
        status, body = await read_page(forge.nobody, "/nethack/pull-request/1.patch")
        assert status == 200
        assert forge.nobody.headers["Content-Type"] == TEXT
        heads = [line for line in body.decode().splitlines() if line.startswith(("From ", "Subject: ", "diff --git"))]
        assert heads == [
            f"From {first} Mon Sep 17 00:00:00 2001", "Subject: [PATCH 1/2] Add one", "diff --git a/one b/one",
            f"From {second} Mon Sep 17 00:00:00 2001", "Subject: [PATCH 2/2] Add two", "diff --git a/two b/two",
        ]  # fmt: skip
        status, body = await read_page(forge.nobody, "/nethack/pull-request/1.diff")
        heads = [line for line in body.decode().splitlines() if line.startswith(("From ", "diff --git"))]
        assert (status, heads) == (200, ["diff --git a/one b/one", "diff --git a/two b/two"])

    await check()
    await forge.idle()
    assert (await nethack.post("/nethack/pull-request/1/merge"))[0] == 200
    await wait_for_pull_request(nethack, 1, "status", "Merged")
    await check()


@pytest.mark.parametrize("path", ADDRESSES)
async def test_a_pull_request_is_served_under_each_path(forge: Forge, alice: Client, tmp_path: Path, path: str) -> None:
    await four_projects(alice)
    await fill_repository(alice, path, tmp_path / "work")
    first = (await git("rev-parse", "HEAD~1", cwd=tmp_path / "work")).strip()
    assert (await alice.post(f"{path}/git/branch", branch="old", from_commit=first))[0] == 200
    await alice.post(f"{path}/options/update", pull_requests="1")
    form = {"title": "t", "branch_to": "old", "branch_from": "main"}
    assert (await alice.post(f"{path}/pull-request/new", **form))[0] == 200
    for kind, beginning in (("patch", b"From "), ("diff", b"diff --git a/module b/module")):
        status, body = await read_page(forge.nobody, f"{path}/pull-request/1.{kind}")
        assert (status, body[: len(beginning)]) == (200, beginning)


async def test_a_patch_can_be_applied(forge: Forge, nethack: Client, bob: Client, tmp_path: Path) -> None:
    await open_pull_request(bob)
    _, body = await read_page(forge.nobody, "/nethack/pull-request/1.patch")
    (tmp_path / "one.patch").write_bytes(body)
    await git("clone", "-q", nethack.git_url("nethack"), str(tmp_path / "alice"))
    await git("apply", "--check", str(tmp_path / "one.patch"), cwd=tmp_path / "alice")


async def test_patches_of_unknown_pull_requests_are_not_found(forge: Forge, nethack: Client, bob: Client) -> None:
    for number in ("1", "0", "9" * 30):
        assert await read_page(forge.nobody, f"/nethack/pull-request/{number}.patch") == (
            404,
            b"Pull-Request not found\n",
        )
    assert await read_page(forge.nobody, "/missing/pull-request/1.diff") == (404, b"Project not found\n")
    await open_pull_request(bob)
    await configure_project(forge, nethack, pull_requests=False)
    gone = (404, b"Pull-Request have been deactivated for this project\n")
    assert await read_page(forge.nobody, "/nethack/pull-request/1.patch") == gone
