"""Merging in bare repositories, compared with what the git program makes."""

import random
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from app.git import commits, merge, pulls, refs
from app.git.errors import (
    MergeConflict,
    NeedsRebase,
    NoBranch,
    NoCommit,
    NoRepository,
    NothingToMerge,
    NotSignedOff,
    RefMoved,
)
from app.git.merge import MergePreview, Signer, Status
from tests.conftest import commit, git
from tests.git.repositories import clone_work_tree, create_bare, git_words, grow_history

MALLORY = Signer("Mallory <m>\nEvil", "mal@example.org", 1_700_000_000)
BOB = Signer("Bob Builder", "bob@example.org", 1_700_000_000)


async def create_diverged(tmp_path: Path, ours: str = "ours", theirs: str = "theirs") -> tuple[Path, str, str]:
    """A repository whose `main` and `topic` have diverged by one file each, and the heads of both."""
    work = await clone_work_tree(repo_path := await create_bare(tmp_path))
    await commit(work, "base")
    await git("checkout", "-qb", "topic", cwd=work)
    right = await commit(work, theirs, "theirs")
    await git("checkout", "-q", "main", cwd=work)
    left = await commit(work, ours, "ours")
    await git("push", "-q", "origin", "main", "topic", cwd=work)
    return repo_path, left, right


async def test_a_merge_commit_records_who_merged_what(tmp_path: Path) -> None:
    repo_path, ours, theirs = await create_diverged(tmp_path)
    preview = merge.preview_merge(repo_path, "main", theirs)
    assert preview == MergePreview(Status.MERGE, "main", ours, theirs)
    new = merge.merge(repo_path, preview, merge.merge_message(7, "Add\nthings `x`"), BOB)
    assert await git_words(repo_path, "rev-parse", "main", "main^1", "main^2") == [new, ours, theirs]
    assert await git_words(repo_path, "rev-parse", "main^{tree}") == await git_words(
        repo_path, "merge-tree", "--write-tree", ours, theirs
    )
    raw = await git("cat-file", "commit", new, cwd=repo_path)
    who = "Bob Builder <bob@example.org> 1700000000 +0000"
    assert raw.partition("\nauthor ")[2] == f"{who}\ncommitter {who}\n\nMerge #7 `Add things `x``"


async def test_where_sign_off_is_enforced_the_merge_commit_is_signed_off_too(tmp_path: Path) -> None:
    assert merge.merge_message(1, "T", BOB) == "Merge #1 `T`\n\nSigned-off-by: Bob Builder <bob@example.org>"
    assert merge.merge_message(1, "T", MALLORY).endswith("\n\nSigned-off-by: Mallory mEvil <mal@example.org>")
    repo_path, _, theirs = await create_diverged(tmp_path)
    new = merge.merge(
        repo_path, merge.preview_merge(repo_path, "main", theirs), merge.merge_message(1, "T", MALLORY), MALLORY
    )
    assert (await git("show", "-s", "--format=%an|%ae", new, cwd=repo_path)).strip() == "Mallory mEvil|mal@example.org"
    nobody = Signer("", "", 0)
    assert (nobody.signature.name, nobody.signature.email) == ("nobody", "nobody@localhost")


async def test_commits_without_sign_off_are_refused_where_it_is_enforced(tmp_path: Path) -> None:
    repo_path, ours, theirs = await create_diverged(tmp_path)
    with pytest.raises(NotSignedOff):
        merge.preview_merge(repo_path, "main", theirs, signed_off=True)
    merge.preview_merge(repo_path, "main", ours, signed_off=True)


async def test_a_branch_is_fast_forwarded_if_possible(tmp_path: Path) -> None:
    work = await clone_work_tree(repo_path := await create_bare(tmp_path))
    old, new = await commit(work, "a"), await commit(work, "b")
    await git("push", "-q", "origin", f"{old}:refs/heads/main", f"{new}:refs/heads/topic", cwd=work)
    preview = merge.preview_merge(repo_path, "main", new)
    assert preview.status is Status.FFORWARD
    assert merge.merge(repo_path, preview, "m", BOB, only_forward=True) == new
    assert await git_words(repo_path, "rev-parse", "main") == [new]


