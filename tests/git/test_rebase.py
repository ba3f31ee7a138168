"""Rebasing in bare repositories, compared with `git rebase`."""

import random
import subprocess
from pathlib import Path

import pytest

from app.git import rebase, refs
from app.git.errors import MergeConflict, NoBranch, NoCommit, RefMoved, TooLarge
from app.git.merge import Signer
from app.git.rebase import RebaseResult
from tests.conftest import commit, git
from tests.git.repositories import clone_work_tree, create_bare, git_words, grow_history, write_object

BOB = Signer("bob", "bob@example.org", 1_800_000_000)


def rebase_branch(source: Path, branch: str, target: Path, onto: str, committer: Signer) -> RebaseResult:
    done = rebase.prepare_rebase(source, branch, target, onto, committer)
    rebase.apply_rebase(source, done)
    return done


async def create_diverged(tmp_path: Path) -> tuple[Path, Path, Path, str, str]:
    """A target whose `main` and a fork whose `topic` have diverged, the work tree, and the heads of both branches."""
    work = await clone_work_tree(repo_path := await create_bare(tmp_path))
    await commit(work, "base")
    fork = await create_bare(tmp_path, "fork")
    await git("checkout", "-qb", "topic", cwd=work)
    await git("commit", "-qm", "Empty\n\nfrom the start", "--allow-empty", "--date=1500000000 +0130", cwd=work)
    head = await commit(work, "theirs")
    await git("push", "-q", str(fork), "topic", cwd=work)
    await git("checkout", "-q", "main", cwd=work)
    onto = await commit(work, "ours")
    await git("push", "-q", "origin", "main", cwd=work)
    await git("checkout", "-q", "topic", cwd=work)
    return repo_path, fork, work, head, onto


async def test_a_branch_is_rebased_with_its_authors_kept(tmp_path: Path) -> None:
    repo_path, fork, work, head, onto = await create_diverged(tmp_path)
    done = rebase_branch(fork, "topic", repo_path, "main", BOB)
    assert done == RebaseResult("topic", head, refs.find_branch_head(fork, "topic"), onto)
    shape = "--format=%T|%an|%ae|%ad|%B"
    await git("rebase", "-q", "main", cwd=work)
    expected = await git("log", shape, "--date=raw", cwd=work)
    assert await git("log", shape, "--date=raw", "topic", cwd=fork) == expected
    assert (
        await git_words(fork, "log", "--format=%cn,%ce,%ct", f"{onto}..topic") == ["bob,bob@example.org,1800000000"] * 2
    )
    assert await git_words(fork, "rev-parse", "topic~2") == [onto]
    await git("fsck", "--strict", cwd=fork)
    assert await git_words(fork, "for-each-ref", "--format=%(refname)") == ["refs/heads/topic"]


async def test_commits_that_need_no_rebase_keep_their_ids(tmp_path: Path) -> None:
    repo_path, fork, _, _, _ = await create_diverged(tmp_path)
    new = rebase_branch(fork, "topic", repo_path, "main", BOB).new
    later = Signer("carol", "carol@example.org", 1_900_000_000)
    assert rebase_branch(fork, "topic", repo_path, "main", later).new == new


async def test_a_branch_without_new_commits_moves_to_the_target(tmp_path: Path) -> None:
    repo_path, fork, work, head, onto = await create_diverged(tmp_path)
    await git("push", "-qf", str(fork), "main~1:topic", cwd=work)
    assert rebase_branch(fork, "topic", repo_path, "main", BOB).new == onto
    # So does a branch whose changes have all been picked, but for its empty commit.
    await git("push", "-qf", str(fork), f"{head}:topic", cwd=work)
    await git("checkout", "-q", "main", cwd=work)
    await git("cherry-pick", head, cwd=work)
    await git("push", "-q", "origin", "main", cwd=work)
    done = rebase_branch(fork, "topic", repo_path, "main", BOB)
    assert await git_words(fork, "log", "--format=%s", f"{done.onto}..topic") == ["Empty"]


async def test_a_commit_that_was_picked_and_changed_since_does_not_conflict(tmp_path: Path) -> None:
    repo_path, fork, work, head, _ = await create_diverged(tmp_path)
    await git("checkout", "-q", "main", cwd=work)
    await git("cherry-pick", head, cwd=work)
    onto = await commit(work, "theirs", "ours by now")
    await git("push", "-q", "origin", "main", cwd=work)
    done = rebase_branch(fork, "topic", repo_path, "main", BOB)
    assert done.onto == onto
    assert await git_words(fork, "show", "topic:theirs") == ["ours", "by", "now"]


