"""The log: append, number, read. The only code that touches the events table."""

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
    """The state that a decision rested on has changed meanwhile: decide again."""


class CommandRepeated(Exception):
    """This very command has been carried out before."""


@dataclass(frozen=True, kw_only=True)
class Append:
    """What goes into the log with one event.

    `revision` is the project's revision that the decision rested on; None asks for no check. Without a `version` the
    event is the next of its stream, whatever came before.
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
def _append_statement(type: str, *, anchored: bool, with_command: bool, answer: bool, versioned: bool) -> str:
    """One statement that stores the command, its event and the event's rows.

    The project's row is locked first, so that within a project the order of positions, of
    transaction ids and of row changes is one and the same; that is what lets a rebuild in log
    order arrive at the very rows.
    """
    parts = []
    if anchored:
        parts.append(f"anchor as ({LOCK_PROJECT})")
    source = "from anchor" if anchored else "where $9::bigint is null"
    if anchored and TYPES[type].outlives_project:
        source = "from (values (1)) as always left join anchor on true"
    stream, data = "$1", "$3::jsonb"
    if TYPES[type].takes_number:
        stream, data = "$1::text || anchor.number", "jsonb_set($3::jsonb, '{number}', to_jsonb(anchor.number))"
    if with_command:
        parts.append(f"""command as (
            insert into commands (id, name, body, actor, request)
            select $5, $10, $11::jsonb, $4, $6 {source}
        )""")
    version = "$2::int" if versioned else f"coalesce($2, {NEXT_VERSION.format(stream=stream)})"
    parts.append(f"""event as (
        insert into events (stream, version, type, data, actor, command_id, request, cause, project_id)
        select {stream}, {version}, '{type}', {data}, $4, $5, $6, $7, $8 {source}
        {"on conflict on constraint one_answer_per_cause do nothing" if answer else ""}
        returning *
    )""")
    parts.append("waiting as (insert into unnumbered (position, txid) select position, txid from event)")
    projections, returning = projection_sql(type)
    row = f"to_jsonb({returning})" if returning else "null::jsonb"
    join = f"left join {returning} on true" if returning else ""
    return f"""with {", ".join(parts)}{projections}
        select event.position, event.at, {row} as row
        from   event {join}"""


async def append(db: Connection, entry: Append, command: tuple[str, bytes] | None = None) -> asyncpg.Record | None:
    """Store one event, its rows and, if given, its command (name and JSON body) in one statement.

    Returns position, time and the first projection's row, or None when an answer to the same cause is
    already there. Raises Conflict when the decision has to be made again, Repeated when there is nothing to do.
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
    try:
        stored = await db.fetchrow(statement, *arguments)
    except asyncpg.UniqueViolationError as clash:
        if clash.constraint_name == "commands_pkey":
            raise CommandRepeated from clash
        raise VersionConflict(clash.constraint_name) from clash
    except (asyncpg.DeadlockDetectedError, asyncpg.SerializationError) as clash:
        raise VersionConflict(str(clash.sqlstate)) from clash
    if stored is None and entry.cause is None:
        raise VersionConflict("revision")
    return stored


# Transaction ids do not survive a dump: one that this cluster has not reached yet belongs to a restored,
# long settled row, and those come first.
NUMBER = """
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
class Numbered:
    """An event that has just got its number."""

    seq: int
    position: int
    type: str


class LogEntry(NamedTuple):
    """An event that has been numbered, without what it says."""

    seq: int
    type: str
    project_id: int | None
    actor: str
    command_id: UUID


@dataclass(frozen=True)
class Numbering:
    """What one look for settled events came to."""

    allowed: bool
    numbered: list[Numbered]


def build_numbering(allowed: str = "select 1", also: str = "") -> str:
    """The statement that numbers. `allowed` is a query that has a row if this may be done now; `also` are further
    common table expressions, which may read `placed` (seq, position, type). Parameters from $2 on are theirs.
    """
    return NUMBER.format(allowed=allowed, also=also)


async def number_settled(
    db: Connection, limit: int = 1000, *arguments: Any, statement: str = build_numbering()
) -> Numbering:
    """Give settled events their dense numbers, in the order (transaction id, position).

    A sequence hands out positions before commit, so following positions would lose a slow writer's event. The caller
    is the only one to number.
    """
    rows = await db.fetch(statement, limit, *arguments)
    found = [Numbered(row["seq"], row["position"], row["type"]) for row in rows if row["seq"] is not None]
    return Numbering(rows[0]["allowed"], found)


async def oldest_unnumbered(db: Connection) -> float:
    """Age in seconds of the oldest event that waits for its number, settled or not; 0 when none does."""
    age: float = await db.fetchval(
        "select coalesce(extract(epoch from now() - min(at)), 0)::float from unnumbered join events using (position)"
    )
    return age


async def head(db: Connection) -> int:
    """The number of the newest numbered event; 0 when there is none."""
    newest: int | None = await db.fetchval("select max(seq) from numbers")
    return newest or 0


async def read(db: Connection, after: int, limit: int = 500) -> list[StoredEvent]:
    """The next facts after this number, in order."""
    facts = SELECT_EVENTS.format(data=current_data_sql(), source="numbers join events using (position)")
    rows = await db.fetch(f"{facts} where numbers.seq > $1 order by numbers.seq limit $2", after, limit)
    return [build_stored_event(row) for row in rows]


async def read_entries(db: Connection, after: int, limit: int = 1000) -> list[LogEntry]:
    """What the next numbers were given to: as much as whoever waits has to know."""
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
    """One fact, numbered or not."""
    facts = SELECT_EVENTS.format(data=current_data_sql(), source="events left join numbers using (position)")
    row = await db.fetchrow(f"{facts} where events.position = $1", position)
    return build_stored_event(row) if row else None


def build_stored_event(row: asyncpg.Record) -> StoredEvent:
    """A row of the log as a Fact."""
    values = dict(row)
    values["seq"] = values["seq"] or 0
    return StoredEvent(**values)
