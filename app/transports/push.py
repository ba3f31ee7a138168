"""A push becomes part of the log: also when this process dies right after git has finished.

A row in `open_pushes` is written before git starts and removed when the refs on disk are in the log. A row whose
lease has run out belongs to a process that died in between; anybody then looks at the refs in its stead.
"""

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from app.core import commands
from app.core.access import Actor
from app.core.refs import RecordRefs
from app.database import TROUBLE, Database
from app.errors import NotFound
from app.git import store
from app.logs import log

LOOK = 5.0  # seconds between looks for pushes that nobody finished


async def record_refs(db: Database, root: Path, project_id: int, actor: Actor, request: str = "") -> int:
    """Bring the log up to the refs on disk; how many had moved. Two at once end in agreement: each looks again."""
    moved = 0
    while True:
        found = await asyncio.to_thread(store.refs, store.directory(root, project_id))
        wish = RecordRefs(project_id=project_id, found=[list(ref) for ref in found])
        outcome = await commands.execute(db, actor, wish, command_id=uuid.uuid4(), request=request)
        if not outcome.recorded:
            return moved
        moved += len(outcome.recorded)


@asynccontextmanager
async def open_push(db: Database, project_id: int, actor: Actor, lease: float) -> AsyncIterator[None]:
    """Remember that refs may move. The row stays if the block fails: then somebody looks again."""
    push_id = uuid.uuid4()
    await db.execute(
        "insert into open_pushes values ($1, $2, $3, now() + make_interval(secs => $4))",
        push_id,
        project_id,
        actor.username,
        lease,
    )

    async def renew() -> None:
        while True:
            await asyncio.sleep(lease / 3)
            with suppress(*TROUBLE):
                await db.execute(
                    "update open_pushes set lease_until = now() + make_interval(secs => $2) where push_id = $1",
                    push_id,
                    lease,
                )

    heartbeat = asyncio.create_task(renew())
    try:
        yield
    finally:
        heartbeat.cancel()
        with suppress(asyncio.CancelledError):
            await heartbeat
    await db.execute("delete from open_pushes where push_id = $1", push_id)


async def finish_abandoned(db: Database, root: Path) -> int:
    """Look at the refs of every push whose process has died."""
    rows = await db.fetch("select push_id, project_id, actor from open_pushes where lease_until < now()")
    for row in rows:
        try:
            await _finish(db, root, row["push_id"], row["project_id"], Actor(row["actor"]))
        except TROUBLE as trouble:  # its row stays, and the others have their turn
            log.warning("reconcile", project=row["project_id"], trouble=type(trouble).__name__)
    return len(rows)


async def _finish(db: Database, root: Path, push_id: uuid.UUID, project_id: int, actor: Actor) -> None:
    with suppress(NotFound):
        if await asyncio.to_thread(store.directory(root, project_id).exists):
            moved = await record_refs(db, root, project_id, actor)
            log.info("reconciled", project=project_id, moved=moved)
    await db.execute("delete from open_pushes where push_id = $1", push_id)


async def keep_finishing(db: Database, root: Path) -> None:
    """Until cancelled."""
    while True:
        try:
            await finish_abandoned(db, root)
        except TROUBLE as trouble:
            log.warning("reconcile", trouble=type(trouble).__name__)
        await asyncio.sleep(LOOK)
