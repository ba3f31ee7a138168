"""Record commands and the results of workers: append events and project them in one transaction."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg

from events.event import Event, StoredEvent
from events.log import AppendRequest, Connection, append


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

    A single event takes one statement, which is its own transaction; several share an explicit transaction.
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
    if len(entries) == 1:
        return [_build_recorded(await append(db, entries[0], command))]
    async with db.transaction():
        return [
            _build_recorded(await append(db, entry, command if index == 0 else None))
            for index, entry in enumerate(entries)
        ]


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