async def test_a_merge_commit_is_made_instead_of_a_fast_forward_on_request(tmp_path: Path) -> None:
    work = await clone_work_tree(repo_path := await create_bare(tmp_path))
    old, new = await commit(work, "a"), await commit(work, "b")
    await git("push", "-q", "origin", f"{old}:refs/heads/main", f"{new}:refs/heads/topic", cwd=work)
    made = merge.merge(repo_path, merge.preview_merge(repo_path, "main", new), "m", BOB, always=True)
    assert await git_words(repo_path, "rev-parse", "main", "main^1", "main^2") == [made, old, new]
    assert await git_words(repo_path, "rev-parse", "main^{tree}") == await git_words(
        repo_path, "rev-parse", f"{new}^{{tree}}"
    )


async def test_an_empty_repository_gets_its_branch_from_the_first_merge(tmp_path: Path) -> None:
    work = await clone_work_tree(source := await create_bare(tmp_path, "fork"))
    head = await commit(work)
    await git("push", "-q", "origin", "HEAD:topic", cwd=work)
    repo_path = await create_bare(tmp_path)
    assert merge.preview_merge(repo_path, "main", head, alternate=source).status is Status.FFORWARD
    # The ref of the pull-request exists by then, but the repository still counts as empty.
    pulls.copy_source_head(repo_path, 1, source, "topic")
    assert merge.merge(repo_path, merge.preview_merge(repo_path, "main", head), "m", BOB, always=True) == head
    assert await git_words(repo_path, "rev-parse", "main") == [head]


async def test_commits_that_are_merged_already_are_refused(tmp_path: Path) -> None:
    repo_path, ours, theirs = await create_diverged(tmp_path)
    merge.merge(repo_path, merge.preview_merge(repo_path, "main", theirs), "m", BOB)
    for known in (ours, theirs):
        preview = merge.preview_merge(repo_path, "main", known)
        assert preview.status is Status.NO_CHANGE
        with pytest.raises(NothingToMerge):
            merge.merge(repo_path, preview, "m", BOB)


async def test_a_conflict_lists_the_files_and_moves_nothing(tmp_path: Path) -> None:
    repo_path, ours, theirs = await create_diverged(tmp_path, "same\udcff", "same\udcff")
    preview = merge.preview_merge(repo_path, "main", theirs)
    assert (preview.status, preview.conflicts) == (Status.CONFLICTS, ("same\\xff",))
    with pytest.raises(MergeConflict) as refusal:
        merge.merge(repo_path, preview, "m", BOB)
    assert refusal.value.paths == ("same\\xff",)
    # Even if the preview is wrong.
    with pytest.raises(MergeConflict):
        merge.merge(repo_path, MergePreview(Status.MERGE, "main", ours, theirs), "m", BOB)
    assert await git_words(repo_path, "rev-parse", "main") == [ours]


async def test_a_project_that_allows_no_merge_commits_requires_a_rebase(tmp_path: Path) -> None:
    repo_path, ours, theirs = await create_diverged(tmp_path)
    with pytest.raises(NeedsRebase):
        merge.merge(repo_path, merge.preview_merge(repo_path, "main", theirs), "m", BOB, only_forward=True)
    assert await git_words(repo_path, "rev-parse", "main") == [ours]


async def test_a_missing_target_branch_is_not_created(tmp_path: Path) -> None:
    repo_path, _, theirs = await create_diverged(tmp_path)
    for name in ("gone", "../main", "a b", "-x", "", "a\0b", "\udcff"):
        with pytest.raises(NoBranch):
            merge.preview_merge(repo_path, name, theirs)
    for nothing in ("f" * 40, "main", "--all"):
        with pytest.raises(NoCommit):
            merge.preview_merge(repo_path, "main", nothing)


