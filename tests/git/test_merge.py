"""Merging on bare repositories, beside what the git program itself would have made of it."""

import random
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from app.git import commits, merge, pulls, refs
from app.git.errors import (
    Conflict,
    EmptyRepository,
    LostRace,
    NeedsRebase,
    NoBranch,
    NoCommit,
    NoRepository,
    NothingToMerge,
    NotSignedOff,
)
from app.git.merge import Outlook, Signer, Status
from tests.conftest import commit, git
from tests.git.repositories import bare, grown, said, work_tree

MALLORY = Signer("Mallory <m>\nEvil", "mal@example.org", 1_700_000_000)
BOB = Signer("Bob Builder", "bob@example.org", 1_700_000_000)


async def diverged(tmp_path: Path, ours: str = "ours", theirs: str = "theirs") -> tuple[Path, str, str]:
    """A repository whose `main` and `topic` have gone apart, each by a file; the heads of both."""
    work = await work_tree(place := await bare(tmp_path))
    await commit(work, "base")
    await git("checkout", "-qb", "topic", cwd=work)
    right = await commit(work, theirs, "theirs")
    await git("checkout", "-q", "main", cwd=work)
    left = await commit(work, ours, "ours")
    await git("push", "-q", "origin", "main", "topic", cwd=work)
    return place, left, right


async def test_a_merge_commit_says_who_merged_what(tmp_path: Path) -> None:
    place, ours, theirs = await diverged(tmp_path)
    wish = merge.outlook(place, "main", theirs)
    assert wish == Outlook(Status.MERGE, "main", ours, theirs)
    new = merge.merge(place, wish, merge.merge_message(7, "Add\nthings `x`"), BOB)
    assert await said(place, "rev-parse", "main", "main^1", "main^2") == [new, ours, theirs]
    assert await said(place, "rev-parse", "main^{tree}") == await said(
        place, "merge-tree", "--write-tree", ours, theirs
    )
    raw = await git("cat-file", "commit", new, cwd=place)
    who = "Bob Builder <bob@example.org> 1700000000 +0000"
    assert raw.partition("\nauthor ")[2] == f"{who}\ncommitter {who}\n\nMerge #7 `Add things `x``"


async def test_where_sign_off_is_enforced_the_merge_commit_is_signed_off_as_well(tmp_path: Path) -> None:
    assert merge.merge_message(1, "T", BOB) == "Merge #1 `T`\n\nSigned-off-by: Bob Builder <bob@example.org>"
    assert merge.merge_message(1, "T", MALLORY).endswith("\n\nSigned-off-by: Mallory mEvil <mal@example.org>")
    place, _, theirs = await diverged(tmp_path)
    new = merge.merge(place, merge.outlook(place, "main", theirs), merge.merge_message(1, "T", MALLORY), MALLORY)
    assert (await git("show", "-s", "--format=%an|%ae", new, cwd=place)).strip() == "Mallory mEvil|mal@example.org"
    nobody = Signer("", "", 0)
    assert (nobody.signature.name, nobody.signature.email) == ("nobody", "nobody@localhost")


async def test_commits_without_sign_off_are_refused_where_it_is_enforced(tmp_path: Path) -> None:
    place, ours, theirs = await diverged(tmp_path)
    with pytest.raises(NotSignedOff):
        merge.outlook(place, "main", theirs, signed_off=True)
    merge.outlook(place, "main", ours, signed_off=True)


async def test_a_branch_that_can_just_move_on_does(tmp_path: Path) -> None:
    work = await work_tree(place := await bare(tmp_path))
    old, new = await commit(work, "a"), await commit(work, "b")
    await git("push", "-q", "origin", f"{old}:refs/heads/main", f"{new}:refs/heads/topic", cwd=work)
    wish = merge.outlook(place, "main", new)
    assert wish.status is Status.FFORWARD
    assert merge.merge(place, wish, "m", BOB, only_forward=True) == new
    assert await said(place, "rev-parse", "main") == [new]


async def test_a_merge_commit_is_made_all_the_same_where_always_one_is_wanted(tmp_path: Path) -> None:
    work = await work_tree(place := await bare(tmp_path))
    old, new = await commit(work, "a"), await commit(work, "b")
    await git("push", "-q", "origin", f"{old}:refs/heads/main", f"{new}:refs/heads/topic", cwd=work)
    made = merge.merge(place, merge.outlook(place, "main", new), "m", BOB, always=True)
    assert await said(place, "rev-parse", "main", "main^1", "main^2") == [made, old, new]
    assert await said(place, "rev-parse", "main^{tree}") == await said(place, "rev-parse", f"{new}^{{tree}}")


