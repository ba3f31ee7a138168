"""The event log: append, number and read events."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple, TypeAlias
from uuid import UUID

import asyncpg
import orjson

from events.event import TYPES, Event, StoredEvent
from events.projections import projection_sql
from events.upcasts import current_data_sql

Connection: TypeAlias = Any  # an asyncpg connection, its own or one lent by a pool

LOCK_PROJECT = """
    select last_number + 1 as number
    from   projects
    where  project_id = $8
    and    revision = coalesce($9, revision)
    for no key update
"""


NEXT_VERSION = "(select coalesce(max(version), 0) + 1 from events where events.stream = {stream})"


class VersionConflict(Exception):
    """The state that a decision was based on has changed since; the decision must be made again."""


class CommandRepeated(Exception):
    """A command with this id was carried out before."""


@dataclass(frozen=True, kw_only=True)
class AppendRequest:
    """An event to append, with its metadata.

    `revision` is the project's revision that the decision was based on; None means no check. `version` None stands for
    the next version of the stream, whatever it is.
    """

    event: Event
    version: int | None
    actor: str
    command_id: UUID
    request: str = ""
    cause: int | None = None
    revision: int | None = None
    anchored: bool = True


@cache
def _append_statement(event_type: str, *, anchored: bool, with_command: bool, answer: bool, versioned: bool) -> str:
    """Build the statement that stores the command, its event and the event's rows.

    It locks the project's row first, so that within a project positions, transaction ids and row changes have the same
    order. Without that, a rebuild in log order could produce other rows.
    """
    parts = []
    if anchored:
        parts.append(f"anchor as ({LOCK_PROJECT})")
    source = "from anchor" if anchored else "where $9::bigint is null"
    if anchored and TYPES[event_type].outlives_project:
        source = "from (values (1)) as always left join anchor on true"
    stream, data = "$1", "$3::jsonb"
    if TYPES[event_type].takes_number:
        stream, data = "$1::text || anchor.number", "jsonb_set($3::jsonb, '{number}', to_jsonb(anchor.number))"
    if with_command:
        parts.append(f"""command as (
            insert into commands (id, name, body, actor, request)
            select $5, $10, $11::jsonb, $4, $6 {source}
        )""")
    version = "$2::int" if versioned else f"coalesce($2, {NEXT_VERSION.format(stream=stream)})"
    parts.append(f"""event as (
        insert into events (stream, version, type, data, actor, command_id, request, cause, project_id)
        select {stream}, {version}, '{event_type}', {data}, $4, $5, $6, $7, $8 {source}
        {"on conflict on constraint one_answer_per_cause do nothing" if answer else ""}
        returning *
    )""")
    parts.append("waiting as (insert into unnumbered (position, txid) select position, txid from event)")
    projections, returning = projection_sql(event_type)
    row = f"to_jsonb({returning})" if returning else "null::jsonb"
    join = f"left join {returning} on true" if returning else ""
    return f"""with {", ".join(parts)}{projections}
        select event.position, event.at, {row} as row
        from   event {join}"""


async def append(
    db: Connection, entry: AppendRequest, command: tuple[str, bytes] | None = None
) -> asyncpg.Record | None:
    """Store one event, its rows and, if given, its command (name and JSON body) in one statement.

    Returns position, time and the first projection's row, or None if the same answer to the same cause is stored
    already. Raises VersionConflict if the decision must be made again, CommandRepeated if the command is stored
    already.
    """
    event = entry.event
    anchored = entry.anchored and event.project is not None
    statement = _append_statement(
        event.type,
        anchored=anchored,
        with_command=command is not None,
        answer=entry.cause is not None,
        versioned=entry.version is not None,
    )
    with _raising_conflicts():
        stored = await db.fetchrow(statement, *_append_arguments(entry, command))
    if stored is None and entry.cause is None:
        raise VersionConflict("revision")
    return stored


@cache
def _batch_statement(event_type: str, *, with_command: bool) -> str:
    """Build the statement that stores several events of one type, with their rows, in the order of the arrays."""
    command = """, command as (
        insert into commands (id, name, body, actor, request)
        select $5, $10, $11::jsonb, $4, $6 from anchor
    )"""
    return f"""
        with anchor as ({LOCK_PROJECT}){command if with_command else ""}, event as (
            insert into events (stream, version, type, data, actor, command_id, request, cause, project_id)
            select   item.stream, item.version, '{event_type}', item.data::jsonb, $4, $5, $6, $7, $8
            from     anchor,
                     unnest($1::text[], $2::int[], $3::text[]) with ordinality as item (stream, version, data, number)
            order by item.number
            returning *
        ), waiting as (
            insert into unnumbered (position, txid) select position, txid from event
        ){projection_sql(event_type)[0]}
        select position, at, null::jsonb as row from event order by position"""


async def append_batch(
    db: Connection, entries: list[AppendRequest], command: tuple[str, bytes] | None = None
) -> list[asyncpg.Record]:
    """Store events of one batched type, with explicit versions, in one statement. Raises as `append` does."""
    first, events = entries[0], [entry.event for entry in entries]
    arguments = _append_arguments(first, command)
    arguments[:3] = (
        [event.stream for event in events],
        [entry.version for entry in entries],
        [orjson.dumps(event).decode() for event in events],
    )
    statement = _batch_statement(first.event.type, with_command=command is not None)
    with _raising_conflicts():
        stored: list[asyncpg.Record] = await db.fetch(statement, *arguments)
    if not stored:
        raise VersionConflict("revision")
    return stored


@contextmanager
def _raising_conflicts() -> Iterator[None]:
    """Raise VersionConflict or CommandRepeated for the errors of the database that mean that."""
    try:
        yield
    except asyncpg.UniqueViolationError as error:
        if error.constraint_name == "commands_pkey":
            raise CommandRepeated from error
        raise VersionConflict(error.constraint_name) from error
    except (asyncpg.DeadlockDetectedError, asyncpg.SerializationError) as error:
        raise VersionConflict(str(error.sqlstate)) from error


def _append_arguments(entry: AppendRequest, command: tuple[str, bytes] | None) -> list[Any]:
    """The parameters of the statement, $1 to $9, and $10 and $11 for the command."""
    event = entry.event
    arguments: list[Any] = [
        event.stream,
        entry.version,
        orjson.dumps(event).decode(),
        entry.actor,
        entry.command_id,
        entry.request,
        entry.cause,
        event.project,
        entry.revision,
    ]
    if command is not None:
        arguments += [command[0], command[1].decode()]
    return arguments


# Transaction ids do not survive a dump and restore. An id that this cluster has not reached yet belongs to a restored
# row, which settled long ago; those rows are numbered first.
NUMBER_SETTLED = """
    with allowed as ({allowed}), settled as (
        select   position
        from     unnumbered
        where    exists (select 1 from allowed)
        and      (txid < pg_snapshot_xmin(pg_current_snapshot()) or txid >= pg_snapshot_xmax(pg_current_snapshot()))
        order by txid >= pg_snapshot_xmax(pg_current_snapshot()) desc, txid, position
        limit    $1
    ), ordered as (
        select position, (select coalesce(max(seq), 0) from numbers) + row_number() over () as seq
        from   settled
    ), placed as (
        select ordered.seq, ordered.position, events.type
        from   ordered join events using (position)
    ), numbered as (
        insert into numbers (seq, position)
        select seq, position from placed
    ), removed as (
        delete from unnumbered using placed where unnumbered.position = placed.position
    ){also}
    select    this.allowed, placed.seq, placed.position, placed.type
    from      (select exists (select 1 from allowed) as allowed) as this
    left join placed on true
    order by  placed.seq
