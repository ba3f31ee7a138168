"""Rebasing on bare repositories, beside what `git rebase` makes of the same branches."""

import random
import subprocess
from pathlib import Path

import pytest

from app.git import rebase, refs
from app.git.errors import MergeConflict, NoBranch, NoCommit, RefMoved, TooLarge
from app.git.merge import Signer
from app.git.rebase import RebaseResult
from tests.conftest import commit, git
from tests.git.repositories import bare, grown, said, typed, work_tree

BOB = Signer("bob", "bob@example.org", 1_800_000_000)


def rebased(source: Path, branch: str, target: Path, onto: str, committer: Signer) -> RebaseResult:
    done = rebase.prepare_rebase(source, branch, target, onto, committer)
    rebase.apply_rebase(source, done)
    return done


async def diverged(tmp_path: Path) -> tuple[Path, Path, Path, str, str]:
    """A target, a fork and its work tree; `main` of the one and `topic` of the other have gone apart."""
    work = await work_tree(repo_path := await bare(tmp_path))
    await commit(work, "base")
    fork = await bare(tmp_path, "fork")
    await git("checkout", "-qb", "topic", cwd=work)
    await git("commit", "-qm", "Empty\n\nfrom the start", "--allow-empty", "--date=1500000000 +0130", cwd=work)
    head = await commit(work, "theirs")
    await git("push", "-q", str(fork), "topic", cwd=work)
    await git("checkout", "-q", "main", cwd=work)
    onto = await commit(work, "ours")
    await git("push", "-q", "origin", "main", cwd=work)
    await git("checkout", "-q", "topic", cwd=work)
    return repo_path, fork, work, head, onto


async def test_a_branch_is_put_on_top_of_the_other_with_its_authors_kept(tmp_path: Path) -> None:
    repo_path, fork, work, head, onto = await diverged(tmp_path)
    done = rebased(fork, "topic", repo_path, "main", BOB)
    assert done == RebaseResult("topic", head, refs.find_branch_head(fork, "topic"), onto)
    shape = "--format=%T|%an|%ae|%ad|%B"
    await git("rebase", "-q", "main", cwd=work)
    told = await git("log", shape, "--date=raw", cwd=work)
    assert await git("log", shape, "--date=raw", "topic", cwd=fork) == told
    assert await said(fork, "log", "--format=%cn,%ce,%ct", f"{onto}..topic") == ["bob,bob@example.org,1800000000"] * 2
    assert await said(fork, "rev-parse", "topic~2") == [onto]
    await git("fsck", "--strict", cwd=fork)
    assert await said(fork, "for-each-ref", "--format=%(refname)") == ["refs/heads/topic"]


async def test_what_stands_on_top_already_keeps_its_ids(tmp_path: Path) -> None:
    repo_path, fork, _, _, _ = await diverged(tmp_path)
    new = rebased(fork, "topic", repo_path, "main", BOB).new
    later = Signer("carol", "carol@example.org", 1_900_000_000)
    assert rebased(fork, "topic", repo_path, "main", later).new == new


async def test_a_branch_without_commits_of_its_own_goes_where_the_other_is(tmp_path: Path) -> None:
    repo_path, fork, work, head, onto = await diverged(tmp_path)
    await git("push", "-qf", str(fork), "main~1:topic", cwd=work)
    assert rebased(fork, "topic", repo_path, "main", BOB).new == onto
    # And so does one whose changes have all been taken over.
    await git("push", "-qf", str(fork), f"{head}:topic", cwd=work)
    await git("checkout", "-q", "main", cwd=work)
    await git("cherry-pick", head, cwd=work)
    await git("push", "-q", "origin", "main", cwd=work)
    done = rebased(fork, "topic", repo_path, "main", BOB)
    assert await said(fork, "log", "--format=%s", f"{done.onto}..topic") == ["Empty"]


async def test_a_commit_that_was_taken_over_and_worked_on_since_does_not_clash(tmp_path: Path) -> None:
    repo_path, fork, work, head, _ = await diverged(tmp_path)
    await git("checkout", "-q", "main", cwd=work)
    await git("cherry-pick", head, cwd=work)
    onto = await commit(work, "theirs", "ours by now")
    await git("push", "-q", "origin", "main", cwd=work)
    done = rebased(fork, "topic", repo_path, "main", BOB)
    assert done.onto == onto
    assert await said(fork, "show", "topic:theirs") == ["ours", "by", "now"]


