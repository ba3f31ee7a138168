"""Queries of the users who watch a project."""

from app.database import Database, Row


async def find_watch(db: Database, project_id: int, username: str) -> tuple[bool | None, bool | None]:
    """A user's choice to be notified about issues and about commits; None for both if they made none."""
    row = await db.fetchrow(
        "select issues, commits from watches where project_id = $1 and username = $2", project_id, username
    )
    return (row["issues"], row["commits"]) if row else (None, None)


async def list_watches(db: Database, project_id: int) -> list[Row]:
    """List every explicit choice about a project."""
    return await db.fetch(
        "select username, issues, commits from watches where project_id = $1 order by username", project_id
    )
