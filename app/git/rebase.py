"""Putting a branch's commits on top of another's, without a work tree."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pygit2

from app.git import commits, merge, pulls, refs
from app.git.errors import MergeConflict, NoCommit, NotFastForward, TooLarge
from app.git.merge import Signer
from app.git.objects import EMPTY_TREE, open_repository
from app.git.process import split_records, stream
from app.git.receive import NO_REQUIREMENTS, CommitRequirements

COMMITS_LIMIT = 5_000  # that one rebase makes anew


@dataclass(frozen=True)
class RebaseResult:
    """Where the branch led and is to lead, the same if there is nothing to do, and the commit it stands on."""

    branch: str
    old: str
    new: str
    onto: str


def prepare_rebase(
    source: Path,
    branch: str,
    target: Path,
    onto: str,
    committer: Signer,
    demands: CommitRequirements = NO_REQUIREMENTS,
    *,
    progress: Callable[[int], None] = lambda percent: None,
) -> RebaseResult:
    """Put the commits of `branch` in `source` on top of the branch `onto` of `target`; the branch stays where it is.
    `progress` hears how many of the commits are done, in percent.

    Authors, their times and the messages stay; the committer is the caller. Merge commits are left out, as are commits
    whose changes are in the target already; commits that need no change keep their ids. A commit that changed nothing
    from the start is kept. All this is what `git rebase` does.

    Raises NoBranch for either branch, Conflict with the commit and its paths, TooLarge above COMMITS_LIMIT commits, and
    LostRace if the other is rewritten meanwhile; and what `demands` of the source's project do not have, NotForward or
    NotSignedOff.
    Source: pull-request contract 5.3.
    """
    old = refs.find_branch_head(source, branch)
    base = refs.find_branch_head(target, onto) if source == target else pulls.fetch_branch(source, target, onto)
    done = RebaseResult(branch, old, replay_commits(source, old, base, committer, progress), base)
    if done.new != old:
        _require(source, demands, done)
    return done


def apply_rebase(source: Path, done: RebaseResult) -> None:
    """Move the branch to what was prepared. Raises LostRace if it has moved meanwhile; then nothing has changed."""
    if done.new != done.old:
        refs.move(source, refs.branch_ref(done.branch), done.new, done.old)


def _require(repo_path: Path, demands: CommitRequirements, done: RebaseResult) -> None:
    meant = refs.resolve_alias(repo_path, refs.branch_ref(done.branch)).removeprefix(refs.HEADS)
    if demands.only_forward(meant) and not commits.contains(repo_path, done.new, done.old):
        raise NotFastForward(done.branch)
    if demands.signed:
        commits.require_sign_off(repo_path, done.new, done.onto)


def replay_commits(
    repo_path: Path, head: str, base: str, committer: Signer, progress: Callable[[int], None] = lambda percent: None
) -> str:
    """The commits that lead to `head` and not to `base`, made anew on top of `base`; the last of them. Moves no ref."""
    repository = open_repository(repo_path)
    tip = _commit(repository, base)
    picks = _list_commits(repo_path, head, base)
    for done, commit_id in enumerate(picks):
        progress(done * 100 // len(picks))
        pick = _commit(repository, commit_id)
        if pick.parent_ids == [tip.id]:
            tip = pick
            continue
        tree = _pick(repository, tip, pick)
        if tree == tip.tree_id and _changes(pick):
            continue
        tip = _commit(repository, _recommit(repository, pick, tip, tree, committer))
    return str(tip.id)


def _list_commits(repo_path: Path, head: str, base: str) -> list[str]:
    """What is to be made anew, oldest first. Git finds the commits whose patches the other side has."""
    for one in (head, base):
        commits.read(open_repository(repo_path), one)
    how = ["--topo-order", "--no-merges", "--right-only", "--cherry-pick", f"--max-count={COMMITS_LIMIT + 1}"]
    found = [line.decode() for line in split_records(stream(repo_path, "rev-list", *how, f"{base}...{head}", "--"))]
    if len(found) > COMMITS_LIMIT:
        raise TooLarge(head)
    return found[::-1]


def _pick(repository: pygit2.Repository, tip: pygit2.Commit, pick: pygit2.Commit) -> pygit2.Oid:
    """The tree at `tip` with what `pick` changes."""
    before = pick.parents[0].tree_id if pick.parent_ids else _empty_tree(repository)
    index = repository.merge_trees(before, tip.tree_id, pick.tree_id)
    if clashes := merge.list_conflicts(index):
        raise MergeConflict(str(pick.id), clashes)
    return index.write_tree(repository)


def _changes(pick: pygit2.Commit) -> bool:
    before = str(pick.parents[0].tree_id) if pick.parent_ids else EMPTY_TREE
    return str(pick.tree_id) != before


def _recommit(
    repository: pygit2.Repository, pick: pygit2.Commit, tip: pygit2.Commit, tree: pygit2.Oid, committer: Signer
) -> str:
    encoding = [pick.message_encoding] if pick.message_encoding else []
    who = committer.signature
    return str(repository.create_commit(None, pick.author, who, pick.raw_message, tree, [tip.id], *encoding))


def _empty_tree(repository: pygit2.Repository) -> pygit2.Oid:
    return repository.TreeBuilder().write()


def _commit(repository: pygit2.Repository, commit_id: str) -> pygit2.Commit:
    commit = repository.get(commit_id)
    if not isinstance(commit, pygit2.Commit):
        raise NoCommit(commit_id)
    return commit
