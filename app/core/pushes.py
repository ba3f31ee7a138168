"""Moving refs and recording that in the log, even if the process dies in between.

Whoever moves refs of a repository holds its lock (app/git/locks.py) until the moves are in the log, so each move is an
event of its own and the events are in the order of the moves. A row in `open_pushes` is written before the first ref
moves and deleted with the last event. A row whose repository is not locked belongs to a process that has ended: the
next one that takes the lock records what that process has moved, before it moves anything itself.
"""

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable, Mapping, Sequence, Set
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

from app.actor import Actor
from app.background import growing_pause, repeat
from app.core import commands, paths
from app.core.access import authorize
from app.core.refs import HEAD, Move, RecordRefs
from app.database import Database, Row, is_unavailable
from app.errors import Conflict, NotFound, Subject
from app.git import durability, store
from app.git import refs as git_refs
from app.git.errors import NoRepository, TimedOut
from app.git.locks import RefLock, attempt_pauses
from app.git.ref_changes import Fault, RefChange, apply_changes
from app.logs import log
from app.points import Point, reach
from app.queries import projects, refs
from app.queries.refs import ZEROS
from app.stores import open_pushes
from app.stores.idempotency_keys import HeldKey, has_outcome

MAX_TRIES = 50
RECOVERY_INTERVAL = 1.0  # seconds between searches for abandoned pushes
_turns: WeakValueDictionary[int, asyncio.Lock] = WeakValueDictionary()


async def record_refs(
    db: Database,
    root: Path,
    project_id: int,
    actor: Actor,
    *,
    request: str = "",
    only: frozenset[str] | None = None,
    merged: int | None = None,
    options: tuple[str, ...] = (),
    key: HeldKey | None = None,
) -> int:
    """Record the refs on disk, or only those that move together with the ones in `only`. Returns how many had moved.
    `merged` is the number of the pull request whose merge moved them, `options` are the push options, and `key` is the
    idempotency key of the request.

    The log is read before the disk: if another process records a ref in between, its version differs, the command is
    refused, and both are read again. So only moves that happened are recorded, and only once they are on disk. Raises
    NotFound if the project was deleted.
    """
    moved, repo_path = 0, store.repository_path(root, project_id)
    for _ in range(MAX_TRIES):
        known = await refs.list_known(db, project_id)
        if HEAD not in known:
            raise NotFound(Subject.PROJECT)
        state = await asyncio.to_thread(store.read_state, repo_path)
        there = {ref: (target, commit) for ref, target, commit in state.refs} | {HEAD: (state.head, "")}
        names = known.keys() | there.keys()
        moves = find_moves(known, there, names if only is None else names & state.together(only))
        if not moves:
            return moved
        await asyncio.to_thread(durability.sync_changes, repo_path, [move.ref for move in moves])
        command = RecordRefs(project_id=project_id, moves=moves, pull_request=merged, options=list(options))
        try:
            command_id = key.command_id if key is not None else uuid.uuid4()
            outcome = await commands.execute(db, actor, command, command_id=command_id, request=request, key=key)
            moved, key = moved + len(outcome.recorded), None
        except Conflict as no:
            if no.subject is Subject.COMMAND_REPEATED:  # the process that has died recorded a part
                key = None
    raise Conflict(Subject.REFS)


def find_moves(
    known: Mapping[str, tuple[str, int]], there: Mapping[str, tuple[str, str]], names: Set[str]
) -> list[Move]:
    """Return the moves that bring the log in line with the disk."""
    moves = []
    for ref in sorted(names):
        old, version = known.get(ref, (ZEROS, 0))
        new, commit = there.get(ref, (ZEROS, ZEROS))
        if old == new:
            continue
        if paths.is_storable_ref(ref.encode(errors="surrogateescape")):
            moves.append(Move(ref, old, new, commit, version + 1))
        else:
            log.warning("unstorable ref", length=len(ref))
    return moves


@dataclass(frozen=True)
class RefWriter:
    """An actor who is about to move refs of a project.

    `action` is the declared action of the route, `ring` wakes the relay, `key` is the idempotency key that the request
    holds.
    """

    db: Database
    root: Path
    actor: Actor
    action: str
    project: Mapping[str, Any]
    request: str
    ring: Callable[[], None]
    key: HeldKey | None = None

    @property
    def repo_path(self) -> Path:
        return store.repository_path(self.root, self.project["project_id"])

    async def was_done_before(self) -> bool:
        """Whether an earlier attempt of the request has moved the refs; its moves are recorded first if it has died."""
        if self.key is None:
            return False
        await finish_open(self.db, self.root, self.project["project_id"])
        return await has_outcome(self.db, self.key.command_id)


@asynccontextmanager
async def recording_moves(
    writer: RefWriter, names: frozenset[str], options: tuple[str, ...] = ()
) -> AsyncIterator[None]:
    """Record in the log the refs of these names that move in the block.

    Raises Forbidden, NotFound, and Conflict if the repository stays locked by another process.
    """
    authorize(writer.actor, writer.action, writer.project)
    project_id = writer.project["project_id"]
    async with moving_refs(writer.db, writer.root, project_id, writer.actor, key=writer.key):
        yield
        reach(Point.REFS_MOVED)
        await record_refs(
            writer.db,
            writer.root,
            project_id,
            writer.actor,
            request=writer.request,
            only=names,
            options=options,
            key=writer.key,
        )
    writer.ring()


