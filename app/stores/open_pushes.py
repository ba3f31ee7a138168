"""Open pushes: a row under a lease for each push that may be moving refs, until the log has its moves."""

from uuid import UUID

from app.database import Database, Row


async def begin(db: Database, push_id: UUID, project_id: int, actor: str, lease: float) -> None:
    """Store that refs of the project may move from now on. `lease` is in seconds."""
    await db.execute(
        "insert into open_pushes values ($1, $2, $3, now() + make_interval(secs => $4))",
        push_id,
        project_id,
        actor,
        lease,
    )


async def renew(db: Database, push_id: UUID, lease: float) -> None:
    await db.execute(
        "update open_pushes set lease_until = now() + make_interval(secs => $2) where push_id = $1", push_id, lease
    )


async def end(db: Database, push_id: UUID) -> None:
    """Delete the row of a finished push."""
    await db.execute("delete from open_pushes where push_id = $1", push_id)


async def list_abandoned(db: Database) -> list[Row]:
    """List pushes whose lease has run out: their process died before it had recorded the moves."""
    return await db.fetch("select push_id, project_id, actor from open_pushes where lease_until < now()")


async def postpone(db: Database, push_id: UUID, seconds: float) -> None:
    """Postpone a push that cannot be finished now, so that it does not block others."""
    await renew(db, push_id, seconds)
