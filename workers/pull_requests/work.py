"""A pull request with its two projects and their repositories, as the reactions work with it."""

import asyncio
from collections.abc import Callable, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from app.actor import Actor
from app.core.access import is_blocked
from app.core.mentions import linked_issues
from app.core.project_settings import get_setting
from app.core.pushes import moving_refs, record_refs
from app.errors import NotFound
from app.git import commits, merge, pulls, refs, store
from app.git.errors import GitError, GitFailed, Missing, NoCommit, TimedOut, TooLarge
from app.points import Point, reach
from app.queries import history, issues, projects, pull_requests, users
from events.event import StoredEvent
from events.pull_requests import PullRequestUpdated
from events.record import NewEvent
from events.tasks import FailureReason
from workers.progress import StagedProgress
from workers.reactions import PermanentError, WorkerContext

Row = Mapping[str, Any]
T = TypeVar("T")
MERGES = "merges"  # the lane of what moves branches for pull requests
MAX_COMMITS = 1000  # commits of a pull request whose messages are read
FETCHED, COMPARED = 70, 90  # progress of a merge after these steps, in percent


async def in_thread(work: Callable[..., T], *arguments: Any, **options: Any) -> T:
    """Run a blocking git function in a thread. What takes more than git may use is not tried again."""
    try:
        return await asyncio.to_thread(work, *arguments, **options)
    except (TooLarge, TimedOut):
        raise PermanentError(FailureReason.TOO_LARGE) from None


class PullRequestWork:
    """A pull request with its source and target projects and their repositories. `source` is None if it was deleted;
    its repository stays until the commits have been copied (workers/pull_requests/following.py).
    """

    def __init__(self, ctx: WorkerContext, found: Row, target: Row, source: Row | None, request: str) -> None:
        self.ctx = ctx
        self.request = request
        self.found = found
        self.target = target
        self.source = source
        root = ctx.settings.repositories
        self.repo_path = store.repository_path(root, found["project_id"])
        self.source_path = None if found["repo_from"] is None else store.repository_path(root, found["repo_from"])

    async def fetch_head(self) -> str:
        """Find the newest commit and copy it with its ancestors into the target.

        It stays as it is while the last push to its branch is one of a user whom the target has blocked. Raises
        PermanentError if the source project exists without the branch.
        """
        number, branch = self.found["number"], self.found["branch_from"]
        if self.source_path is None or await self._is_source_blocked():
            return await self._find_copied_head()
        progress = StagedProgress(self.ctx.progress.report, FETCHED)
        try:
            head = await in_thread(pulls.copy_source_head, self.repo_path, number, self.source_path, branch, progress)
        except (Missing, GitFailed) as error:
            # The source may have been deleted meanwhile. Its commits were copied first.
            if self.source is None or not await in_thread(self.source_path.exists):
                return await self._find_copied_head()
            if isinstance(error, GitFailed):
                raise
            raise missing_branch(branch, self.source) from None
        await self.record(self.target["project_id"], Actor("forge"), refs.pull_ref(number))
        return head

    async def _is_source_blocked(self) -> bool:
        """Whether the target has blocked the user who moved the source branch last."""
        if not self.source or not self.target["blocked"]:
            return False
        ref = refs.branch_ref(self.found["branch_from"])
        mover = await history.find_last_mover(self.ctx.db, self.source["project_id"], ref)
        return mover is not None and is_blocked(Actor(mover), self.target)

    async def _find_copied_head(self) -> str:
        branch = self.found["branch_from"]
        try:
            return await in_thread(pulls.find_source_head, self.repo_path, self.found["number"], None, branch)
        except Missing:
            raise missing_branch(branch, self.source or self.target) from None

    async def record(self, project_id: int, actor: Actor, *names: str, merged: int | None = None) -> None:
        """Record refs that this work moved."""
        db, root = self.ctx.db, self.ctx.settings.repositories
        await record_refs(db, root, project_id, actor, request=self.request, only=frozenset(names), merged=merged)

    async def move(
        self, project_id: int, actor: Actor, ref: str, step: Callable[[], T], merged: int | None = None
    ) -> T:
        """Do a step that moves a ref, under the lock of the project's refs, and record the move.

        Raises what the step raises if git refuses, and Conflict if another process keeps the lock.
        """
        refusal = None
        async with moving_refs(self.ctx.db, self.ctx.settings.repositories, project_id, actor, merged=merged):
            try:
                done = await in_thread(step)
            except GitError as no:
                refusal = no
            else:
                reach(Point.REFS_MOVED)
                await self.record(project_id, actor, ref, merged=merged)
        if refusal is not None:
            raise refusal
        return done

    async def find_changes(self, head: str, base: str | None) -> dict[str, Any]:
        """Find the changed commits and linked issues; empty if the commits are the same as before. `head` is the newest
        commit of the pull request, `base` the head of its target branch.
        """
        span = await in_thread(commits.find_span, self.repo_path, head, base)
        if span is None and await self.has_landed(base):
            return {}  # the target got the commits in another way; they are still what was asked for
        start, stop = (span.start, span.stop) if span else (None, None)
        if (start, stop) == (self.found["commit_start"], self.found["commit_stop"]):
            return {}
        return {"commit_start": start, "commit_stop": stop, "commit_issues": await self.find_commit_issues(head)}

    async def has_landed(self, base: str | None) -> bool:
        """Whether it has commits, as they were last recorded, and `base`, a head of the target branch, has them all."""
        stop = self.found["commit_stop"]
        if base is None or stop is None:
            return False
        try:
            return await in_thread(commits.contains, self.repo_path, base, stop)
        except NoCommit:
            return False

    async def find_commit_issues(self, head: str) -> list[int]:
        """Find the issues that its commits mention, including commits that were part of it earlier."""
        found, target = self.found, self.target
        base = (await pull_requests.list_heads(self.ctx.db, found["project_id"])).get(found["branch"])
        home = f"{self.ctx.settings.url}/{target['path']}"
        numbers = await in_thread(_find_linked_issues, self.repo_path, head, base, home)
        existing = await issues.list_existing(self.ctx.db, found["project_id"], sorted(numbers))
        return sorted({*existing, *found["commit_issues"]})

    async def preview_merge(self, head: str) -> merge.MergePreview:
        signed = get_setting(self.target, "enforce_signed_off_commits")
        return await in_thread(merge.preview_merge, self.repo_path, self.found["branch"], head, signed_off=signed)


