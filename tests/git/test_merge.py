"""Merging on bare repositories, beside what the git program itself would have made of it."""

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
from tests.git.repositories import bare, grown, said, work_tree

MALLORY = Signer("Mallory <m>\nEvil", "mal@example.org", 1_700_000_000)
BOB = Signer("Bob Builder", "bob@example.org", 1_700_000_000)


async def diverged(tmp_path: Path, ours: str = "ours", theirs: str = "theirs") -> tuple[Path, str, str]:
    """A repository whose `main` and `topic` have gone apart, each by a file; the heads of both."""
    work = await work_tree(repo_path := await bare(tmp_path))
    await commit(work, "base")
    await git("checkout", "-qb", "topic", cwd=work)
    right = await commit(work, theirs, "theirs")
    await git("checkout", "-q", "main", cwd=work)
    left = await commit(work, ours, "ours")
    await git("push", "-q", "origin", "main", "topic", cwd=work)
    return repo_path, left, right


async def test_a_merge_commit_says_who_merged_what(tmp_path: Path) -> None:
    repo_path, ours, theirs = await diverged(tmp_path)
    command = merge.preview_merge(repo_path, "main", theirs)
    assert command == MergePreview(Status.MERGE, "main", ours, theirs)
    new = merge.merge(repo_path, command, merge.merge_message(7, "Add\nthings `x`"), BOB)
    assert await said(repo_path, "rev-parse", "main", "main^1", "main^2") == [new, ours, theirs]
    assert await said(repo_path, "rev-parse", "main^{tree}") == await said(
        repo_path, "merge-tree", "--write-tree", ours, theirs
    )
    raw = await git("cat-file", "commit", new, cwd=repo_path)
    who = "Bob Builder <bob@example.org> 1700000000 +0000"
    assert raw.partition("\nauthor ")[2] == f"{who}\ncommitter {who}\n\nMerge #7 `Add things `x``"


async def test_where_sign_off_is_enforced_the_merge_commit_is_signed_off_as_well(tmp_path: Path) -> None:
    assert merge.merge_message(1, "T", BOB) == "Merge #1 `T`\n\nSigned-off-by: Bob Builder <bob@example.org>"
    assert merge.merge_message(1, "T", MALLORY).endswith("\n\nSigned-off-by: Mallory mEvil <mal@example.org>")
    repo_path, _, theirs = await diverged(tmp_path)
    new = merge.merge(
        repo_path, merge.preview_merge(repo_path, "main", theirs), merge.merge_message(1, "T", MALLORY), MALLORY
    )
    assert (await git("show", "-s", "--format=%an|%ae", new, cwd=repo_path)).strip() == "Mallory mEvil|mal@example.org"
    nobody = Signer("", "", 0)
    assert (nobody.signature.name, nobody.signature.email) == ("nobody", "nobody@localhost")


async def test_commits_without_sign_off_are_refused_where_it_is_enforced(tmp_path: Path) -> None:
    repo_path, ours, theirs = await diverged(tmp_path)
    with pytest.raises(NotSignedOff):
        merge.preview_merge(repo_path, "main", theirs, signed_off=True)
    merge.preview_merge(repo_path, "main", ours, signed_off=True)


async def test_a_branch_that_can_just_move_on_does(tmp_path: Path) -> None:
    work = await work_tree(repo_path := await bare(tmp_path))
    old, new = await commit(work, "a"), await commit(work, "b")
    await git("push", "-q", "origin", f"{old}:refs/heads/main", f"{new}:refs/heads/topic", cwd=work)
    command = merge.preview_merge(repo_path, "main", new)
    assert command.status is Status.FFORWARD
    assert merge.merge(repo_path, command, "m", BOB, only_forward=True) == new
    assert await said(repo_path, "rev-parse", "main") == [new]


async def test_a_merge_commit_is_made_all_the_same_where_always_one_is_wanted(tmp_path: Path) -> None:
    work = await work_tree(repo_path := await bare(tmp_path))
    old, new = await commit(work, "a"), await commit(work, "b")
    await git("push", "-q", "origin", f"{old}:refs/heads/main", f"{new}:refs/heads/topic", cwd=work)
    made = merge.merge(repo_path, merge.preview_merge(repo_path, "main", new), "m", BOB, always=True)
    assert await said(repo_path, "rev-parse", "main", "main^1", "main^2") == [made, old, new]
    assert await said(repo_path, "rev-parse", "main^{tree}") == await said(repo_path, "rev-parse", f"{new}^{{tree}}")


