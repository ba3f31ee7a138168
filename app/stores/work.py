"""Work that events cause: its lease, its due time, its attempts and its failures.

The attempt's number is the fencing token: all statements of a worker except `claim` are guarded by it, and change
nothing once a newer attempt holds the work. `reaction` is the name of the reaction, `position` the event's.
"""

from typing import Any
from uuid import UUID

from app.database import Database, Row

CLAIM = """
    update work
    set    attempts = attempts + 1, lease_until = now() + make_interval(secs => $3), holder = $4
    where  position = $1 and reaction = $2 and done_at is null and due_at <= now()
    and    (lease_until is null or lease_until < now())
    returning attempts
"""
LOCK_LANE = "select pg_advisory_xact_lock(hashtextextended($1, 0))"
# A lane is busy while a worker holds a piece of it. `lane` is a project's open work of some kinds.
CLAIM_IN_LANE = """
    with lane as (
        select work.position, work.reaction, work.due_at, work.lease_until
        from   work join events using (position)
        where  work.done_at is null and work.reaction = any ($1) and events.project_id = $2
    ), next as (
        select   position, reaction
        from     lane
        where    due_at <= now()
        and      not exists (select 1 from lane where lease_until >= now())
        order by position
        limit    1
    )
    update work
    set    attempts = attempts + 1, lease_until = now() + make_interval(secs => $3), holder = $4
    from   next
    where  work.position = next.position and work.reaction = next.reaction
    returning work.position, work.reaction, work.attempts
"""
RENEW = """
    update work
    set    lease_until = now() + make_interval(secs => $4)
    where  position = $1 and reaction = $2 and attempts = $3 and done_at is null
    returning 1
"""
COUNT_FAILURE = """
    update work
    set    failures = failures + 1
    where  position = $1 and reaction = $2 and attempts = $3 and done_at is null
    returning failures
"""
MARK_IRREVOCABLE = """
    update work
    set    irrevocable = true
    where  position = $1 and reaction = $2 and attempts = $3 and done_at is null
    returning 1
"""
FINISH = """
    update work
    set    done_at = now(), lease_until = null
    where  position = $1 and reaction = $2 and attempts = $3 and done_at is null
    returning 1
"""
POSTPONE = """
    update work
    set    lease_until = null, due_at = now() + make_interval(secs => $4)
    where  position = $1 and reaction = $2 and attempts = $3 and done_at is null
"""
# The relay's sweep enqueues it on the other queue. Its attempts are not reset, because they are the fencing token.
HAND_OVER = """
    update work
    set    queue = $3, lease_until = null, due_at = now() - interval '2 seconds'
    where  position = $1 and reaction = $2 and queue <> $3 and done_at is null
    returning 1
"""
# The work counts as done: a worker that is still running holds an outdated token, so its result is rejected.
CANCEL = """
    update work
    set    done_at = now(), lease_until = null, attempts = work.attempts + 1
    from   tasks
    where  tasks.task_id = $1 and work.position = tasks.origin and work.reaction = any ($2) and work.done_at is null
    and    not work.irrevocable
    returning work.position, work.reaction
"""
# The oldest piece of the first project after $2.
FIND_DUE = """
    select   position, reaction, project_id
    from     work
    where    queue = $1 and done_at is null and due_at <= now() and project_id > $2
    and      (lease_until is null or lease_until < now())
    and      (position, reaction) not in (select * from unnest($3::bigint[], $4::text[]))
    order by project_id, due_at, position
    limit    1
"""
UNATTENDED = """
    select   distinct queue
    from     work
    where    done_at is null
    and      due_at < now() - make_interval(secs => $1)
    and      (lease_until is null or lease_until < now())
"""


async def claim(db: Database, position: int, reaction: str, lease: float, holder: UUID) -> int | None:
    """Claim work that is due and not held, for `lease` seconds. Returns the fencing token, or None."""
    token: int | None = await db.fetchval(CLAIM, position, reaction, lease, holder)
    return token


async def claim_in_lane(
    db: Database, lane: str, reactions: list[str], project_id: int, lease: float, holder: UUID
) -> Row | None:
    """Claim the oldest piece of a project's work of these kinds that is due, for `lease` seconds.

    Returns its position, its reaction and the fencing token; None if nothing is due or a worker holds a piece.
    """
    async with db.acquire() as connection, connection.transaction():
        # Two claims that look at the same time would each find the lane free, so they take turns.
        await connection.execute(LOCK_LANE, f"{lane}-{project_id}")
        row: Row | None = await connection.fetchrow(CLAIM_IN_LANE, reactions, project_id, lease, holder)
    return row


async def renew(db: Database, position: int, reaction: str, token: int, lease: float) -> bool:
    """Renew the lease; False if another worker holds the work."""
    return await db.fetchval(RENEW, position, reaction, token, lease) is not None


async def count_failure(db: Database, position: int, reaction: str, token: int) -> int | None:
    """Count an error of the work. Returns how many there were so far; None if another worker holds the work."""
    failures: int | None = await db.fetchval(COUNT_FAILURE, position, reaction, token)
    return failures


async def mark_irrevocable(db: Database, position: int, reaction: str, token: int) -> bool:
    """Mark the work as no longer cancellable; False if another worker holds it."""
    return await db.fetchval(MARK_IRREVOCABLE, position, reaction, token) is not None


async def finish(connection: Any, position: int, reaction: str, token: int) -> bool:
    """End the work in the caller's transaction; False if another worker holds it."""
    return await connection.fetchval(FINISH, position, reaction, token) is not None


async def postpone(db: Database, position: int, reaction: str, token: int, seconds: float) -> None:
    await db.execute(POSTPONE, position, reaction, token, seconds)


async def hand_over(db: Database, position: int, reaction: str, queue: str) -> bool:
    """Move the work to another queue and release it; False if it is on that queue already or has ended."""
    return await db.fetchval(HAND_OVER, position, reaction, queue) is not None


async def cancel(connection: Any, task_id: str, reactions: list[str]) -> Row | None:
    """End the work that a task waits for, whichever worker holds it; None if it has ended or is irrevocable."""
    row: Row | None = await connection.fetchrow(CANCEL, task_id, reactions)
    return row


async def find_due(db: Database, queue: str, after: int, taken: list[tuple[int, str]]) -> Row | None:
    """Find the oldest due work of the first project after this one, except what is taken; it is not claimed yet."""
    return await db.fetchrow(FIND_DUE, queue, after, [position for position, _ in taken], [name for _, name in taken])


async def list_unattended_queues(db: Database, seconds: float) -> list[str]:
    """List the queues with work that has been due for this many seconds and is not held."""
    return [row["queue"] for row in await db.fetch(UNATTENDED, seconds)]
