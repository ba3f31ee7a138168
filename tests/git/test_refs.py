"""Branches, tags, aliases and HEAD, and the objects that are visible through them."""

import gc
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from app.git import refs, store
from app.git.errors import AlreadyExists, BadName, GitFailed, NoBranch, NoCommit, RefMoved
from app.git.objects import is_reachable
from tests.conftest import commit, git
from tests.git.repositories import clone_work_tree, create_bare, git_words, write_object

ALICE = ("Alice <a>\n", "alice@example.org")
BAD = ["", "-x", "--force", "HEAD", "a b", "a..b", "a/", "/a", ".a", "a.lock", "a~1", "a\nb", "a\0b", "\udcff", "a@{b"]


async def create_filled(tmp_path: Path) -> tuple[Path, Path, str, str]:
    """A repository with two commits on `main`, its work tree, and the two commits."""
    work = await clone_work_tree(repo_path := await create_bare(tmp_path))
    first, second = await commit(work, "a"), await commit(work, "b")
    await git("push", "-q", "origin", "main", cwd=work)
    return repo_path, work, first, second


async def test_a_branch_starts_from_a_branch_or_a_commit(tmp_path: Path) -> None:
    repo_path, _, first, second = await create_filled(tmp_path)
    assert refs.create_branch(repo_path, "deep/er", from_branch="main") == second
    assert refs.create_branch(repo_path, "old", from_commit=first[:8]) == first
    assert refs.create_branch(repo_path, "neither") == second
    assert await git_words(repo_path, "rev-parse", "deep/er", "old", "neither") == [second, first, second]
    refs.create_branch(repo_path, "master", from_commit=first)
    assert refs.create_branch(repo_path, "from-master") == first


async def test_a_branch_that_cannot_be_created_raises_the_reason(tmp_path: Path) -> None:
    repo_path, _, first, _ = await create_filled(tmp_path)
    with pytest.raises(NoBranch):
        refs.create_branch(repo_path, "x", from_branch="gone")
    for nothing in ("f" * 40, "main", "--all", ""):
        with pytest.raises(NoCommit):
            refs.create_branch(repo_path, "x", from_commit=nothing)
    with pytest.raises(AlreadyExists):
        refs.create_branch(repo_path, "main", from_commit=first)
    with pytest.raises(BadName):
        refs.create_branch(repo_path, "main/below", from_branch="main")
    refs.create_branch(repo_path, "deep/er")
    with pytest.raises(BadName):
        refs.create_branch(repo_path, "deep")
    for name in BAD:
        with pytest.raises(BadName):
            refs.create_branch(repo_path, name)
    with pytest.raises(NoBranch):
        refs.create_branch(await create_bare(tmp_path, "empty"), "x")
    assert refs.is_empty(tmp_path / "empty.git")
    assert not refs.is_empty(repo_path)


async def test_a_tag_is_annotated_and_names_its_tagger(tmp_path: Path) -> None:
    repo_path, _, first, second = await create_filled(tmp_path)
    assert refs.create_tag(repo_path, "v1", first[:9], tagger=ALICE, at=1_700_000_000, message="One\n\nTwo")
    assert (await git("cat-file", "tag", "v1", cwd=repo_path)) == (
        f"object {first}\ntype commit\ntag v1\ntagger Alice a <alice@example.org> 1700000000 +0000\n\nOne\n\nTwo\n"
    )
    assert not refs.create_tag(repo_path, "v1", second, tagger=ALICE, at=1)
    assert await git_words(repo_path, "rev-parse", "v1^{commit}") == [first]
    assert refs.create_tag(repo_path, "v1", second, tagger=ALICE, at=1, force=True)
    assert refs.create_tag(repo_path, "v2", second, tagger=("", ""), at=1, force=True)
    assert await git_words(repo_path, "rev-parse", "v1^{commit}") == [second]
    await git("fsck", "--strict", cwd=repo_path)
    for name in BAD:
        with pytest.raises(BadName):
            refs.create_tag(repo_path, name, first, tagger=ALICE, at=1)
    for nothing in ("f" * 40, "main", "zzzz"):
        with pytest.raises(NoCommit):
            refs.create_tag(repo_path, "v3", nothing, tagger=ALICE, at=1)


async def test_head_is_set_to_an_existing_branch_only(tmp_path: Path) -> None:
    repo_path, _, first, _ = await create_filled(tmp_path)
    refs.create_branch(repo_path, "other", from_commit=first)
    refs.set_head(repo_path, "other")
    assert await git_words(repo_path, "symbolic-ref", "HEAD") == ["refs/heads/other"]
    for name in ("gone", *BAD):
        with pytest.raises(NoBranch):
            refs.set_head(repo_path, name)
    assert await git_words(repo_path, "symbolic-ref", "HEAD") == ["refs/heads/other"]


async def test_an_alias_stands_for_a_branch_until_it_is_deleted(tmp_path: Path) -> None:
    repo_path, _, _, second = await create_filled(tmp_path)
    assert refs.list_aliases(repo_path) == {}
    refs.create_alias(repo_path, "master", "main")
    assert refs.list_aliases(repo_path) == {"refs/heads/master": "refs/heads/main"}
    assert refs.find_branch_head(repo_path, "master") == second
    with pytest.raises(NoBranch):
        refs.create_alias(repo_path, "x", "gone")
    with pytest.raises(AlreadyExists):
        refs.create_alias(repo_path, "master", "main")
    for name in ("main/x", *BAD):
        with pytest.raises(BadName):
            refs.create_alias(repo_path, name, "main")
    assert not refs.delete_alias(repo_path, "gone", "main")
    with pytest.raises(NoBranch):
        refs.delete_alias(repo_path, "main", "gone")
    refs.set_head(repo_path, "master")
    assert refs.delete_alias(repo_path, "main", "master")
    assert await git_words(repo_path, "symbolic-ref", "HEAD") == ["refs/heads/main"]
    refs.create_alias(repo_path, "master", "main")
    assert refs.delete_alias(repo_path, "master", "main")
    assert await git_words(repo_path, "for-each-ref", "--format=%(refname)") == ["refs/heads/main"]