async def test_a_conflict_names_commit_and_files_and_moves_nothing(tmp_path: Path) -> None:
    repo_path, fork, work, _, _ = await diverged(tmp_path)
    clash = await commit(work, "ours", "not the same")
    await commit(work, "more")
    await git("push", "-q", str(fork), "topic", cwd=work)
    before = refs.find_branch_head(fork, "topic")
    with pytest.raises(MergeConflict) as refusal:
        rebased(fork, "topic", repo_path, "main", BOB)
    assert (refusal.value.subject, refusal.value.paths) == (clash, ("ours",))
    assert refs.find_branch_head(fork, "topic") == before


async def test_whoever_pushes_meanwhile_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repo_path, fork, work, _, _ = await diverged(tmp_path)
    pushed = await commit(work, "meanwhile")
    replay = rebase.replay_commits

    def slowly(*arguments: object) -> str:
        new = replay(*arguments)  # type: ignore[arg-type]
        subprocess.run(["git", "push", "-q", str(fork), "topic"], cwd=work, check=True)
        return new

    monkeypatch.setattr(rebase, "replay_commits", slowly)
    with pytest.raises(RefMoved):
        rebased(fork, "topic", repo_path, "main", BOB)
    assert refs.find_branch_head(fork, "topic") == pushed


async def test_a_missing_branch_on_either_side_is_named(tmp_path: Path) -> None:
    repo_path, fork, _, head, _ = await diverged(tmp_path)
    for name in ("gone", "-x", "--onto=x", "a\0b"):
        for arguments in ((fork, name, repo_path, "main"), (fork, "topic", repo_path, name)):
            with pytest.raises(NoBranch) as refusal:
                rebased(*arguments, BOB)
            assert refusal.value.subject == name
    with pytest.raises(NoCommit):
        rebase.replay_commits(fork, head, "f" * 40, BOB)


async def test_strange_messages_and_authors_stay_as_they_are(tmp_path: Path) -> None:
    repo_path, fork, _, head, _ = await diverged(tmp_path)
    tree = (await said(fork, "rev-parse", "topic^{tree}"))[0]
    body = f"tree {tree}\nparent {head}\n".encode() + b"author Andr\xe9  <> 5 -0730\ncommitter x <y> 6 +0000\n"
    body += b"encoding latin1\n\n# not a comment\n\n\n  caf\xe9  \n\n"
    strange = typed(fork, "commit", body)
    await git("update-ref", "refs/heads/topic", strange, cwd=fork)
    rebased(fork, "topic", repo_path, "main", BOB)
    made = subprocess.run(["git", "cat-file", "commit", "topic"], cwd=fork, capture_output=True, check=True).stdout
    assert b"\nauthor Andr\xe9 <> 5 -0730\ncommitter bob <bob@example.org> 1800000000 +0000\nencoding latin1\n" in made
    assert made.endswith(b"\n\n# not a comment\n\n\n  caf\xe9  \n\n")


async def test_a_very_long_branch_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repo_path, fork, _, _, _ = await diverged(tmp_path)
    monkeypatch.setattr(rebase, "COMMITS_LIMIT", 1)
    with pytest.raises(TooLarge):
        rebased(fork, "topic", repo_path, "main", BOB)


@pytest.mark.parametrize("seed", range(5))
async def test_rebases_come_out_as_the_git_program_makes_them(tmp_path: Path, seed: int) -> None:
    branches = grown(repo_path := await bare(tmp_path), seed, 40)
    heads = dict(zip(branches, await said(repo_path, "rev-parse", *branches), strict=True))
    work = await work_tree(repo_path)
    dice = random.Random(seed)
    for topic, onto in (dice.sample(branches, k=2) for _ in range(15)):
        await git("checkout", "-q", "--detach", heads[topic], cwd=work)
        asked = ["git", "-c", "user.name=x", "-c", "user.email=x@y", "rebase", "-q", heads[onto]]
        clean = subprocess.run(asked, cwd=work, capture_output=True, check=False).returncode == 0
        try:
            new = rebase.replay_commits(repo_path, heads[topic], heads[onto], BOB)
        except MergeConflict:
            assert not clean, (topic, onto)
        else:
            assert clean, (topic, onto)
            shape = ["--format=%T %an %ad", "--topo-order"]
            told = await said(work, "log", *shape, f"{heads[onto]}..HEAD")
            assert await said(repo_path, "log", *shape, f"{heads[onto]}..{new}") == told
        if not clean:
            await git("rebase", "--abort", cwd=work)
