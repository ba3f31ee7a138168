"""Record and answer: append and project, never one without the other."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg

from events.event import Event, StoredEvent
from events.log import Append, Connection, append


@dataclass(frozen=True)
class NewEvent:
    """An event to come, and which chapter of its stream it is; None: the next one, whatever came before."""

    event: Event
    version: int | None = 1


@dataclass(frozen=True)
class Recorded:
    """What the log said: where the event stands, and the row it made."""

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

    One event takes one statement, which is its own transaction; several share an explicit one.
    `anchored` says that the project exists already, so its row is there to be locked.
    """
    entries = [
        Append(
            event=each.event,
            version=each.version,
            actor=actor,
            command_id=command_id,
            request=request,
            revision=revision if n == 0 else None,
            anchored=anchored,
        )
        for n, each in enumerate(events)
    ]
    if len(entries) == 1:
        return [_build_recorded(await append(db, entries[0], command))]
    async with db.transaction():
        return [
            _build_recorded(await append(db, entry, command if n == 0 else None)) for n, entry in enumerate(entries)
        ]


async def record_answer(
    db: Connection, cause: StoredEvent, event: Event, *, version: int | None = 1
) -> Recorded | None:
    """Store what a worker found out about `cause`; None when it has been answered like this before."""
    entry = Append(
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
    assert stored is not None  # noqa: S101 - append raises Conflict instead
    return Recorded(stored["position"], stored["at"], stored["row"])