async def move_refs(
    writer: RefWriter, changes: Sequence[RefChange], *, atomic: bool = False, options: tuple[str, ...] = ()
) -> dict[str, Fault]:
    """Make the changes of a push and record them; return why some refs were not changed. The rights on the project are
    read again, since a push can take long.

    A project without a default branch gets the first branch that is pushed to it. Raises as `recording_moves` does.
    """
    writer = replace(writer, project=await projects.by_id(writer.db, writer.project["project_id"]))
    if not changes:
        return {}
    async with recording_moves(writer, frozenset([HEAD, *(change.ref for change in changes)]), options):
        return await asyncio.to_thread(_change_refs, writer.repo_path, changes, atomic)


def _change_refs(repo_path: Path, changes: Sequence[RefChange], atomic: bool) -> dict[str, Fault]:
    faults = apply_changes(repo_path, changes, atomic=atomic)
    created = [each.ref for each in changes if each.old == ZEROS != each.new and each.ref not in faults]
    git_refs.adopt_head(repo_path, created)
    return faults


@asynccontextmanager
async def moving_refs(
    db: Database,
    root: Path,
    project_id: int,
    actor: Actor,
    *,
    merged: int | None = None,
    key: HeldKey | None = None,
) -> AsyncIterator[None]:
    """Hold the lock of the project's refs, and a row in `open_pushes`, while refs move and are recorded in the block.
    `merged` is the number of the pull request whose merge moves them, `key` the idempotency key of the request.

    The row stays if the block fails. Its id is that of the command that will record the moves, so that the reply to a
    request that dies can be rendered later. Raises NotFound, and Conflict if another process keeps the lock.
    """
    async with _lock_refs(root, project_id):
        reach(Point.REFS_LOCKED)
        push_id = key.command_id if key is not None else uuid.uuid4()
        left = await open_pushes.begin(db, push_id, project_id, actor.username, merged)
        for row in left:
            await _finish(db, root, row)
        if push_id in [row["push_id"] for row in left]:
            await open_pushes.begin(db, push_id, project_id, actor.username, merged)
        reach(Point.REFS_OPENED)
        yield
        reach(Point.REFS_RECORDED)
        await open_pushes.end(db, push_id)
        reach(Point.REFS_CLOSED)


@asynccontextmanager
async def _lock_refs(root: Path, project_id: int) -> AsyncIterator[None]:
    try:
        lock = await asyncio.to_thread(RefLock, store.repository_path(root, project_id))
    except NoRepository:
        raise NotFound(Subject.PROJECT) from None
    # The requests of this process take turns here, in their order; only the first one tries to get the lock.
    with lock:
        async with _turns.setdefault(project_id, asyncio.Lock()):
            pauses = attempt_pauses()
            while not lock.try_acquire():
                try:
                    await asyncio.sleep(next(pauses))
                except TimedOut:
                    raise Conflict(Subject.REFS) from None
            with lock.hold():
                yield


async def finish_open(db: Database, root: Path, project_id: int) -> None:
    """Wait until the moves of all open pushes of a project are in the log, and record those of processes that ended."""
    if await open_pushes.list_of_project(db, project_id):
        async with _lock_refs(root, project_id):
            for row in await open_pushes.list_of_project(db, project_id):
                await _finish(db, root, row)


async def _finish(db: Database, root: Path, row: Row) -> None:
    """Record the moves of a process that has ended, under the lock of the project's refs."""
    project_id = row["project_id"]
    reach(Point.REFS_FINISHING)
    with suppress(NotFound):
        key = HeldKey(row["push_id"])
        moved = await record_refs(db, root, project_id, Actor(row["actor"]), merged=row["pull_request"], key=key)
        log.info("reconciled", project=project_id, moved=moved)
    await open_pushes.end(db, row["push_id"])


async def finish_abandoned(db: Database, root: Path) -> int:
    """Record the moves of every process that has ended before it could. Returns the number of rows finished.

    An error of one row postpones that row alone.
    """
    finished = 0
    for row in await open_pushes.list_due(db):
        try:
            finished += await _finish_if_unlocked(db, root, row)
        except Exception as error:
            if is_unavailable(error):
                raise
            log.exception("reconciling failed", project=row["project_id"], push=str(row["push_id"]))
            await open_pushes.postpone(db, row["push_id"], growing_pause(row["failures"]))
    return finished


async def _finish_if_unlocked(db: Database, root: Path, row: Row) -> bool:
    try:
        lock = await asyncio.to_thread(RefLock, store.repository_path(root, row["project_id"]))
    except NoRepository:  # the project was deleted
        await open_pushes.end(db, row["push_id"])
        return True
    with lock:
        if not lock.try_acquire():
            return False
        with lock.hold():
            await _finish(db, root, row)
        return True


async def recover_abandoned(db: Database, root: Path) -> None:
    """Finish abandoned pushes, until cancelled."""
    await repeat("reconcile", partial(finish_abandoned, db, root), RECOVERY_INTERVAL)
