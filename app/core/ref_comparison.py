"""Comparing the refs on disk with those in the log, and recording in the log what differs.

The two are the same whenever no push is in progress. They differ if one of them was restored from a backup, if refs
were changed with git in the directory, or because of a bug.
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from app.actor import Actor
from app.core import paths
from app.core.pushes import moving_refs, record_refs
from app.database import Database, is_unavailable
from app.errors import Conflict, NotFound
from app.git import store
from app.git.fingerprints import fingerprint_refs
from app.logs import log
from app.queries import projects, refs
from app.stores import ref_fingerprints
from app.stores.ref_fingerprints import Fingerprints

FORGE = Actor("forge")
RECHECKS, RECHECK_PAUSE = 3, 0.5  # how often, and after how many seconds, a difference that a push may explain is seen
BATCH_SIZE = 200  # projects whose fingerprints are read at once


@dataclass(frozen=True)
class Difference:
    """A project whose refs differ. `fault` says why its repository cannot be read, if that is so."""

    project_id: int
    fault: str = ""

    @property
    def mendable(self) -> bool:
        return not self.fault


async def find_differences(db: Database, root: Path) -> AsyncIterator[Difference]:
    """Compare all projects."""
    for project_id in await projects.list_ids(db):
        if (found := await compare(db, root, project_id)) is not None:
            yield found


async def compare(db: Database, root: Path, project_id: int) -> Difference | None:
    """Return the difference of a project that stays for a moment, so that it is no push which is under way."""
    found = await _compare_once(db, root, project_id)
    for _ in range(RECHECKS):
        if found is None or found.fault:
            return found
        await asyncio.sleep(RECHECK_PAUSE)
        found = await _compare_once(db, root, project_id)
    return found


async def _compare_once(db: Database, root: Path, project_id: int) -> Difference | None:
    known = await refs.list_known(db, project_id)
    if not known:
        return None  # it was deleted meanwhile
    repo_path = store.repository_path(root, project_id)
    if not await asyncio.to_thread(repo_path.exists):
        deleted = not await refs.list_known(db, project_id)
        return None if deleted else Difference(project_id, "no directory")
    try:
        state = await asyncio.to_thread(store.read_state, repo_path)
    except store.STORAGE_ERRORS as error:
        return Difference(project_id, f"unreadable: {type(error).__name__}")
    there = {ref: target for ref, target, _ in state.refs if _is_storable(ref)}
    logged = {ref: target for ref, (target, _) in known.items() if target != refs.ZEROS}
    return None if {"HEAD": state.head, **there} == logged else Difference(project_id)


def _is_storable(ref: str) -> bool:
    return paths.is_storable_ref(ref.encode(errors="surrogateescape"))


async def mend(db: Database, root: Path, project_id: int) -> int:
    """Record in the log what is on disk. Returns the number of refs that differed; 0 if the project was deleted."""
    try:
        async with moving_refs(db, root, project_id, FORGE):
            moved = await record_refs(db, root, project_id, FORGE)
    except (NotFound, Conflict):
        return 0
    if moved:
        log.warning("refs mended", project=project_id, refs=moved)
    return moved


async def mend_changed(db: Database, root: Path) -> int:
    """Compare the projects that have changed since they were last found equal, and mend them. Returns their number.

    A project that has not changed costs a look at the files of its refs and no reading of objects.
    """
    last, compared = 0, 0
    while batch := await ref_fingerprints.list_after(db, last, BATCH_SIZE):
        for row in batch:
            disk = await asyncio.to_thread(fingerprint_refs, store.repository_path(root, row.project_id))
            if disk is None or (disk, row.log) != (row.compared_disk, row.compared_log):
                compared += 1
                await _try_to_mend(db, root, row, disk)
        last = batch[-1].project_id
    return compared


async def _try_to_mend(db: Database, root: Path, row: Fingerprints, disk: bytes | None) -> None:
    """Mend a project. An error keeps no other one from being compared."""
    try:
        await _mend_one(db, root, row, disk)
    except Exception as error:
        if is_unavailable(error):
            raise
        log.exception("comparison of refs failed", project=row.project_id)


async def _mend_one(db: Database, root: Path, row: Fingerprints, disk: bytes | None) -> None:
    found = await compare(db, root, row.project_id)
    if found is None:
        if disk is not None:
            await ref_fingerprints.keep(db, row.project_id, disk, row.log)
    elif found.mendable:
        await mend(db, root, row.project_id)
    else:
        log.error("repository cannot be read", project=row.project_id, fault=found.fault)