async def test_an_empty_repository_gets_its_branch_from_the_first_merge(tmp_path: Path) -> None:
    work = await work_tree(source := await bare(tmp_path, "fork"))
    head = await commit(work)
    await git("push", "-q", "origin", "HEAD:topic", cwd=work)
    repo_path = await bare(tmp_path)
    assert merge.preview_merge(repo_path, "main", head, alternate=source).status is Status.FFORWARD
    # The pull-request's own ref is there before, and the repository counts as empty nevertheless.
    pulls.copy_source_head(repo_path, 1, source, "topic")
    assert merge.merge(repo_path, merge.preview_merge(repo_path, "main", head), "m", BOB, always=True) == head
    assert await said(repo_path, "rev-parse", "main") == [head]


async def test_nothing_is_merged_twice(tmp_path: Path) -> None:
    repo_path, ours, theirs = await diverged(tmp_path)
    merge.merge(repo_path, merge.preview_merge(repo_path, "main", theirs), "m", BOB)
    for known in (ours, theirs):
        command = merge.preview_merge(repo_path, "main", known)
        assert command.status is Status.NO_CHANGE
        with pytest.raises(NothingToMerge):
            merge.merge(repo_path, command, "m", BOB)


async def test_a_conflict_names_the_files_and_moves_nothing(tmp_path: Path) -> None:
    repo_path, ours, theirs = await diverged(tmp_path, "same\udcff", "same\udcff")
    command = merge.preview_merge(repo_path, "main", theirs)
    assert (command.status, command.clashes) == (Status.CONFLICTS, ("same\\xff",))
    with pytest.raises(MergeConflict) as refusal:
        merge.merge(repo_path, command, "m", BOB)
    assert refusal.value.paths == ("same\\xff",)
    # Also when the outlook is not to be believed.
    with pytest.raises(MergeConflict):
        merge.merge(repo_path, MergePreview(Status.MERGE, "main", ours, theirs), "m", BOB)
    assert await said(repo_path, "rev-parse", "main") == [ours]


async def test_a_project_without_merge_commits_asks_for_a_rebase(tmp_path: Path) -> None:
    repo_path, ours, theirs = await diverged(tmp_path)
    with pytest.raises(NeedsRebase):
        merge.merge(repo_path, merge.preview_merge(repo_path, "main", theirs), "m", BOB, only_forward=True)
    assert await said(repo_path, "rev-parse", "main") == [ours]


async def test_a_missing_target_branch_is_not_made(tmp_path: Path) -> None:
    repo_path, _, theirs = await diverged(tmp_path)
    for name in ("gone", "../main", "a b", "-x", "", "a\0b", "\udcff"):
        with pytest.raises(NoBranch):
            merge.preview_merge(repo_path, name, theirs)
    for nothing in ("f" * 40, "main", "--all"):
        with pytest.raises(NoCommit):
            merge.preview_merge(repo_path, "main", nothing)


@pytest.mark.parametrize("always", [False, True])
async def test_whoever_moves_the_branch_first_wins(tmp_path: Path, always: bool) -> None:
    repo_path, ours, theirs = await diverged(tmp_path)
    command = merge.preview_merge(repo_path, "main", theirs)
    await git("branch", "-f", "main", "topic~1", cwd=repo_path)
    moved = await said(repo_path, "rev-parse", "main")
    with pytest.raises(RefMoved):
        merge.merge(repo_path, command, "m", BOB, always=always)
    assert await said(repo_path, "rev-parse", "main") == moved != [ours]
    await git("branch", "-D", "main", cwd=repo_path)
    with pytest.raises(RefMoved):
        merge.merge(repo_path, command, "m", BOB, always=always)


async def test_a_merge_that_is_tried_again_makes_the_same_commit(tmp_path: Path) -> None:
    repo_path, ours, theirs = await diverged(tmp_path)
    shutil.copytree(repo_path, other := tmp_path / "other.git")
    command = merge.preview_merge(repo_path, "main", theirs)
    new = merge.merge(repo_path, command, "m", BOB)
    assert merge.merge(other, command, "m", BOB) == new
    assert commits.contains(repo_path, refs.find_branch_head(repo_path, "main"), new)
    assert not commits.contains(repo_path, ours, new)


async def test_an_alias_stays_one_when_its_branch_is_merged_into(tmp_path: Path) -> None:
    repo_path, _, theirs = await diverged(tmp_path)
    refs.create_alias(repo_path, "old", "main")
    new = merge.merge(repo_path, merge.preview_merge(repo_path, "old", theirs), "m", BOB)
    assert await said(repo_path, "rev-parse", "main") == [new]
    assert refs.list_aliases(repo_path) == {"refs/heads/old": "refs/heads/main"}


