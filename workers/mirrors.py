"""Mirrors of remote repositories: creation, polling, updates on request.

PostgreSQL knows when each mirror is due and which worker holds it. Remote repositories are reached only through the
guarded git proxy, and nothing of what the remote side says is stored except a class of failure.
"""

import asyncio
import random
import re
import uuid
from base64 import b64encode
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractContextManager, asynccontextmanager, suppress
from pathlib import Path
from typing import TypeVar
from urllib.parse import unquote

from app.actor import Actor
from app.background import in_background
from app.core import paths
from app.core.commands import execute
from app.core.mirrors import MarkMirror
from app.core.pushes import moving_refs, record_refs
from app.database import DB_ERRORS, Database, Row
from app.errors import NotFound
from app.git import durability, locks, refs, store
from app.git.errors import NoBranch, NoRepository
from app.git.leftovers import remove_leftovers
from app.git.process import Progress
from app.logs import log
from app.outgoing.failures import Failure, OutgoingError
from app.outgoing.git import run_git
from app.queries import projects
from app.stores import mirrors, project_secrets, work
from events.event import StoredEvent
from events.projects import ProjectCreated
from events.record import NewEvent
from events.repositories import MirrorPulled, MirrorPullRequested
from events.tasks import FailureReason
from workers.progress import StagedProgress
from workers.reactions import MIRROR, LeaseLost, PermanentError, RetryLater, WorkerContext, fail_task, on

T = TypeVar("T")
FORGE = Actor("forge")
PULLS = "mirror-pulls"  # the lane of requested updates, so that those of one mirror do not wait for each other
TIMEOUT_SHARE = 0.9  # of a job's time limit, so that a slow fetch times out before its job does
CREATE_REACTION = "create-repository"
LISTING_TIMEOUT = 60.0  # seconds in which the remote side must list its refs
REFSPECS = ("+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*")
FETCH = (
    *("fetch", "--progress", "--prune", "--no-tags", "--no-write-fetch-head", "--no-auto-maintenance"),
    "--no-recurse-submodules",
)
HEAD = re.compile(rb"^ref: refs/heads/(\S+)\tHEAD$", re.MULTILINE)
BROKEN = "broken"  # a failure on this side
POLL_INTERVAL = 5.0  # seconds between two looks for due mirrors
CONCURRENCY = 2  # mirrors that one worker updates at once
JITTER = 0.2  # share by which a pause is lengthened or shortened at most
MAX_PAUSE = 86_400.0  # seconds between two attempts after failures
FAILURE_REASONS = {
    Failure.REFUSED: FailureReason.MIRROR_REFUSED,
    Failure.UNRESOLVED: FailureReason.MIRROR_UNRESOLVED,
    Failure.UNREACHABLE: FailureReason.MIRROR_UNREACHABLE,
    Failure.TIMEOUT: FailureReason.MIRROR_TIMEOUT,
    Failure.TLS: FailureReason.MIRROR_TLS,
    Failure.RESET: FailureReason.MIRROR_RESET,
    Failure.TOO_LARGE: FailureReason.MIRROR_TOO_LARGE,
}


async def create_mirror(ctx: WorkerContext, cause: StoredEvent, project: ProjectCreated) -> tuple[str, list[store.Ref]]:
    """Create the repository of a new mirror; returns its HEAD and refs.

    The work moves to a queue of its own first, so that a slow remote does not delay local work.
    """
    if await work.hand_over(ctx.db, cause.position, CREATE_REACTION, MIRROR):
        raise LeaseLost
    root, project_id = ctx.settings.repositories, project.project_id
    staging = store.staging_dir(root, project_id, cause=cause.id, head=project.default_branch)
    async with _enter_in_thread(staging) as staging_dir:
        if staging_dir is not None:
            try:
                head = await _fetch(
                    ctx, staging_dir, project_id, str(project.mirrored_from), StagedProgress(ctx.progress.report, 99),
                    config=durability.NOTHING,
                )  # fmt: skip
            except OutgoingError as failed:
                raise PermanentError(FAILURE_REASONS.get(failed.failure, FailureReason.MIRROR_UNREADABLE)) from None
            await asyncio.to_thread(_set_head, staging_dir, head)
    state = await asyncio.to_thread(store.read_state, store.repository_path(root, project_id))
    return state.head, [ref for ref in state.refs if paths.is_storable_ref(ref[0].encode(errors="surrogateescape"))]