async def test_an_empty_repository_gets_its_branch_from_the_first_merge(tmp_path: Path) -> None:
    work = await work_tree(source := await bare(tmp_path, "fork"))
    head = await commit(work)
    await git("push", "-q", "origin", "HEAD:topic", cwd=work)
    place = await bare(tmp_path)
    assert merge.outlook(place, "main", head, borrow=source).status is Status.FFORWARD
    # The pull-request's own ref is there before, and the repository counts as empty nevertheless.
    pulls.mirror(place, 1, source, "topic")
    assert merge.merge(place, merge.outlook(place, "main", head), "m", BOB, always=True) == head
    assert await said(place, "rev-parse", "main") == [head]


async def test_nothing_is_merged_twice(tmp_path: Path) -> None:
    place, ours, theirs = await diverged(tmp_path)
    merge.merge(place, merge.outlook(place, "main", theirs), "m", BOB)
    for known in (ours, theirs):
        wish = merge.outlook(place, "main", known)
        assert wish.status is Status.NO_CHANGE
        with pytest.raises(NothingToMerge):
            merge.merge(place, wish, "m", BOB)


async def test_a_conflict_names_the_files_and_moves_nothing(tmp_path: Path) -> None:
    place, ours, theirs = await diverged(tmp_path, "same\udcff", "same\udcff")
    wish = merge.outlook(place, "main", theirs)
    assert (wish.status, wish.clashes) == (Status.CONFLICTS, ("same\\xff",))
    with pytest.raises(Conflict) as refusal:
        merge.merge(place, wish, "m", BOB)
    assert refusal.value.paths == ("same\\xff",)
    # Also when the outlook is not to be believed.
    with pytest.raises(Conflict):
        merge.merge(place, Outlook(Status.MERGE, "main", ours, theirs), "m", BOB)
    assert await said(place, "rev-parse", "main") == [ours]


async def test_a_project_without_merge_commits_asks_for_a_rebase(tmp_path: Path) -> None:
    place, ours, theirs = await diverged(tmp_path)
    with pytest.raises(NeedsRebase):
        merge.merge(place, merge.outlook(place, "main", theirs), "m", BOB, only_forward=True)
    assert await said(place, "rev-parse", "main") == [ours]


async def test_a_missing_target_branch_is_not_made(tmp_path: Path) -> None:
    place, _, theirs = await diverged(tmp_path)
    for name in ("gone", "../main", "a b", "-x", "", "a\0b", "\udcff"):
        with pytest.raises(NoBranch):
            merge.outlook(place, name, theirs)
    for nothing in ("f" * 40, "main", "--all"):
        with pytest.raises(NoCommit):
            merge.outlook(place, "main", nothing)


@pytest.mark.parametrize("always", [False, True])
async def test_whoever_moves_the_branch_first_wins(tmp_path: Path, always: bool) -> None:
    place, ours, theirs = await diverged(tmp_path)
    wish = merge.outlook(place, "main", theirs)
    await git("branch", "-f", "main", "topic~1", cwd=place)
    moved = await said(place, "rev-parse", "main")
    with pytest.raises(LostRace):
        merge.merge(place, wish, "m", BOB, always=always)
    assert await said(place, "rev-parse", "main") == moved != [ours]
    await git("branch", "-D", "main", cwd=place)
    with pytest.raises(LostRace):
        merge.merge(place, wish, "m", BOB, always=always)


async def test_a_merge_that_is_tried_again_makes_the_same_commit(tmp_path: Path) -> None:
    place, ours, theirs = await diverged(tmp_path)
    shutil.copytree(place, other := tmp_path / "other.git")
    wish = merge.outlook(place, "main", theirs)
    new = merge.merge(place, wish, "m", BOB)
    assert merge.merge(other, wish, "m", BOB) == new
    assert commits.contains(place, refs.branch_head(place, "main"), new)
    assert not commits.contains(place, ours, new)


async def test_an_alias_stays_one_when_its_branch_is_merged_into(tmp_path: Path) -> None:
    place, _, theirs = await diverged(tmp_path)
    refs.create_alias(place, "old", "main")
    new = merge.merge(place, merge.outlook(place, "old", theirs), "m", BOB)
    assert await said(place, "rev-parse", "main") == [new]
    assert refs.aliases(place) == {"refs/heads/old": "refs/heads/main"}


@pytest.mark.parametrize("seed", range(4))
async def test_merges_come_out_as_the_git_program_makes_them(tmp_path: Path, seed: int) -> None:
    branches = grown(place := await bare(tmp_path), seed, 40)
    heads = dict(zip(branches, await said(place, "rev-parse", *branches), strict=True))
    dice, seen = random.Random(seed), set()
    for ours, theirs in (dice.sample(branches, k=2) for _ in range(25)):
        wish = merge.outlook(place, ours, heads[theirs])
        seen.add(wish.status)
        if wish.status in (Status.NO_CHANGE, Status.FFORWARD):
            ahead = await said(place, "rev-list", "--count", f"{ours}..{theirs}", "--")
            behind = await said(place, "rev-list", "--count", f"{theirs}..{ours}", "--")
            assert (ahead if wish.status is Status.NO_CHANGE else behind) == ["0"]
            continue
        asked = ["git", "merge-tree", "--write-tree", "--allow-unrelated-histories", "--name-only", ours, theirs]
        told = subprocess.run(asked, cwd=place, capture_output=True, text=True, check=False)
        assert wish.status is (Status.CONFLICTS if told.returncode else Status.MERGE)
        if wish.status is Status.MERGE:
            new = merge.merge(place, wish, "m", BOB)
            assert await said(place, "rev-parse", f"{new}^{{tree}}") == told.stdout.split()
            await git("branch", "-f", ours, heads[ours], cwd=place)
        else:
            assert set(wish.clashes) == set(told.stdout.partition("\n\n")[0].split()[1:])
    assert seen >= {Status.CONFLICTS, Status.MERGE}


