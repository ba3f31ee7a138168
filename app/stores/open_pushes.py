"""Open pushes: a row for each process that may be moving refs, until the log has its moves."""

from uuid import UUID

from app.database import Database, Row

BEGIN = """
    with mine as (
        insert into open_pushes (push_id, project_id, actor, pull_request) values ($1, $2, $3, $4)
        on conflict do nothing
    )
    select * from open_pushes where project_id = $2 order by begun_at
"""


async def begin(db: Database, push_id: UUID, project_id: int, actor: str, pull_request: int | None = None) -> list[Row]:
    """Store that refs of the project may move from now on, because of the merge of a pull request if it has a number.

    Returns the other open pushes of the project. An earlier attempt of the same request may have left this one's row,
    which is returned then too.
    """
    return await db.fetch(BEGIN, push_id, project_id, actor, pull_request)


async def end(db: Database, push_id: UUID) -> None:
    """Delete the row of a finished push."""
    await db.execute("delete from open_pushes where push_id = $1", push_id)


async def list_of_project(db: Database, project_id: int) -> list[Row]:
    return await db.fetch("select * from open_pushes where project_id = $1 order by begun_at", project_id)


async def list_due(db: Database) -> list[Row]:
    """List the pushes that are not postponed, the oldest first."""
    return await db.fetch("select * from open_pushes where due_at <= now() order by begun_at limit 100")


async def postpone(db: Database, push_id: UUID, seconds: float) -> None:
    """Postpone a push that cannot be finished now, so that it does not block others."""
    await db.execute(
        """
        update open_pushes set due_at = now() + make_interval(secs => $2), failures = failures + 1 where push_id = $1
        """,
        push_id,
        seconds,
    )