@on(MirrorPullRequested, queue=MIRROR, on_failure=fail_task, lane=PULLS)
async def pull_mirror(ctx: WorkerContext, cause: StoredEvent) -> list[NewEvent]:
    """Update a mirror now. Its polling schedule does not change."""
    project_id = cause.data["project_id"]
    try:
        project = await projects.by_id(ctx.db, project_id)
    except NotFound:
        raise PermanentError(FailureReason.PROJECT_MISSING) from None
    lease, failed = ctx.settings.lease, None
    claimed = await mirrors.claim_one(ctx.db, project_id, lease, _pause(ctx, 0), ctx.holder)
    if claimed is None:
        raise RetryLater  # two fetches at once would fail on each other's ref updates
    try:
        async with in_background(_renew_lease(ctx.db, claimed, lease)):
            await _update_mirror(ctx, project, StagedProgress(ctx.progress.report, 99))
    except OutgoingError as error:
        failed = error.failure
    finally:
        await mirrors.release(ctx.db, project_id, claimed["token"])
    await _record_state(ctx, project_id, failed)
    if failed is not None:
        raise PermanentError(FAILURE_REASONS.get(failed, FailureReason.MIRROR_UNREADABLE))
    return [NewEvent(MirrorPulled(project_id=project_id), None)]


async def _record_state(ctx: WorkerContext, project_id: int, failure: str | None) -> None:
    """Record why the mirror could not be updated, or that it could."""
    command = MarkMirror(project_id=project_id, failure=failure and str(failure))
    with suppress(NotFound):
        await execute(ctx.db, FORGE, command, command_id=uuid.uuid4())


async def _fetch(
    ctx: WorkerContext,
    repo_path: Path,
    project_id: int,
    url: str,
    progress: Progress | None = None,
    *,
    config: Mapping[str, str] | None = None,
) -> str:
    """Fetch all branches and tags. Returns the branch that the remote HEAD names, or ''. Raises OutgoingError."""
    assert ctx.proxy is not None  # noqa: S101 - a worker has one
    login = await project_secrets.find(ctx.db, project_id, project_secrets.MIRROR_LOGIN)
    # fsck applies to pushes, so it applies to mirrors too.
    config = {**_auth_config(login), "fetch.fsckObjects": "true", **(config or {})}
    deadline = ctx.settings.git_deadline * TIMEOUT_SHARE
    # All refs are listed although only HEAD is needed: with too many refs this fails before anything is fetched.
    listed = await run_git(
        ctx.proxy, repo_path, "ls-remote", "--symref", "--", url, "HEAD", "refs/heads/*", "refs/tags/*",
        deadline=min(deadline, LISTING_TIMEOUT), config=config,
    )  # fmt: skip
    await run_git(
        ctx.proxy, repo_path, *FETCH, "--", url, *REFSPECS, deadline=deadline, config=config, progress=progress
    )
    found = HEAD.search(listed)
    return found[1].decode(errors="surrogateescape") if found else ""


def _auth_config(login: str | None) -> Mapping[str, str]:
    """The git configuration for a login. It travels in the environment, so that no process list shows it."""
    if not login:
        return {}
    user, _, password = login.partition(":")
    credentials = b64encode(f"{unquote(user)}:{unquote(password)}".encode()).decode()
    return {"http.extraHeader": f"Authorization: Basic {credentials}"}


def _set_head(repo_path: Path, name: str) -> None:
    """Point HEAD at this branch if it exists."""
    if paths.is_valid_branch_name(name):
        with suppress(NoBranch):
            refs.set_head(repo_path, name)