def _find_linked_issues(repo_path: Path, head: str, base: str | None, home: str) -> set[int]:
    """Find the issues that the newest MAX_COMMITS commits mention. One message is held in memory at a time."""
    newest = islice(commits.list_between(repo_path, head, base), MAX_COMMITS)
    return {number for commit in newest for number in linked_issues(commit.message, home)}


def missing_branch(branch: str, project: Row) -> PermanentError:
    return PermanentError(FailureReason.BRANCH_MISSING, branch=branch, project=project["path"])


async def load_work(ctx: WorkerContext, cause: StoredEvent, project_id: int, number: int) -> PullRequestWork:
    try:
        found = await pull_requests.find(ctx.db, project_id, number, thread=False)
        target = await projects.by_id(ctx.db, project_id)
    except NotFound:
        raise PermanentError(FailureReason.PULL_REQUEST_MISSING) from None
    source = None
    if found["repo_from"] is not None:
        try:
            source = await projects.by_id(ctx.db, found["repo_from"])
        except NotFound:
            source = None
    return PullRequestWork(ctx, found, target, source, cause.request)


def build_update(
    found: Row, changed: dict[str, Any], note: dict[str, Any] | None = None, comment_id: int | None = None
) -> NewEvent:
    event = PullRequestUpdated(
        project_id=found["project_id"], number=found["number"], changed=changed, note=note, comment_id=comment_id
    )
    return NewEvent(event, None)


async def find_signer(ctx: WorkerContext, cause: StoredEvent) -> merge.Signer:
    """Find the name and address with which the user who asked for the work signs commits."""
    user = await users.find(ctx.db, cause.actor)
    name, email = (user["fullname"], user["email"]) if user else ("", "")
    return merge.Signer(name or cause.actor, email, int(cause.at.timestamp()))
