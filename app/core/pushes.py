"""Recording of moved refs in the log, even if the process dies right after git has finished.

A row in `open_pushes` is written before git starts and removed when the refs on disk are in the log. A row whose lease
has run out belongs to a process that died in between; another process then compares the refs in its place.
"""

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable, Mapping, Set
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.actor import Actor
from app.background import in_background
from app.core import commands, paths
from app.core.access import authorize
from app.core.refs import HEAD, Move, RecordRefs
from app.database import DB_ERRORS, Database
from app.errors import Conflict, NotFound, Refused, Subject
from app.git import store
from app.logs import log
from app.queries import refs
from app.queries.refs import ZEROS
from app.stores import open_pushes

MAX_TRIES = 50
RETRY_PAUSE = 60.0  # seconds until the next attempt to finish a push
RECOVERY_INTERVAL = 5.0  # seconds between searches for abandoned pushes


async def record_refs(
    db: Database,
    root: Path,
    project_id: int,
    actor: Actor,
    *,
    request: str = "",
    only: frozenset[str] | None = None,
    merged: int | None = None,
) -> int:
    """Record the refs on disk, or only those that move together with the ones in `only`. Returns how many had moved.
    `merged` is the number of the pull request whose merge moved them.

    The log is read before the disk: if another process records a ref in between, its version differs, the command is
    refused, and both are read again. So only moves that happened are recorded. Raises NotFound if the project was
    deleted.
    """
    moved = 0
    for _ in range(MAX_TRIES):
        known = await refs.list_known(db, project_id)
        if HEAD not in known:
            raise NotFound(Subject.PROJECT)
        state = await asyncio.to_thread(store.read_state, store.repository_path(root, project_id))
        there = {ref: (target, commit) for ref, target, commit in state.refs} | {HEAD: (state.head, "")}
        names = known.keys() | there.keys()
        moves = find_moves(known, there, names if only is None else names & state.together(only))
        if not moves:
            return moved
        command = RecordRefs(project_id=project_id, moves=moves, pull_request=merged)
        with suppress(Conflict):
            outcome = await commands.execute(db, actor, command, command_id=uuid.uuid4(), request=request)
            moved += len(outcome.recorded)
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

    `action` is the declared action of the route, `lease` is in seconds, `ring` wakes the relay.
    """

    db: Database
    root: Path
    actor: Actor
    action: str
    project: Mapping[str, Any]
    lease: float
    request: str
    ring: Callable[[], None]

    @property
    def repo_path(self) -> Path:
        return store.repository_path(self.root, self.project["project_id"])


@asynccontextmanager
async def recording_moves(writer: RefWriter, names: frozenset[str]) -> AsyncIterator[None]:
    """Record in the log the refs of these names that move in the block.

    Other refs are recorded by the operations that move them.
    """
    authorize(writer.actor, writer.action, writer.project)
    project_id = writer.project["project_id"]
    async with open_push(writer.db, project_id, writer.actor, writer.lease):
        yield
        await record_refs(writer.db, writer.root, project_id, writer.actor, request=writer.request, only=names)
    writer.ring()


@asynccontextmanager
async def open_push(db: Database, project_id: int, actor: Actor, lease: float) -> AsyncIterator[None]:
    """Keep a row under a lease while refs may move in the block. It stays if the block fails: then another process
    compares the refs.
    """
    push_id = uuid.uuid4()
    await open_pushes.begin(db, push_id, project_id, actor.username, lease)

    async def renew() -> None:
        while True:
            await asyncio.sleep(lease / 3)
            with suppress(*DB_ERRORS):
                await open_pushes.renew(db, push_id, lease)

    async with in_background(renew()):
        yield
    await open_pushes.end(db, push_id)


async def finish_abandoned(db: Database, root: Path) -> int:
    """Record the refs of every push whose process has died. Returns the number of these pushes."""
    rows = await open_pushes.list_abandoned(db)
    for row in rows:
        try:
            await _finish(db, root, row["push_id"], row["project_id"], Actor(row["actor"]))
        except (*DB_ERRORS, *store.STORAGE_ERRORS, Refused) as error:
            # A damaged repository must not block the others.
            log.warning("reconcile", project=row["project_id"], error=type(error).__name__)
            await open_pushes.postpone(db, row["push_id"], RETRY_PAUSE)
    return len(rows)


async def _finish(db: Database, root: Path, push_id: uuid.UUID, project_id: int, actor: Actor) -> None:
    with suppress(NotFound):
        if await asyncio.to_thread(store.repository_path(root, project_id).exists):
            moved = await record_refs(db, root, project_id, actor)
            log.info("reconciled", project=project_id, moved=moved)
    await open_pushes.end(db, push_id)


async def recover_abandoned(db: Database, root: Path) -> None:
    """Finish abandoned pushes, until cancelled."""
    while True:
        try:
            await finish_abandoned(db, root)
        except DB_ERRORS as error:
            log.warning("reconcile", error=type(error).__name__)
        await asyncio.sleep(RECOVERY_INTERVAL)