@asynccontextmanager
async def _enter_in_thread(manager: AbstractContextManager[T]) -> AsyncIterator[T]:
    """Enter and leave a blocking context manager in a thread."""
    entered = await asyncio.to_thread(manager.__enter__)
    try:
        yield entered
    except BaseException as error:
        await asyncio.to_thread(manager.__exit__, type(error), error, error.__traceback__)
        raise
    await asyncio.to_thread(manager.__exit__, None, None, None)


async def run_polling(ctx: WorkerContext) -> None:
    """Update mirrors that are due, until cancelled."""
    async with asyncio.TaskGroup() as pollers:
        for _ in range(CONCURRENCY):
            pollers.create_task(_poll_forever(ctx))


async def _poll_forever(ctx: WorkerContext) -> None:
    claimed = None
    while True:
        if claimed is None:
            await asyncio.sleep(POLL_INTERVAL)
        claimed = None
        try:
            await mirrors.add_missing(ctx.db, _pause(ctx, 0))
            claimed = await mirrors.claim(ctx.db, ctx.settings.lease, ctx.holder)
            if claimed is not None:
                await _poll_mirror(ctx, claimed)
        except DB_ERRORS as error:
            # The lease expires, and another worker continues.
            log.warning("mirrors", error=type(error).__name__)
        except Exception:  # a bug must not end the worker; the mirror is retried when its lease ends
            log.exception("mirrors failed")
            claimed = None


async def _poll_mirror(ctx: WorkerContext, claimed: Row) -> None:
    """Update a mirror, record whether that worked, and schedule the next update."""
    project_id, failures, failure = claimed["project_id"], 0, None
    async with in_background(_renew_lease(ctx.db, claimed, ctx.settings.lease)):
        try:
            await _update_mirror(ctx, await projects.by_id(ctx.db, project_id))
        except OutgoingError as error:
            failures, failure = claimed["failures"] + 1, str(error.failure)
        except DB_ERRORS:
            raise
        except Exception as error:
            if not isinstance(error, (NotFound, NoRepository)):  # those mean that the project is being deleted
                log.exception("mirror failed", project=project_id)
            failures, failure = claimed["failures"] + 1, BROKEN
    await _record_state(ctx, project_id, failure)
    await mirrors.reschedule(ctx.db, project_id, claimed["token"], failures=failures, pause=_pause(ctx, failures))
    await ctx.ring()


async def _update_mirror(ctx: WorkerContext, project: Row, progress: Progress | None = None) -> None:
    """Fetch into a mirror and record the refs that moved, also if the fetch failed halfway. Raises OutgoingError."""
    root, project_id = ctx.settings.repositories, project["project_id"]
    repo_path, failed = store.repository_path(root, project_id), None
    async with moving_refs(ctx.db, root, project_id, FORGE):
        await asyncio.to_thread(remove_leftovers, repo_path, ctx.settings.git_deadline)
        await asyncio.to_thread(locks.remove_stale_locks, repo_path)
        try:
            head = await _fetch(ctx, repo_path, project_id, project["mirrored_from"], progress)
            # The project's administrators may have chosen another default branch, which stays while it exists.
            if not await asyncio.to_thread(_has_head, repo_path):
                await asyncio.to_thread(_set_head, repo_path, head)
        except OutgoingError as error:
            failed = error.failure
        await record_refs(ctx.db, root, project_id, FORGE)
    if failed is not None:
        raise OutgoingError(failed)


def _has_head(repo_path: Path) -> bool:
    state = store.read_state(repo_path)
    return any(name == refs.branch_ref(state.head) for name, _, _ in state.refs)


def _pause(ctx: WorkerContext, failures: int) -> float:
    """Seconds until the next update: the polling interval, doubled after each failure in a row up to a day."""
    interval: float = ctx.settings.mirror_interval
    longest = max(interval, MAX_PAUSE)
    return min(interval * 2.0 ** min(failures, 30), longest) * random.SystemRandom().uniform(1 - JITTER, 1 + JITTER)


async def _renew_lease(db: Database, claimed: Row, lease: float) -> None:
    """Renew the lease until cancelled."""
    while True:
        await asyncio.sleep(lease / 3)
        with suppress(*DB_ERRORS):
            await mirrors.renew(db, claimed["project_id"], claimed["token"], lease)
