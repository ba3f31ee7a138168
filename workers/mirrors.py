"""Mirrors of repositories elsewhere: made like any repository, then looked at again and again.

Postgres knows when each is due and who is at it. What is elsewhere is reached through the guarded git alone, and of
what it says nothing is kept but a class of failure.
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
from app.core.pushes import open_push, record_refs
from app.database import DB_ERRORS, Database, Row
from app.errors import NotFound
from app.git import refs, store
from app.git.errors import NoBranch, NoRepository
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
from workers.pull_requests import fail_task
from workers.reactions import MIRROR, LeaseLost, PermanentError, RetryLater, WorkerContext, on

T = TypeVar("T")
FORGE = Actor("forge")
TIMEOUT_SHARE = 0.9  # of the time that a worker has: a fetch that takes too long is to end by itself
CREATE_REACTION = "create-repository"
LISTING_TIMEOUT = 60.0  # seconds until the other side has said which refs it has
REFSPECS = ("+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*")
FETCH = (
    *("fetch", "--progress", "--prune", "--no-tags", "--no-write-fetch-head", "--no-auto-maintenance"),
    "--no-recurse-submodules",
)
HEAD = re.compile(rb"^ref: refs/heads/(\S+)\tHEAD$", re.MULTILINE)
BROKEN = "broken"  # nothing elsewhere is to blame
POLL_INTERVAL = 5.0  # seconds between looks for mirrors that are due
CONCURRENCY = 2
JITTER = 0.2
MAX_PAUSE = 86_400.0
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
    """A new mirror's repository; its HEAD and refs. It takes no place from those who wait for what is made here."""
    if await work.hand_over(ctx.db, cause.position, CREATE_REACTION, MIRROR):
        raise LeaseLost
    root, project_id = ctx.settings.repositories, project.project_id
    making = store.staging_dir(root, project_id, cause=cause.id, head=project.default_branch)
    async with _enter_in_thread(making) as staging_dir:
        if staging_dir is not None:
            try:
                head = await _fetch(
                    ctx, staging_dir, project_id, str(project.mirrored_from), StagedProgress(ctx.progress.say, 99)
                )
            except OutgoingError as failed:
                raise PermanentError(FAILURE_REASONS.get(failed.failure, FailureReason.MIRROR_UNREADABLE)) from None
            await asyncio.to_thread(_set_head, staging_dir, head)
    state = await asyncio.to_thread(store.read_state, store.repository_path(root, project_id))
    return state.head, [ref for ref in state.refs if paths.is_storable_ref(ref[0].encode(errors="surrogateescape"))]


@on(MirrorPullRequested, queue=MIRROR, on_failure=fail_task)
async def pull_mirror(ctx: WorkerContext, cause: StoredEvent) -> list[NewEvent]:
    """Now, whenever its time would have come; that stays as it is."""
    project_id = cause.data["project_id"]
    try:
        project = await projects.by_id(ctx.db, project_id)
    except NotFound:
        raise PermanentError(FailureReason.PROJECT_MISSING) from None
    lease, failed = ctx.settings.lease, None
    claimed = await mirrors.claim_one(ctx.db, project_id, lease, _pause(ctx, 0))
    if claimed is None:
        raise RetryLater  # two fetches at once would each call the other's refs a failure
    try:
        async with in_background(_renew_lease(ctx.db, claimed, lease)):
            await _update_mirror(ctx, project, StagedProgress(ctx.progress.say, 99))
    except OutgoingError as no:
        failed = no.failure
    finally:
        await mirrors.release(ctx.db, project_id, claimed["token"])
    await _mark(ctx, project_id, failed)
    if failed is not None:
        raise PermanentError(FAILURE_REASONS.get(failed, FailureReason.MIRROR_UNREADABLE))
    return [NewEvent(MirrorPulled(project_id=project_id), None)]


async def _mark(ctx: WorkerContext, project_id: int, failure: str | None) -> None:
    command = MarkMirror(project_id=project_id, failure=failure and str(failure))
    with suppress(NotFound):
        await execute(ctx.db, FORGE, command, command_id=uuid.uuid4())


async def _fetch(
    ctx: WorkerContext, repo_path: Path, project_id: int, url: str, progress: Progress | None = None
) -> str:
    """Bring branches and tags to where they are elsewhere; the branch that HEAD names there, or ''. Raises Failed."""
    assert ctx.proxy is not None  # noqa: S101 - a worker has one
    login = await project_secrets.find(ctx.db, project_id, project_secrets.MIRROR_LOGIN)
    # What a push may not bring, a mirror does not.
    config, deadline = {**_auth_config(login), "fetch.fsckObjects": "true"}, ctx.settings.git_deadline * TIMEOUT_SHARE
    # All refs are listed, though one is of interest: if they are too many, none of them comes here.
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
    """What git sends along; it gets its configuration in the environment, so no list of processes shows it."""
    if not login:
        return {}
    user, _, password = login.partition(":")
    told = b64encode(f"{unquote(user)}:{unquote(password)}".encode()).decode()
    return {"http.extraHeader": f"Authorization: Basic {told}"}