async def test_a_dangling_alias_occupies_its_name_and_can_be_listed_and_deleted(tmp_path: Path) -> None:
    repo_path, _, _, _ = await create_filled(tmp_path)
    await git("symbolic-ref", "refs/heads/lost", "refs/heads/gone", cwd=repo_path)
    assert refs.list_aliases(repo_path) == {"refs/heads/lost": "refs/heads/gone"}
    with pytest.raises(AlreadyExists):
        refs.create_branch(repo_path, "lost")
    with pytest.raises(NoBranch):
        refs.find_branch_head(repo_path, "lost")
    assert refs.delete_alias(repo_path, "lost", "gone")


async def test_a_ref_moves_only_from_its_expected_target(tmp_path: Path) -> None:
    repo_path, _, first, second = await create_filled(tmp_path)
    with pytest.raises(RefMoved):
        refs.move(repo_path, "refs/heads/main", first, first)
    with pytest.raises(RefMoved):
        refs.move(repo_path, "refs/heads/main", first, None)
    with pytest.raises(RefMoved):
        refs.move(repo_path, "refs/heads/new", first, second)
    with pytest.raises(GitFailed):
        refs.move(repo_path, "refs/heads/main", "f" * 40, second)
    with pytest.raises(RefMoved):
        refs.remove(repo_path, "refs/heads/main", first)
    assert refs.find_target(repo_path, "refs/heads/main") == second
    await git("pack-refs", "--all", cwd=repo_path)
    refs.move(repo_path, "refs/heads/main", first, second)
    refs.remove(repo_path, "refs/heads/main", first)
    assert refs.find_target(repo_path, "refs/heads/main") is None


async def test_one_of_many_concurrent_moves_of_a_ref_succeeds(tmp_path: Path) -> None:
    repo_path, _, first, second = await create_filled(tmp_path)
    winners: list[int] = []

    def race() -> None:
        try:
            refs.move(repo_path, "refs/heads/main", first, second)
        except RefMoved:
            return
        winners.append(threading.get_ident())

    threads = [threading.Thread(target=race) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(winners) == 1


async def test_an_object_is_visible_if_a_visible_ref_leads_to_it(tmp_path: Path) -> None:
    repo_path, work, first, _ = await create_filled(tmp_path)
    (work / "sub").mkdir()
    await commit(work, "sub/secret", "hush")
    await git("tag", "-am", "inner", "inner", cwd=work)
    await git("tag", "-am", "outer", "outer", "inner", cwd=work)
    names = ["HEAD", "HEAD^{tree}", "HEAD:sub", "HEAD:sub/secret", "inner", "outer"]
    secret = await git_words(work, "rev-parse", *names)
    await git("push", "-q", "origin", "outer", cwd=work)
    known = await git_words(work, "rev-parse", "HEAD~1", "HEAD~2", "HEAD~1^{tree}", "HEAD~2^{tree}", "HEAD~1:a")
    assert [is_reachable(repo_path, one) for one in [*secret, *known]] == [True] * 11
    await git("update-ref", "refs/internal/kept", "refs/tags/outer", cwd=repo_path)
    await git("tag", "-d", "outer", cwd=repo_path)
    assert [is_reachable(repo_path, one) for one in secret] == [False] * 6
    assert [is_reachable(repo_path, one) for one in known] == [True] * 5
    await git("update-ref", "refs/pull/1/head", secret[0], cwd=repo_path)
    assert [is_reachable(repo_path, one) for one in secret] == [True] * 4 + [False] * 2
    assert not is_reachable(repo_path, "f" * 40)
    # A file name that spells the id of an object does not make the object visible.
    hidden = write_object(repo_path, "blob", b"hidden")
    await commit(work, hidden)
    await git("push", "-q", "origin", "main", cwd=work)
    assert not is_reachable(repo_path, hidden)
    assert first in known


async def test_no_object_of_a_repository_without_refs_is_visible(tmp_path: Path) -> None:
    repo_path = await create_bare(tmp_path)
    blob = write_object(repo_path, "blob", b"x")
    assert not is_reachable(repo_path, blob)
    assert not is_reachable(repo_path, write_object(repo_path, "tree", b""))


@pytest.mark.parametrize("read", [store.read_state, refs.list_aliases])
async def test_reading_refs_leaves_nothing_in_memory(read: Callable[[Path], object], tmp_path: Path) -> None:
    repo_path, _, _, head = await create_filled(tmp_path)
    for number in range(50):
        (repo_path / "refs" / "heads" / f"branch-{number}").write_text(f"{head}\n")
    refs.create_alias(repo_path, "master", "main")

    def count_blocks() -> int:
        for _ in range(10):
            read(repo_path)
        gc.collect()
        return sys.getallocatedblocks()

    count_blocks()  # caches are filled
    before = count_blocks()
    assert count_blocks() - before < 100  # it would be more than 500 if each name were left
