"""Fingerprints of repositories whose refs were found to be those in the log: of the files, and of the log's rows."""

from dataclasses import dataclass

from app.database import Database

# For the projects after $1: the fingerprint of their rows, and those of both sides when they were last compared.
LIST = """
    with chosen as (
        select project_id, head from projects where head is not null and project_id > $1 order by project_id limit $2
    ), logged as (
        select    project_id,
                  decode(md5(head || coalesce(string_agg(ref || ' ' || object, ',' order by ref), '')), 'hex') as now
        from      chosen left join refs using (project_id)
        group by  project_id, head
    )
    select    project_id, now, disk, log
    from      logged left join ref_fingerprints using (project_id)
    order by  project_id
"""
KEEP = """
    insert into ref_fingerprints (project_id, disk, log) values ($1, $2, $3)
    on conflict (project_id) do update set disk = excluded.disk, log = excluded.log
"""
# Several workers look; one of them compares, once in a while. $2 is how long a turn lasts, $3 how long before its end
# another one may begin.
TAKE_TURN = """
    insert into leases as held (name, holder, until)
    values ('ref comparison', $1, now() + make_interval(secs => $2))
    on conflict (name) do update set holder = excluded.holder, until = excluded.until
    where  held.until <= now() + make_interval(secs => $3) or held.until > now() + make_interval(secs => $2)
    returning 1
"""


@dataclass(frozen=True)
class Fingerprints:
    """`log` is that of the rows now; the others are those of the last comparison, None if there was none."""

    project_id: int
    log: bytes
    compared_disk: bytes | None
    compared_log: bytes | None


async def list_after(db: Database, project_id: int, limit: int) -> list[Fingerprints]:
    """List the fingerprints of the next projects after this id."""
    return [Fingerprints(*row) for row in await db.fetch(LIST, project_id, limit)]


async def keep(db: Database, project_id: int, disk: bytes, log: bytes) -> None:
    """Keep the fingerprints of two sides that are the same."""
    await db.execute(KEEP, project_id, disk, log)


async def take_turn(db: Database, holder: str, seconds: float, rest: float) -> bool:
    """Return whether this worker is the one that compares: if `rest` seconds have passed since the last turn began.

    The next turn comes after `seconds`, unless that worker rests for a shorter time.
    """
    return await db.fetchval(TAKE_TURN, holder, seconds, seconds - rest) is not None