def _set_head(repo_path: Path, name: str) -> None:
    """If there is such a branch."""
    if paths.is_valid_branch_name(name):
        with suppress(NoBranch):
            refs.set_head(repo_path, name)


@asynccontextmanager
async def _enter_in_thread(manager: AbstractContextManager[T]) -> AsyncIterator[T]:
    """The block of a manager that touches the disk, which is entered and left beside the loop."""
    made = await asyncio.to_thread(manager.__enter__)
    try:
        yield made
    except BaseException as error:
        await asyncio.to_thread(manager.__exit__, type(error), error, error.__traceback__)
        raise
    await asyncio.to_thread(manager.__exit__, None, None, None)


async def run_polling(ctx: WorkerContext) -> None:
    """Look at mirrors that are due, until cancelled."""
    async with asyncio.TaskGroup() as places:
        for _ in range(CONCURRENCY):
            places.create_task(_poll_forever(ctx))


async def _poll_forever(ctx: WorkerContext) -> None:
    claimed = None
    while True:
        if claimed is None:
            await asyncio.sleep(POLL_INTERVAL)
        claimed = None
        try:
            await mirrors.add_missing(ctx.db, _pause(ctx, 0))
            claimed = await mirrors.claim(ctx.db, ctx.settings.lease)
            if claimed is not None:
                await _poll_mirror(ctx, claimed)
        except DB_ERRORS as error:
            # The lease runs out, and somebody goes on.
            log.warning("mirrors", error=type(error).__name__)
        except Exception:  # one mirror's mistake ends no worker: it is logged, and tried again when its lease ends
            log.exception("mirrors failed")
            claimed = None


async def _poll_mirror(ctx: WorkerContext, claimed: Row) -> None:
    """Bring a mirror up to date, tell if that has become impossible or possible, and say when it is due again."""
    project_id, failures, failure = claimed["project_id"], 0, None
    async with in_background(_renew_lease(ctx.db, claimed, ctx.settings.lease)):
        try:
            await _update_mirror(ctx, await projects.by_id(ctx.db, project_id))
        except OutgoingError as failed:
            failures, failure = claimed["failures"] + 1, str(failed.failure)
        except DB_ERRORS:
            raise
        except Exception as error:
            if not isinstance(error, (NotFound, NoRepository)):  # deleted, or about to be
                log.exception("mirror failed", project=project_id)
            failures, failure = claimed["failures"] + 1, BROKEN
    await _mark(ctx, project_id, failure)
    await mirrors.reschedule(ctx.db, project_id, claimed["token"], failures=failures, pause=_pause(ctx, failures))
    await ctx.ring()


async def _update_mirror(ctx: WorkerContext, project: Row, progress: Progress | None = None) -> None:
    """What was moved before a failure has moved, so the log hears of it in either case. Raises Failed."""
    root, project_id = ctx.settings.repositories, project["project_id"]
    repo_path, failed = store.repository_path(root, project_id), None
    async with open_push(ctx.db, project_id, FORGE, ctx.settings.lease):
        await asyncio.to_thread(store.remove_stale_files, repo_path, ctx.settings.git_deadline)
        try:
            head = await _fetch(ctx, repo_path, project_id, project["mirrored_from"], progress)
            # Its administrators may have chosen another default branch, which stays as long as it is there.
            if not await asyncio.to_thread(_has_head, repo_path):
                await asyncio.to_thread(_set_head, repo_path, head)
        except OutgoingError as no:
            failed = no.failure
        await record_refs(ctx.db, root, project_id, FORGE)
    if failed is not None:
        raise OutgoingError(failed)


def _has_head(repo_path: Path) -> bool:
    state = store.read_state(repo_path)
    return any(name == refs.branch_ref(state.head) for name, _, _ in state.refs)


def _pause(ctx: WorkerContext, failures: int) -> float:
    """Seconds: longer after each failure in a row, up to a day."""
    usual: float = ctx.settings.mirror_interval
    longest = max(usual, MAX_PAUSE)
    return min(usual * 2.0 ** min(failures, 30), longest) * random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311


async def _renew_lease(db: Database, claimed: Row, lease: float) -> None:
    """Keep the lease alive, until cancelled."""
    while True:
        await asyncio.sleep(lease / 3)
        with suppress(*DB_ERRORS):
            await mirrors.renew(db, claimed["project_id"], claimed["token"], lease)
