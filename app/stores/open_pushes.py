"""Pushes that may be moving refs: a row for each, under a lease, until the log knows what moved."""

from uuid import UUID

from app.database import Database, Row


async def begin(db: Database, push_id: UUID, project_id: int, actor: str, lease: float) -> None:
    """Note that refs of the project may move from now on. `lease` is in seconds."""
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
    """The log says where the refs lead, so nothing is left to do."""
    await db.execute("delete from open_pushes where push_id = $1", push_id)


async def list_abandoned(db: Database) -> list[Row]:
    """Pushes whose lease has run out: their process died between git and the log."""
    return await db.fetch("select push_id, project_id, actor from open_pushes where lease_until < now()")


async def postpone(db: Database, push_id: UUID, seconds: float) -> None:
    """Leave a push that cannot be finished now for later, so that it holds up no other."""
    await renew(db, push_id, seconds)
