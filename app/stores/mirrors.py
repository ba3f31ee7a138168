"""The polling schedule of mirrors and the leases of the workers that update them."""

from uuid import UUID

from app.database import Database, Row

# Mirrors without a row are new or come from an older dump.
ADD_MISSING = """
    insert into mirrors (project_id, due_at)
    select project_id, now() + make_interval(secs => $1)
    from   projects
    where  mirrored_from is not null and head is not null
    and    not exists (select 1 from mirrors where mirrors.project_id = projects.project_id)
    on conflict do nothing
"""
CLAIM = """
    with due as (
        select   project_id
        from     mirrors
        where    due_at <= now() and (lease_until is null or lease_until < now())
        order by due_at
        limit    1
        for update skip locked
    )
    update mirrors
    set    lease_until = now() + make_interval(secs => $1), token = gen_random_uuid(), holder = $2
    from   due
    where  mirrors.project_id = due.project_id
    returning mirrors.*
"""
CLAIM_ONE = """
    insert into mirrors (project_id, due_at, lease_until, token, holder)
    values ($1, now() + make_interval(secs => $3), now() + make_interval(secs => $2), gen_random_uuid(), $4)
    on conflict (project_id) do update
    set    lease_until = excluded.lease_until, token = excluded.token, holder = excluded.holder
    where  mirrors.lease_until is null or mirrors.lease_until < now()
    returning *
"""
RELEASE = "update mirrors set lease_until = null, token = null where project_id = $1 and token = $2"
RENEW = """
    update mirrors
    set    lease_until = now() + make_interval(secs => $3)
    where  project_id = $1 and token = $2
"""
RESCHEDULE = """
    update mirrors
    set    lease_until = null, token = null, failures = $3, due_at = now() + make_interval(secs => $4)
    where  project_id = $1 and token = $2
"""


async def add_missing(db: Database, pause: float) -> None:
    """Schedule mirrors without a row, due after `pause` seconds."""
    await db.execute(ADD_MISSING, pause)


async def claim(db: Database, lease: float, holder: UUID) -> Row | None:
    """Claim a mirror that is due, for `lease` seconds; None if there is none."""
    return await db.fetchrow(CLAIM, lease, holder)


async def claim_one(db: Database, project_id: int, lease: float, pause: float, holder: UUID) -> Row | None:
    """Claim this mirror for `lease` seconds, due or not; None if another worker holds it. A mirror without a row gets
    one that is due after `pause` seconds.
    """
    return await db.fetchrow(CLAIM_ONE, project_id, lease, pause, holder)


async def release(db: Database, project_id: int, token: UUID) -> None:
    """Release a mirror without changing its due time."""
    await db.execute(RELEASE, project_id, token)


async def renew(db: Database, project_id: int, token: UUID, lease: float) -> None:
    await db.execute(RENEW, project_id, token, lease)


async def reschedule(db: Database, project_id: int, token: UUID, *, failures: int, pause: float) -> None:
    """Release a mirror, due again after `pause` seconds. Does nothing if another worker holds it by now."""
    await db.execute(RESCHEDULE, project_id, token, failures, pause)


async def delete(db: Database, project_id: int) -> None:
    await db.execute("delete from mirrors where project_id = $1", project_id)
