"""Rebasing one branch onto another, without a work tree."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pygit2

from app.git import commits, extent, merge, pulls, refs
from app.git.errors import MergeConflict, NotFastForward, TooLarge
from app.git.limits import Work
from app.git.merge import Signer
from app.git.objects import EMPTY_TREE, open_repository
from app.git.process import split_records, stream
from app.git.receive import NO_REQUIREMENTS, CommitRequirements

COMMITS_LIMIT = 5_000  # commits that one rebase may replay


@dataclass(frozen=True)
class RebaseResult:
    """The head of the branch before and after, equal if there is nothing to do, and the commit it is rebased onto."""

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
    """Rebase `branch` of `source` onto the branch `onto` of `target`, without moving it yet.

    Authors, author times and messages are kept; `committer` becomes the committer. Merge commits are left out, and so
    are commits whose changes the target has already; commits that need no change keep their ids. A commit that was
    empty from the start is kept. All this is what `git rebase` does. `progress` is told the percentage of commits done.

    Raises NoBranch for either branch, MergeConflict with the commit and its paths, TooLarge above COMMITS_LIMIT,
    RefMoved if the target branch is rewritten meanwhile, and NotFastForward or NotSignedOff if the result violates
    `demands`, the requirements of the source project. Source: pull-request contract 5.3.
    """
    old = refs.find_branch_head(source, branch)
    base = refs.find_branch_head(target, onto) if source == target else pulls.fetch_branch(source, target, onto)
    result = RebaseResult(branch, old, replay_commits(source, old, base, committer, progress), base)
    if result.new != old:
        _require_allowed(source, demands, result)
    return result


def apply_rebase(source: Path, result: RebaseResult) -> None:
    """Move the branch to its new head. Raises RefMoved, and changes nothing, if it has moved meanwhile."""
    if result.new != result.old:
        refs.move(source, refs.branch_ref(result.branch), result.new, result.old)


def _require_allowed(repo_path: Path, demands: CommitRequirements, result: RebaseResult) -> None:
    branch = refs.resolve_alias(repo_path, refs.branch_ref(result.branch)).removeprefix(refs.HEADS)
    if demands.only_forward(branch) and not commits.contains(repo_path, result.new, result.old):
        raise NotFastForward(result.branch)
    if demands.signed:
        commits.require_sign_off(repo_path, result.new, result.onto)


def replay_commits(
    repo_path: Path, head: str, base: str, committer: Signer, progress: Callable[[int], None] = lambda percent: None
) -> str:
    """Replay the commits reachable from `head` and not from `base` on top of `base`; return the new head.

    Moves no ref.
    """
    repository = open_repository(repo_path)
    tip = commits.load(repository, base)
    picks = _list_commits(repo_path, head, base)
    for done, commit_id in enumerate(picks):
        progress(done * 100 // len(picks))
        pick = commits.load(repository, commit_id)
        if pick.parent_ids == [tip.id]:
            tip = pick
            continue
        tree = _apply_changes(repo_path, repository, tip, pick)
        if tree == tip.tree_id and _has_changes(repository, pick):
            continue
        tip = commits.load(repository, _recommit(repository, pick, tip, tree, committer))
    return str(tip.id)


def _list_commits(repo_path: Path, head: str, base: str) -> list[str]:
    """List the commits to replay, oldest first; git leaves out those whose patches `base` has already."""
    for commit_id in (head, base):
        commits.read(open_repository(repo_path), commit_id)
    options = ["--topo-order", "--no-merges", "--right-only", "--cherry-pick", f"--max-count={COMMITS_LIMIT + 1}"]
    output = stream(repo_path, "rev-list", *options, f"{base}...{head}", "--", work=Work.CHANGE)
    newest_first = [line.decode() for line in split_records(output)]
    if len(newest_first) > COMMITS_LIMIT:
        raise TooLarge(head)
    return newest_first[::-1]


def _apply_changes(
    repo_path: Path, repository: pygit2.Repository, tip: pygit2.Commit, pick: pygit2.Commit
) -> pygit2.Oid:
    """Apply the changes of the commit `pick` to the tree of `tip`; return the new tree. Raises MergeConflict."""
    if pick.parent_ids and extent.tree_of(repository, pick.parent_ids[0]) == tip.tree_id:
        return pick.tree_id
    # A sibling of `pick` with the tree of `tip`: what the two have in common is the parent of `pick`, whose changes are
    # then one side of a merge.
    signature = pygit2.Signature("Polyforge", "nobody@localhost", 0, 0)
    sibling = repository.create_commit(None, signature, signature, "", tip.tree_id, list(pick.parent_ids[:1]))
    tree, conflicts = merge.combine(repo_path, str(sibling), str(pick.id))
    if conflicts:
        raise MergeConflict(str(pick.id), conflicts)
    return pygit2.Oid(hex=tree)


def _has_changes(repository: pygit2.Repository, pick: pygit2.Commit) -> bool:
    before = str(extent.tree_of(repository, pick.parent_ids[0])) if pick.parent_ids else EMPTY_TREE
    return str(pick.tree_id) != before


def _recommit(
    repository: pygit2.Repository, pick: pygit2.Commit, tip: pygit2.Commit, tree: pygit2.Oid, committer: Signer
) -> str:
    encoding = [pick.message_encoding] if pick.message_encoding else []
    signature = committer.signature
    return str(repository.create_commit(None, pick.author, signature, pick.raw_message, tree, [tip.id], *encoding))
