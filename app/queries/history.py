"""Queries of the log for the state before an event."""

from typing import Any

from app.database import Database, Row
from app.queries.refs import ZEROS


async def find_previous(db: Database, seq: int) -> Row | None:
    """Find type and data of the previous event in the stream of this event."""
    return await db.fetchrow(
        """
        select   earlier.type, earlier.data
        from     numbers join events as this using (position)
        join     events as earlier on earlier.stream = this.stream and earlier.version < this.version
        where    numbers.seq = $1
        order by earlier.version desc
        limit    1
        """,
        seq,
    )


async def find_last_mover(db: Database, project_id: int, ref: str) -> str | None:
    """Find the user who moved this ref last; None if it has not moved since the repository was made."""
    username: str | None = await db.fetchval(
        "select actor from events where stream = 'ref-' || $1::bigint || '/' || $2::text order by version desc limit 1",
        project_id,
        ref,
    )
    return username


async def find_field(db: Database, seq: int, name: str) -> Any:
    """Find the value that a field of an issue or a pull request had before this event; None if it was never set."""
    return await db.fetchval(
        """
        select   coalesce(earlier.data #> array['changed', $2::text], earlier.data -> $2::text)
        from     numbers join events as this using (position)
        join     events as earlier on earlier.stream = this.stream and earlier.version < this.version
        where    numbers.seq = $1 and (earlier.data -> 'changed' ? $2::text or earlier.data ? $2::text)
        order by earlier.version desc
        limit    1
        """,
        seq,
        name,
    )


async def find_grant(db: Database, seq: int, party: str, name: str) -> bool:
    """Whether a user or group had access to the event's project before this event, other than as its owner."""
    granted: bool | None = await db.fetchval(
        """
        select   case earlier.type when 'access.granted' then true when 'access.revoked' then false
                 else earlier.data ->> 'previous' = $3 and (earlier.data ->> 'retained')::boolean end
        from     numbers join events as this using (position)
        join     events as earlier on earlier.position < this.position
        where    numbers.seq = $1
        and      earlier.stream = any (array['access-' || this.project_id || '/' || $2::text || '/' || $3::text,
                                             'project-' || this.project_id])
        and      (earlier.type like 'access.%' or $2 = 'user' and earlier.type = 'project.transferred'
                  and (earlier.data ->> 'owner' = $3
                       or earlier.data ->> 'previous' = $3 and (earlier.data ->> 'retained')::boolean))
        order by earlier.position desc
        limit    1
        """,
        seq,
        party,
        name,
    )
    return bool(granted)


async def list_branches(db: Database, seq: int, excluded_ref: str) -> list[str]:
    """List the heads that the branches of the event's project had at the time of the event, except one ref.

    That is the old value of each branch's next move, or its current head if it has not moved since.
    """
    rows = await db.fetch(
        """
        select distinct coalesce(later.old, refs.object) as head
        from   numbers join events as this using (position)
        join   refs on refs.project_id = this.project_id
        left join lateral (
            select   events.data ->> 'old' as old
            from     events
            where    events.stream = 'ref-' || this.project_id || '/' || refs.ref and events.position > this.position
            order by events.version
            limit    1
        ) as later on true
        where  numbers.seq = $1 and starts_with(refs.ref, 'refs/heads/') and refs.ref <> $2::text
        """,
        seq,
        excluded_ref,
    )
    return [row["head"] for row in rows if row["head"] != ZEROS]
