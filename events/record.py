"""Record commands and the results of workers: append events and project them in one transaction."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg

from events.event import Event, StoredEvent
from events.log import AppendRequest, Connection, append, append_batch


@dataclass(frozen=True)
class NewEvent:
    """An event to store and its version in the stream; None stands for the next version, whatever it is."""

    event: Event
    version: int | None = 1


@dataclass(frozen=True)
class Recorded:
    """A stored event's position, its time, and the row that its projection returned."""

    position: int
    at: datetime
    row: dict[str, Any] | None


async def record(
    db: asyncpg.Connection | asyncpg.pool.PoolConnectionProxy,
    command: tuple[str, bytes],
    events: list[NewEvent],
    *,
    command_id: UUID,
    actor: str,
    request: str = "",
    revision: int | None = None,
    anchored: bool = True,
) -> list[Recorded]:
    """Store a command with all of its events and rows, or nothing.

    A single event takes one statement, which is its own transaction, and so do events of one batched type; others
    share an explicit transaction.
    `anchored` means that the project already exists, so that its row can be locked.
    """
    entries = [
        AppendRequest(
            event=each.event,
            version=each.version,
            actor=actor,
            command_id=command_id,
            request=request,
            revision=revision if index == 0 else None,
            anchored=anchored,
        )
        for index, each in enumerate(events)
    ]
    batches = _split_into_batches(entries)
    if len(batches) == 1:
        return await _append(db, batches[0], command)
    async with db.transaction():
        return [
            recorded
            for index, batch in enumerate(batches)
            for recorded in await _append(db, batch, command if index == 0 else None)
        ]


def _split_into_batches(entries: list[AppendRequest]) -> list[list[AppendRequest]]:
    """Split the events into those that one statement can store, in their order."""
    batches: list[list[AppendRequest]] = []
    for entry in entries:
        last = batches[-1][-1].event if batches else None
        if last is not None and entry.event.batched and last.type == entry.event.type:
            batches[-1].append(entry)
        else:
            batches.append([entry])
    return batches


async def _append(
    db: asyncpg.Connection | asyncpg.pool.PoolConnectionProxy,
    batch: list[AppendRequest],
    command: tuple[str, bytes] | None,
) -> list[Recorded]:
    if len(batch) == 1:
        return [_build_recorded(await append(db, batch[0], command))]
    return [_build_recorded(stored) for stored in await append_batch(db, batch, command)]


async def record_answer(
    db: Connection, cause: StoredEvent, event: Event, *, version: int | None = 1
) -> Recorded | None:
    """Store the result of a worker's reaction to `cause`. Returns None if this result is stored already."""
    entry = AppendRequest(
        event=event,
        version=version,
        actor=cause.actor,
        command_id=cause.command_id,
        request=cause.request,
        cause=cause.position,
    )
    stored = await append(db, entry)
    return _build_recorded(stored) if stored else None


def _build_recorded(stored: asyncpg.Record | None) -> Recorded:
    assert stored is not None  # noqa: S101 - append raises VersionConflict instead
    return Recorded(stored["position"], stored["at"], stored["row"])
