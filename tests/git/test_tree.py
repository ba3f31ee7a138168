"""Directory listings and file contents."""

from pathlib import Path

import pytest

from app.git import tree
from app.git.errors import EmptyRepository, NoPath, NoRepository, TooLarge
from app.git.tree import File, Folder
from tests.conftest import commit, git
from tests.git.repositories import clone_work_tree, create_bare, git_words, write_object


async def create_furnished(tmp_path: Path) -> tuple[Path, Path]:
    """A repository with an entry of every kind on `main`, and its work tree."""
    work = await clone_work_tree(repo_path := await create_bare(tmp_path))
    (work / "lib/deep").mkdir(parents=True)
    for name in ("zeta", "alpha", "lib/deep/x", "lib/a", "lib/deep.txt", "odd\udcff", "n\néw"):
        (work / name).write_text(name.encode("utf-8", "replace").decode())
    (work / "run").write_text("#!")
    (work / "run").chmod(0o755)
    (work / "link").symlink_to("../../etc/passwd")
    (work / "lib/way").symlink_to("deep")
    await git("add", "-A", cwd=work)
    await git("update-index", "--add", "--cacheinfo", f"160000,{'1' * 40},a-sub", cwd=work)
    await git("commit", "-qm", "furnish", cwd=work)
    await git("push", "-q", "origin", "main", cwd=work)
    return repo_path, work


def find_folder(repo_path: Path, identifier: str | None = None, path: str | None = None) -> Folder:
    found = tree.find_entry(repo_path, identifier, path)
    assert isinstance(found, Folder)
    return found


def read_content(repo_path: Path, identifier: str | None = None, path: str | None = None) -> bytes:
    found = tree.find_entry(repo_path, identifier, path)
    assert isinstance(found, File)
    read = b"".join(tree.read_file(repo_path, found))
    assert len(read) == found.size
    return read


async def test_the_root_is_sorted_by_kind_and_other_folders_as_in_git(tmp_path: Path) -> None:
    repo_path, _ = await create_furnished(tmp_path)
    root = find_folder(repo_path)
    assert root.path is None
    assert [(entry.kind, entry.path) for entry in root.entries] == [
        ("folder", "lib"), ("file", "alpha"), ("file", "n\néw"), ("file", "odd\\xff"), ("file", "zeta"),
        ("file", "run"), ("link", "link"), ("submodule", "a-sub"),
    ]  # fmt: skip
    below = find_folder(repo_path, "main", "lib/")
    assert below.path == "lib"
    assert [(entry.kind, entry.name, entry.path) for entry in below.entries] == [
        ("file", "a", "lib/a"), ("file", "deep.txt", "lib/deep.txt"), ("folder", "deep", "lib/deep"),
        ("link", "way", "lib/way"),
    ]  # fmt: skip
    assert [entry.id for entry in below.entries] == await git_words(
        repo_path, "ls-tree", "--format=%(objectname)", "main", "lib/"
    )


async def test_a_file_is_found_by_its_path_and_read(tmp_path: Path) -> None:
    repo_path, _ = await create_furnished(tmp_path)
    assert read_content(repo_path, "main", "lib/deep/x") == b"lib/deep/x"
    assert read_content(repo_path, "HEAD", "/n\néw/") == "n\néw".encode()
    assert read_content(repo_path, path="odd\udcff") == b"odd?"
    odd = next(entry for entry in find_folder(repo_path).entries if entry.name == "odd\\xff")
    assert odd.raw_path == b"odd\xff"
    found = tree.find_entry(repo_path, path="odd\udcff")
    assert isinstance(found, File)
    assert (found.path, found.id) == ("odd\\xff", odd.id)


async def test_a_symbolic_link_is_read_and_not_followed(tmp_path: Path) -> None:
    repo_path, _ = await create_furnished(tmp_path)
    assert read_content(repo_path, path="link") == b"../../etc/passwd"
    with pytest.raises(NoPath):
        tree.find_entry(repo_path, None, "lib/way/x")