async def test_a_conflict_names_the_commit_and_its_files_and_moves_nothing(tmp_path: Path) -> None:
    repo_path, fork, work, _, _ = await create_diverged(tmp_path)
    clash = await commit(work, "ours", "not the same")
    await commit(work, "more")
    await git("push", "-q", str(fork), "topic", cwd=work)
    before = refs.find_branch_head(fork, "topic")
    with pytest.raises(MergeConflict) as refusal:
        rebase_branch(fork, "topic", repo_path, "main", BOB)
    assert (refusal.value.subject, refusal.value.paths) == (clash, ("ours",))
    assert refs.find_branch_head(fork, "topic") == before


async def test_a_concurrent_push_is_not_overwritten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repo_path, fork, work, _, _ = await create_diverged(tmp_path)
    pushed = await commit(work, "meanwhile")
    replay = rebase.replay_commits

    def slowly(*arguments: object) -> str:
        new = replay(*arguments)  # type: ignore[arg-type]
        subprocess.run(["git", "push", "-q", str(fork), "topic"], cwd=work, check=True)
        return new

    monkeypatch.setattr(rebase, "replay_commits", slowly)
    with pytest.raises(RefMoved):
        rebase_branch(fork, "topic", repo_path, "main", BOB)
    assert refs.find_branch_head(fork, "topic") == pushed


async def test_a_missing_branch_on_either_side_is_named(tmp_path: Path) -> None:
    repo_path, fork, _, head, _ = await create_diverged(tmp_path)
    for name in ("gone", "-x", "--onto=x", "a\0b"):
        for arguments in ((fork, name, repo_path, "main"), (fork, "topic", repo_path, name)):
            with pytest.raises(NoBranch) as refusal:
                rebase_branch(*arguments, BOB)
            assert refusal.value.subject == name
    with pytest.raises(NoCommit):
        rebase.replay_commits(fork, head, "f" * 40, BOB)


async def test_unusual_messages_and_authors_are_kept(tmp_path: Path) -> None:
    repo_path, fork, _, head, _ = await create_diverged(tmp_path)
    tree = (await git_words(fork, "rev-parse", "topic^{tree}"))[0]
    body = f"tree {tree}\nparent {head}\n".encode() + b"author Andr\xe9  <> 5 -0730\ncommitter x <y> 6 +0000\n"
    body += b"encoding latin1\n\n# not a comment\n\n\n  caf\xe9  \n\n"
    strange = write_object(fork, "commit", body)
    await git("update-ref", "refs/heads/topic", strange, cwd=fork)
    rebase_branch(fork, "topic", repo_path, "main", BOB)
    made = subprocess.run(["git", "cat-file", "commit", "topic"], cwd=fork, capture_output=True, check=True).stdout
    assert b"\nauthor Andr\xe9 <> 5 -0730\ncommitter bob <bob@example.org> 1800000000 +0000\nencoding latin1\n" in made
    assert made.endswith(b"\n\n# not a comment\n\n\n  caf\xe9  \n\n")


async def test_a_very_long_branch_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repo_path, fork, _, _, _ = await create_diverged(tmp_path)
    monkeypatch.setattr(rebase, "COMMITS_LIMIT", 1)
    with pytest.raises(TooLarge):
        rebase_branch(fork, "topic", repo_path, "main", BOB)


@pytest.mark.parametrize("seed", range(5))
async def test_rebases_equal_those_of_the_git_program(tmp_path: Path, seed: int) -> None:
    branches = grow_history(repo_path := await create_bare(tmp_path), seed, 40)
    heads = dict(zip(branches, await git_words(repo_path, "rev-parse", *branches), strict=True))
    work = await clone_work_tree(repo_path)
    dice = random.Random(seed)
    for topic, onto in (dice.sample(branches, k=2) for _ in range(15)):
        await git("checkout", "-q", "--detach", heads[topic], cwd=work)
        arguments = ["git", "-c", "user.name=x", "-c", "user.email=x@y", "rebase", "-q", heads[onto]]
        clean = subprocess.run(arguments, cwd=work, capture_output=True, check=False).returncode == 0
        try:
            new = rebase.replay_commits(repo_path, heads[topic], heads[onto], BOB)
        except MergeConflict:
            assert not clean, (topic, onto)
        else:
            assert clean, (topic, onto)
            shape = ["--format=%T %an %ad", "--topo-order"]
            expected = await git_words(work, "log", *shape, f"{heads[onto]}..HEAD")
            assert await git_words(repo_path, "log", *shape, f"{heads[onto]}..{new}") == expected
        if not clean:
            await git("rebase", "--abort", cwd=work)