@pytest.mark.parametrize("seed", range(4))
async def test_merges_come_out_as_the_git_program_makes_them(tmp_path: Path, seed: int) -> None:
    branches = grown(repo_path := await bare(tmp_path), seed, 40)
    heads = dict(zip(branches, await said(repo_path, "rev-parse", *branches), strict=True))
    dice, seen = random.Random(seed), set()
    for ours, theirs in (dice.sample(branches, k=2) for _ in range(25)):
        command = merge.preview_merge(repo_path, ours, heads[theirs])
        seen.add(command.status)
        if command.status in (Status.NO_CHANGE, Status.FFORWARD):
            ahead = await said(repo_path, "rev-list", "--count", f"{ours}..{theirs}", "--")
            behind = await said(repo_path, "rev-list", "--count", f"{theirs}..{ours}", "--")
            assert (ahead if command.status is Status.NO_CHANGE else behind) == ["0"]
            continue
        asked = ["git", "merge-tree", "--write-tree", "--allow-unrelated-histories", "--name-only", ours, theirs]
        told = subprocess.run(asked, cwd=repo_path, capture_output=True, text=True, check=False)
        assert command.status is (Status.CONFLICTS if told.returncode else Status.MERGE)
        if command.status is Status.MERGE:
            new = merge.merge(repo_path, command, "m", BOB)
            assert await said(repo_path, "rev-parse", f"{new}^{{tree}}") == told.stdout.split()
            await git("branch", "-f", ours, heads[ours], cwd=repo_path)
        else:
            assert set(command.clashes) == set(told.stdout.partition("\n\n")[0].split()[1:])
    assert seen >= {Status.CONFLICTS, Status.MERGE}


async def forked(tmp_path: Path) -> tuple[Path, Path, Path, str]:
    """A target, a fork with a `topic` of its own, the fork's work tree, the topic's head."""
    work = await work_tree(repo_path := await bare(tmp_path))
    await commit(work, "base")
    await git("push", "-q", "origin", "main", cwd=work)
    fork = await bare(tmp_path, "fork")
    head = await commit(work, "new")
    await git("tag", "-am", "t", "secret", cwd=work)
    await git("push", "-q", str(fork), "HEAD:topic", "secret", cwd=work)
    return repo_path, fork, work, head


async def test_the_target_keeps_the_commits_when_the_fork_is_gone(tmp_path: Path) -> None:
    repo_path, fork, _, head = await forked(tmp_path)
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
    assert await said(repo_path, "for-each-ref", "--format=%(refname)") == ["refs/heads/main", "refs/pull/3/head"]
    assert not (repo_path / "objects/info/alternates").exists()
    assert not (repo_path / "FETCH_HEAD").exists()


async def test_the_mirror_follows_the_branch_also_when_that_is_rewritten(tmp_path: Path) -> None:
    repo_path, fork, work, head = await forked(tmp_path)
    pulls.copy_source_head(repo_path, 3, fork, "topic")
    await git("commit", "-q", "--amend", "-m", "again", cwd=work)
    await git("push", "-qf", str(fork), "HEAD:topic", cwd=work)
    new = pulls.copy_source_head(repo_path, 3, fork, "topic")
    assert new != head
    assert refs.find_target(repo_path, refs.pull_ref(3)) == new == (await said(work, "rev-parse", "HEAD"))[0]
    # A branch that is gone leaves what the target keeps; a pull-request within one repository needs no fetch.
    await git("update-ref", "-d", "refs/heads/topic", cwd=fork)
    assert pulls.find_source_head(repo_path, 3, fork, "topic") == new
    assert pulls.copy_source_head(repo_path, 4, repo_path, "main") == refs.find_branch_head(repo_path, "main")


async def test_a_slow_mirror_does_not_set_a_newer_one_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repo_path, fork, work, _ = await forked(tmp_path)
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
    repo_path, fork, _, _ = await forked(tmp_path)
    for name in ("gone", "--upload-pack=touch x", "$(touch x)", "*"):
        with pytest.raises(NoBranch):
            pulls.copy_source_head(repo_path, 5, fork, name)
    with pytest.raises(NoBranch):
        pulls.find_source_head(repo_path, 5, fork, "gone")
    with pytest.raises(NoRepository):
        pulls.copy_source_head(repo_path, 5, tmp_path / "nowhere.git", "topic")
    assert refs.find_target(repo_path, refs.pull_ref(5)) is None


async def test_a_path_with_signs_in_it_is_fetched_from(tmp_path: Path) -> None:
    repo_path, fork, _, head = await forked(tmp_path)
    odd = tmp_path / "o'dd $(x) :a b.git"
    fork.rename(odd)
    assert pulls.copy_source_head(repo_path, 1, odd, "topic") == head