async def forked(tmp_path: Path) -> tuple[Path, Path, Path, str]:
    """A target, a fork with a `topic` of its own, the fork's work tree, the topic's head."""
    work = await work_tree(place := await bare(tmp_path))
    await commit(work, "base")
    await git("push", "-q", "origin", "main", cwd=work)
    fork = await bare(tmp_path, "fork")
    head = await commit(work, "new")
    await git("tag", "-am", "t", "secret", cwd=work)
    await git("push", "-q", str(fork), "HEAD:topic", "secret", cwd=work)
    return place, fork, work, head


async def test_the_target_keeps_the_commits_when_the_fork_is_gone(tmp_path: Path) -> None:
    place, fork, _, head = await forked(tmp_path)
    assert pulls.source_head(place, 3, fork, "topic") == head
    assert pulls.mirror(place, 3, fork, "topic") == pulls.mirror(place, 3, fork, "topic") == head
    shutil.rmtree(fork)
    assert pulls.source_head(place, 3, fork, "topic") == pulls.source_head(place, 3, None, "topic") == head
    await git("fsck", "--strict", cwd=place)
    assert await said(place, "for-each-ref", "--format=%(refname)") == ["refs/heads/main", "refs/pull/3/head"]
    assert not (place / "objects/info/alternates").exists()
    assert not (place / "FETCH_HEAD").exists()


async def test_the_mirror_follows_the_branch_also_when_that_is_rewritten(tmp_path: Path) -> None:
    place, fork, work, head = await forked(tmp_path)
    pulls.mirror(place, 3, fork, "topic")
    await git("commit", "-q", "--amend", "-m", "again", cwd=work)
    await git("push", "-qf", str(fork), "HEAD:topic", cwd=work)
    new = pulls.mirror(place, 3, fork, "topic")
    assert new != head
    assert refs.target(place, refs.pull(3)) == new == (await said(work, "rev-parse", "HEAD"))[0]
    # A branch that is gone leaves what the target keeps; a pull-request within one repository needs no fetch.
    await git("update-ref", "-d", "refs/heads/topic", cwd=fork)
    assert pulls.source_head(place, 3, fork, "topic") == new
    assert pulls.mirror(place, 4, place, "main") == refs.branch_head(place, "main")


async def test_a_slow_mirror_does_not_set_a_newer_one_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place, fork, work, _ = await forked(tmp_path)
    newer = await commit(work, "newer")
    fetch = pulls.fetch

    def slowly(*arguments: Any) -> str:
        head = fetch(*arguments)
        monkeypatch.setattr(pulls, "fetch", fetch)
        subprocess.run(["git", "push", "-q", str(fork), "HEAD:topic"], cwd=work, check=True)
        assert pulls.mirror(*arguments[:1], 1, *arguments[1:]) == newer
        return head

    monkeypatch.setattr(pulls, "fetch", slowly)
    assert pulls.mirror(place, 1, fork, "topic") == newer == refs.target(place, refs.pull(1))


async def test_a_source_without_branch_or_commits_is_told_apart(tmp_path: Path) -> None:
    place, fork, _, _ = await forked(tmp_path)
    empty = await bare(tmp_path, "empty")
    with pytest.raises(EmptyRepository):
        pulls.existing_head(empty, "topic")
    with pytest.raises(NoBranch):
        pulls.existing_head(fork, "gone")
    for name in ("gone", "--upload-pack=touch x", "$(touch x)", "*"):
        with pytest.raises(NoBranch):
            pulls.mirror(place, 5, fork, name)
    with pytest.raises(NoBranch):
        pulls.source_head(place, 5, fork, "gone")
    with pytest.raises(NoRepository):
        pulls.mirror(place, 5, tmp_path / "nowhere.git", "topic")
    assert refs.target(place, refs.pull(5)) is None


async def test_a_path_with_signs_in_it_is_fetched_from(tmp_path: Path) -> None:
    place, fork, _, head = await forked(tmp_path)
    odd = tmp_path / "o'dd $(x) :a b.git"
    fork.rename(odd)
    assert pulls.mirror(place, 1, odd, "topic") == head