@pytest.mark.parametrize("always", [False, True])
async def test_a_merge_fails_if_the_branch_has_moved(tmp_path: Path, always: bool) -> None:
    repo_path, ours, theirs = await create_diverged(tmp_path)
    preview = merge.preview_merge(repo_path, "main", theirs)
    await git("branch", "-f", "main", "topic~1", cwd=repo_path)
    moved = await git_words(repo_path, "rev-parse", "main")
    with pytest.raises(RefMoved):
        merge.merge(repo_path, preview, "m", BOB, always=always)
    assert await git_words(repo_path, "rev-parse", "main") == moved != [ours]
    await git("branch", "-D", "main", cwd=repo_path)
    with pytest.raises(RefMoved):
        merge.merge(repo_path, preview, "m", BOB, always=always)


async def test_a_merge_that_is_retried_makes_the_same_commit(tmp_path: Path) -> None:
    repo_path, ours, theirs = await create_diverged(tmp_path)
    shutil.copytree(repo_path, other := tmp_path / "other.git")
    preview = merge.preview_merge(repo_path, "main", theirs)
    new = merge.merge(repo_path, preview, "m", BOB)
    assert merge.merge(other, preview, "m", BOB) == new
    assert commits.contains(repo_path, refs.find_branch_head(repo_path, "main"), new)
    assert not commits.contains(repo_path, ours, new)


async def test_merging_into_an_alias_moves_its_branch(tmp_path: Path) -> None:
    repo_path, _, theirs = await create_diverged(tmp_path)
    refs.create_alias(repo_path, "old", "main")
    new = merge.merge(repo_path, merge.preview_merge(repo_path, "old", theirs), "m", BOB)
    assert await git_words(repo_path, "rev-parse", "main") == [new]
    assert refs.list_aliases(repo_path) == {"refs/heads/old": "refs/heads/main"}


@pytest.mark.parametrize("seed", range(4))
async def test_merges_equal_those_of_the_git_program(tmp_path: Path, seed: int) -> None:
    branches = grow_history(repo_path := await create_bare(tmp_path), seed, 40)
    heads = dict(zip(branches, await git_words(repo_path, "rev-parse", *branches), strict=True))
    dice, seen = random.Random(seed), set()
    for ours, theirs in (dice.sample(branches, k=2) for _ in range(25)):
        preview = merge.preview_merge(repo_path, ours, heads[theirs])
        seen.add(preview.status)
        if preview.status in (Status.NO_CHANGE, Status.FFORWARD):
            ahead = await git_words(repo_path, "rev-list", "--count", f"{ours}..{theirs}", "--")
            behind = await git_words(repo_path, "rev-list", "--count", f"{theirs}..{ours}", "--")
            assert (ahead if preview.status is Status.NO_CHANGE else behind) == ["0"]
            continue
        arguments = ["git", "merge-tree", "--write-tree", "--allow-unrelated-histories", "--name-only", ours, theirs]
        merged = subprocess.run(arguments, cwd=repo_path, capture_output=True, text=True, check=False)
        assert preview.status is (Status.CONFLICTS if merged.returncode else Status.MERGE)
        if preview.status is Status.MERGE:
            new = merge.merge(repo_path, preview, "m", BOB)
            assert await git_words(repo_path, "rev-parse", f"{new}^{{tree}}") == merged.stdout.split()
            await git("branch", "-f", ours, heads[ours], cwd=repo_path)
        else:
            assert set(preview.conflicts) == set(merged.stdout.partition("\n\n")[0].split()[1:])
    assert seen >= {Status.CONFLICTS, Status.MERGE}


async def create_fork(tmp_path: Path) -> tuple[Path, Path, Path, str]:
    """A target, a fork with an additional branch `topic`, the work tree of the fork, and the head of `topic`."""
    work = await clone_work_tree(repo_path := await create_bare(tmp_path))
    await commit(work, "base")
    await git("push", "-q", "origin", "main", cwd=work)
    fork = await create_bare(tmp_path, "fork")
    head = await commit(work, "new")
    await git("tag", "-am", "t", "secret", cwd=work)
    await git("push", "-q", str(fork), "HEAD:topic", "secret", cwd=work)
    return repo_path, fork, work, head