async def test_a_tree_can_be_identified_in_many_ways(tmp_path: Path) -> None:
    repo_path, work = await create_furnished(tmp_path)
    await git("branch", "with/slash", "main", cwd=repo_path)
    await git("tag", "light", "main", cwd=repo_path)
    await git("tag", "-am", "t", "v1", "main", cwd=work)
    await git("tag", "-am", "t", "twice", "v1", cwd=work)
    await git("push", "-q", "origin", "v1", "twice", cwd=work)
    ids = await git_words(repo_path, "rev-parse", "main", "main^{tree}", "v1", "twice")
    for identifier in [
        "with/slash",
        "light",
        "v1",
        "twice",
        *ids,
        *(object_id[:10] for object_id in ids),
        ids[0].upper(),
    ]:
        assert find_folder(repo_path, identifier) == find_folder(repo_path), identifier
        assert read_content(repo_path, identifier, "lib/a") == b"lib/a"
    [blob, below] = await git_words(repo_path, "rev-parse", "main:lib/a", "main:lib")
    assert read_content(repo_path, blob) == b"lib/a"
    assert tree.find_entry(repo_path, blob) == File(None, blob, 5)
    assert [entry.path for entry in find_folder(repo_path, below).entries] == ["deep", "a", "deep.txt", "way"]
    with pytest.raises(NoPath):
        tree.find_entry(repo_path, blob, "x")
    # A branch takes precedence over an object id of the same spelling.
    await git("branch", ids[0][:8], "main", cwd=repo_path)
    assert find_folder(repo_path, ids[0][:8]) == find_folder(repo_path)


@pytest.mark.parametrize("path", ["gone", "..", "../x", "lib//a", "lib/a/x", "a-sub", "a-sub/x", "lib/..", "--", "a\0b",
                                  "lib/deep/x\n", "\ud800", ".git/config"])  # fmt: skip
async def test_a_path_that_is_not_in_the_tree_is_not_found(tmp_path: Path, path: str) -> None:
    repo_path, _ = await create_furnished(tmp_path)
    with pytest.raises(NoPath):
        tree.find_entry(repo_path, "main", path)


@pytest.mark.parametrize("identifier", ["gone", "", "-x", "--help", "main~0", "main^{tree}", "f" * 40, "zzzz", "ab",
                                        "a\0b", "../main", "\udcff", "refs/heads/main", "@"])  # fmt: skip
async def test_an_identifier_of_nothing_is_not_found(tmp_path: Path, identifier: str) -> None:
    repo_path, _ = await create_furnished(tmp_path)
    with pytest.raises(NoPath):
        tree.find_entry(repo_path, identifier)


async def test_an_unreachable_object_is_not_found(tmp_path: Path) -> None:
    repo_path, _ = await create_furnished(tmp_path)
    with pytest.raises(NoPath):
        tree.find_entry(repo_path, write_object(repo_path, "blob", b"secret"))
    await git("update-ref", "refs/internal/x", "main", cwd=repo_path)
    await git("branch", "-q", "other", write_object(repo_path, "commit", await _commit(repo_path)), cwd=repo_path)
    hidden = await git_words(repo_path, "rev-parse", "main", "main:lib", "main:lib/a")
    await git("update-ref", "-d", "refs/heads/main", cwd=repo_path)
    for identifier in [*hidden, "HEAD", None]:
        with pytest.raises(NoPath):
            tree.find_entry(repo_path, identifier)


async def _commit(repo_path: Path) -> bytes:
    nothing = write_object(repo_path, "tree", b"")
    return f"tree {nothing}\nauthor A <a@b> 1 +0000\ncommitter A <a@b> 1 +0000\n\nm\n".encode()


async def test_an_empty_repository_has_its_own_error(tmp_path: Path) -> None:
    repo_path = await create_bare(tmp_path)
    for identifier in (None, "main", "f" * 40):
        with pytest.raises(EmptyRepository):
            tree.find_entry(repo_path, identifier)
    with pytest.raises(NoRepository):
        tree.find_entry(tmp_path / "nowhere.git")


async def test_large_files_are_read_in_chunks_and_large_folders_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = await clone_work_tree(repo_path := await create_bare(tmp_path))
    await commit(work, "big", "0123456789" * 500_000)
    await git("push", "-q", "origin", "main", cwd=work)
    found = tree.find_entry(repo_path, "main", "big")
    assert isinstance(found, File)
    sizes = [len(chunk) for chunk in tree.read_file(repo_path, found)]
    assert (sum(sizes), max(sizes) <= 1 << 16) == (5_000_000, True)
    monkeypatch.setattr(tree, "ENTRIES_LIMIT", 0)
    with pytest.raises(TooLarge):
        tree.find_entry(repo_path)
