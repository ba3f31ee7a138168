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

from app.beside import beside
from app.core import paths, project_secrets
from app.core.access import Actor
from app.core.commands import execute
from app.core.mirrors import MarkMirror
from app.core.pushes import open_push, record_refs
from app.database import TROUBLE, Database, Row
from app.errors import NotFound
from app.git import refs, store
from app.git.errors import NoBranch, NoRepository
from app.git.process import Progress
from app.logs import log
from app.outgoing.failures import Failed, Failure
from app.outgoing.git import git
from app.queries import mirrors, projects
from events.event import Fact
from events.projects import ProjectCreated
from events.record import Next
from events.repositories import MirrorPulled, MirrorPullRequested
from workers.course import Course
from workers.pull_requests import refuse
from workers.reactions import MIRROR, GiveUp, Hands, NotYet, Unwanted, on

T = TypeVar("T")
FORGE = Actor("forge")
SHARE = 0.9  # of the time that a worker has: a fetch that takes too long is to end by itself
MAKING = "create-repository"
LISTING = 60.0  # seconds until the other side has said which refs it has
REFSPECS = ("+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*")
FETCH = (
    *("fetch", "--progress", "--prune", "--no-tags", "--no-write-fetch-head", "--no-auto-maintenance"),
    "--no-recurse-submodules",
)
HEAD = re.compile(rb"^ref: refs/heads/(\S+)\tHEAD$", re.MULTILINE)
BROKEN = "broken"  # nothing elsewhere is to blame
# The sweep rings for it there. Its attempts, which are the fencing token, go on.
HAND_OVER = """
    update work
    set    queue = $3, lease_until = null, due_at = now() - interval '2 seconds'
    where  position = $1 and reaction = $2 and queue <> $3 and done_at is null
    returning 1
"""
LOOK = 5.0  # seconds between looks for mirrors that are due
AT_ONCE = 2
JITTER = 0.2
LONGEST_PAUSE = 86_400.0
SORRY = "The repository that was to be mirrored could not be read."
SENTENCES = {
    Failure.REFUSED: "This forge does not connect to where the repository that was to be mirrored is.",
    Failure.UNRESOLVED: "The host of the repository that was to be mirrored has no address.",
    Failure.UNREACHABLE: "The host of the repository that was to be mirrored takes no connection.",
    Failure.TIMEOUT: "The repository that was to be mirrored did not come in time.",
    Failure.TLS: "The host of the repository that was to be mirrored has no certificate that is trusted here.",
    Failure.RESET: "The host of the repository that was to be mirrored ended the connection.",
    Failure.TOO_LARGE: "The repository that was to be mirrored is too large.",
}


async def make(hands: Hands, cause: Fact, project: ProjectCreated) -> tuple[str, list[store.Ref]]:
    """A new mirror's repository; its HEAD and refs. It takes no place from those who wait for what is made here."""
    if await hands.db.fetchval(HAND_OVER, cause.position, MAKING, MIRROR):
        raise Unwanted
    root, project_id = hands.settings.repositories, project.project_id
    making = store.bench(root, project_id, cause=cause.id, head=project.default_branch)
    async with _in_threads(making) as bench:
        if bench is not None:
            try:
                head = await _fetch(
                    hands, bench, project_id, str(project.mirrored_from), Course(hands.progress.say, 99)
                )
            except Failed as failed:
                raise GiveUp(SENTENCES.get(failed.failure, SORRY)) from None
            await asyncio.to_thread(_set_head, bench, head)
    state = await asyncio.to_thread(store.look, store.directory(root, project_id))
    return state.head, [ref for ref in state.refs if paths.storable_ref(ref[0].encode(errors="surrogateescape"))]


@on(MirrorPullRequested, queue=MIRROR, surrender=refuse)
async def pull_mirror(hands: Hands, cause: Fact) -> list[Next]:
    """Now, whenever its time would have come; that stays as it is."""
    project_id = cause.data["project_id"]
    try:
        project = await projects.by_id(hands.db, project_id)
    except NotFound:
        raise GiveUp("The project is gone.") from None
    lease, failed = hands.settings.lease, None
    claimed = await mirrors.claim_one(hands.db, project_id, lease, _pause(hands, 0))
    if claimed is None:
        raise NotYet  # two fetches at once would each call the other's refs a failure
    try:
        async with beside(_hold(hands.db, claimed, lease)):
            await _bring(hands, project, Course(hands.progress.say, 99))
    except Failed as no:
        failed = no.failure
    finally:
        await mirrors.release(hands.db, project_id, claimed["token"])
    await _mark(hands, project_id, failed)
    if failed is not None:
        raise GiveUp(SENTENCES.get(failed, SORRY))
    return [Next(MirrorPulled(project_id=project_id), None)]


async def _mark(hands: Hands, project_id: int, failure: str | None) -> None:
    wish = MarkMirror(project_id=project_id, failure=failure and str(failure))
    with suppress(NotFound):
        await execute(hands.db, FORGE, wish, command_id=uuid.uuid4())