async def test_the_target_keeps_the_commits_when_the_fork_is_deleted(tmp_path: Path) -> None:
    repo_path, fork, _, head = await create_fork(tmp_path)
    assert pulls.find_source_head(repo_path, 3, fork, "topic") == head
    assert (
        pulls.copy_source_head(repo_path, 3, fork, "topic")
        == pulls.copy_source_head(repo_path, 3, fork, "topic")
        == head
    )
    shutil.rmtree(fork)
    assert (
        pulls.find_source_head(repo_path, 3, fork, "topic")
        == pulls.find_source_head(repo_path, 3, None, "topic")
        == head
    )
    await git("fsck", "--strict", cwd=repo_path)
    assert await git_words(repo_path, "for-each-ref", "--format=%(refname)") == ["refs/heads/main", "refs/pull/3/head"]
    assert not (repo_path / "objects/info/alternates").exists()
    assert not (repo_path / "FETCH_HEAD").exists()


async def test_the_copied_head_follows_a_rewritten_branch(tmp_path: Path) -> None:
    repo_path, fork, work, head = await create_fork(tmp_path)
    pulls.copy_source_head(repo_path, 3, fork, "topic")
    await git("commit", "-q", "--amend", "-m", "again", cwd=work)
    await git("push", "-qf", str(fork), "HEAD:topic", cwd=work)
    new = pulls.copy_source_head(repo_path, 3, fork, "topic")
    assert new != head
    assert refs.find_target(repo_path, refs.pull_ref(3)) == new == (await git_words(work, "rev-parse", "HEAD"))[0]
    # The copy remains when the branch is deleted; a pull-request within one repository needs no fetch.
    await git("update-ref", "-d", "refs/heads/topic", cwd=fork)
    assert pulls.find_source_head(repo_path, 3, fork, "topic") == new
    assert pulls.copy_source_head(repo_path, 4, repo_path, "main") == refs.find_branch_head(repo_path, "main")


async def test_a_slow_copy_does_not_overwrite_a_newer_head(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repo_path, fork, work, _ = await create_fork(tmp_path)
    newer = await commit(work, "newer")
    fetch = pulls.fetch_branch

    def slowly(*arguments: Any) -> str:
        head = fetch(*arguments)
        monkeypatch.setattr(pulls, "fetch_branch", fetch)
        subprocess.run(["git", "push", "-q", str(fork), "HEAD:topic"], cwd=work, check=True)
        assert pulls.copy_source_head(*arguments[:1], 1, *arguments[1:]) == newer
        return head

    monkeypatch.setattr(pulls, "fetch_branch", slowly)
    assert pulls.copy_source_head(repo_path, 1, fork, "topic") == newer == refs.find_target(repo_path, refs.pull_ref(1))


async def test_a_missing_source_branch_or_repository_raises_its_own_error(tmp_path: Path) -> None:
    repo_path, fork, _, _ = await create_fork(tmp_path)
    for name in ("gone", "--upload-pack=touch x", "$(touch x)", "*"):
        with pytest.raises(NoBranch):
            pulls.copy_source_head(repo_path, 5, fork, name)
    with pytest.raises(NoBranch):
        pulls.find_source_head(repo_path, 5, fork, "gone")
    with pytest.raises(NoRepository):
        pulls.copy_source_head(repo_path, 5, tmp_path / "nowhere.git", "topic")
    assert refs.find_target(repo_path, refs.pull_ref(5)) is None


async def test_a_source_path_may_contain_special_characters(tmp_path: Path) -> None:
    repo_path, fork, _, head = await create_fork(tmp_path)
    odd = tmp_path / "o'dd $(x) :a b.git"
    fork.rename(odd)
    assert pulls.copy_source_head(repo_path, 1, odd, "topic") == head