"""

SELECT_EVENTS = """
    select   numbers.seq, events.position, events.id, events.stream, events.version, events.type, {data} as data,
             events.actor, events.project_id, events.command_id, events.cause, events.request, events.at
    from     {source}
"""


@dataclass(frozen=True)
class NumberedEvent:
    """An event that was just numbered."""

    seq: int
    position: int
    type: str


class LogEntry(NamedTuple):
    """The metadata of a numbered event, without its data."""

    seq: int
    type: str
    project_id: int | None
    actor: str
    command_id: UUID


@dataclass(frozen=True)
class NumberingResult:
    """Whether the caller was allowed to number, and the events that it numbered."""

    allowed: bool
    numbered: list[NumberedEvent]


def build_numbering_statement(allowed: str = "select 1", also: str = "") -> str:
    """Build the statement that numbers settled events.

    `allowed` is a query that returns a row if the caller may number now; `also` are further common table expressions,
    which may read `placed` (seq, position, type). Both may use parameters from $2 on.
    """
    return NUMBER_SETTLED.format(allowed=allowed, also=also)


async def number_settled(
    db: Connection, limit: int = 1000, *arguments: Any, statement: str = build_numbering_statement()
) -> NumberingResult:
    """Give settled events their dense numbers, in the order (transaction id, position).

    A sequence assigns positions before commit, so a follower of positions would miss a slow writer's event. Only one
    caller may number at a time.
    """
    rows = await db.fetch(statement, limit, *arguments)
    numbered = [NumberedEvent(row["seq"], row["position"], row["type"]) for row in rows if row["seq"] is not None]
    return NumberingResult(rows[0]["allowed"], numbered)


async def oldest_unnumbered(db: Connection) -> float:
    """Age in seconds of the oldest event without a number, settled or not; 0 if there is none."""
    age: float = await db.fetchval(
        "select coalesce(extract(epoch from now() - min(at)), 0)::float from unnumbered join events using (position)"
    )
    return age


async def head(db: Connection) -> int:
    """The number of the newest numbered event; 0 if there is none."""
    newest: int | None = await db.fetchval("select max(seq) from numbers")
    return newest or 0


async def read(db: Connection, after: int, limit: int = 500) -> list[StoredEvent]:
    """Read the next events after this number, in order."""
    query = SELECT_EVENTS.format(data=current_data_sql(), source="numbers join events using (position)")
    rows = await db.fetch(f"{query} where numbers.seq > $1 order by numbers.seq limit $2", after, limit)
    return [build_stored_event(row) for row in rows]


async def read_entries(db: Connection, after: int, limit: int = 1000) -> list[LogEntry]:
    """Read the metadata of the next events after this number, which is all that waiters need."""
    rows = await db.fetch(
        """
        select   numbers.seq, events.type, events.project_id, events.actor, events.command_id
        from     numbers join events using (position)
        where    numbers.seq > $1
        order by numbers.seq
        limit    $2
        """,
        after,
        limit,
    )
    return [LogEntry(*row) for row in rows]


async def find_at_position(db: Connection, position: int) -> StoredEvent | None:
    """Find an event by its position, numbered or not."""
    query = SELECT_EVENTS.format(data=current_data_sql(), source="events left join numbers using (position)")
    row = await db.fetchrow(f"{query} where events.position = $1", position)
    return build_stored_event(row) if row else None


def build_stored_event(row: asyncpg.Record) -> StoredEvent:
    """Turn a row of the log into a StoredEvent."""
    values = dict(row)
    values["seq"] = values["seq"] or 0
    return StoredEvent(**values)