async def _fetch(hands: Hands, place: Path, project_id: int, url: str, progress: Progress | None = None) -> str:
    """Bring branches and tags to where they are elsewhere; the branch that HEAD names there, or ''. Raises Failed."""
    assert hands.proxy is not None  # noqa: S101 - a worker has one
    login = await project_secrets.find(hands.db, project_id, project_secrets.MIRROR_LOGIN)
    # What a push may not bring, a mirror does not.
    config, deadline = {**_authorized(login), "fetch.fsckObjects": "true"}, hands.settings.git_deadline * SHARE
    # All refs are listed, though one is of interest: if they are too many, none of them comes here.
    listed = await git(
        hands.proxy, place, "ls-remote", "--symref", "--", url, "HEAD", "refs/heads/*", "refs/tags/*",
        deadline=min(deadline, LISTING), config=config,
    )  # fmt: skip
    await git(hands.proxy, place, *FETCH, "--", url, *REFSPECS, deadline=deadline, config=config, progress=progress)
    found = HEAD.search(listed)
    return found[1].decode(errors="surrogateescape") if found else ""


def _authorized(login: str | None) -> Mapping[str, str]:
    """What git sends along; it gets its configuration in the environment, so no list of processes shows it."""
    if not login:
        return {}
    user, _, password = login.partition(":")
    told = b64encode(f"{unquote(user)}:{unquote(password)}".encode()).decode()
    return {"http.extraHeader": f"Authorization: Basic {told}"}


def _set_head(place: Path, name: str) -> None:
    """If there is such a branch."""
    if paths.branch_name(name):
        with suppress(NoBranch):
            refs.set_head(place, name)


@asynccontextmanager
async def _in_threads(manager: AbstractContextManager[T]) -> AsyncIterator[T]:
    """The block of a manager that touches the disk, which is entered and left beside the loop."""
    made = await asyncio.to_thread(manager.__enter__)
    try:
        yield made
    except BaseException as error:
        await asyncio.to_thread(manager.__exit__, type(error), error, error.__traceback__)
        raise
    await asyncio.to_thread(manager.__exit__, None, None, None)


async def follow(hands: Hands) -> None:
    """Look at mirrors that are due, until cancelled."""
    async with asyncio.TaskGroup() as places:
        for _ in range(AT_ONCE):
            places.create_task(_attend(hands))


async def _attend(hands: Hands) -> None:
    claimed = None
    while True:
        if claimed is None:
            await asyncio.sleep(LOOK)
        claimed = None
        try:
            await mirrors.begin(hands.db, _pause(hands, 0))
            claimed = await mirrors.claim(hands.db, hands.settings.lease)
            if claimed is not None:
                await _look(hands, claimed)
        except TROUBLE as trouble:
            # The lease runs out, and somebody goes on.
            log.warning("mirrors", trouble=type(trouble).__name__)
        except Exception:  # one mirror's mistake ends no worker: it is logged, and tried again when its lease ends
            log.exception("mirrors failed")
            claimed = None


async def _look(hands: Hands, claimed: Row) -> None:
    """Bring a mirror up to date, tell if that has become impossible or possible, and say when it is due again."""
    project_id, failures, failure = claimed["project_id"], 0, None
    async with beside(_hold(hands.db, claimed, hands.settings.lease)):
        try:
            await _bring(hands, await projects.by_id(hands.db, project_id))
        except Failed as failed:
            failures, failure = claimed["failures"] + 1, str(failed.failure)
        except TROUBLE:
            raise
        except Exception as error:
            if not isinstance(error, (NotFound, NoRepository)):  # deleted, or about to be
                log.exception("mirror failed", project=project_id)
            failures, failure = claimed["failures"] + 1, BROKEN
    await _mark(hands, project_id, failure)
    await mirrors.settle(hands.db, project_id, claimed["token"], failures=failures, pause=_pause(hands, failures))
    await hands.ring()


async def _bring(hands: Hands, project: Row, progress: Progress | None = None) -> None:
    """What was moved before a failure has moved, so the log hears of it in either case. Raises Failed."""
    root, project_id = hands.settings.repositories, project["project_id"]
    place, failed = store.directory(root, project_id), None
    async with open_push(hands.db, project_id, FORGE, hands.settings.lease):
        await asyncio.to_thread(store.sweep, place, hands.settings.git_deadline)
        try:
            head = await _fetch(hands, place, project_id, project["mirrored_from"], progress)
            # Its administrators may have chosen another default branch, which stays as long as it is there.
            if not await asyncio.to_thread(_has_head, place):
                await asyncio.to_thread(_set_head, place, head)
        except Failed as no:
            failed = no.failure
        await record_refs(hands.db, root, project_id, FORGE)
    if failed is not None:
        raise Failed(failed)


def _has_head(place: Path) -> bool:
    state = store.look(place)
    return any(name == refs.branch(state.head) for name, _, _ in state.refs)


def _pause(hands: Hands, failures: int) -> float:
    """Seconds: longer after each failure in a row, up to a day."""
    usual: float = hands.settings.mirror_interval
    longest = max(usual, LONGEST_PAUSE)
    return min(usual * 2.0 ** min(failures, 30), longest) * random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311


async def _hold(db: Database, claimed: Row, lease: float) -> None:
    """Keep the lease alive, until cancelled."""
    while True:
        await asyncio.sleep(lease / 3)
        with suppress(*TROUBLE):
            await mirrors.renew(db, claimed["project_id"], claimed["token"], lease)
