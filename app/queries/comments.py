"""The ids of comments, which issues and pull requests share."""

from app.database import Database


async def next_id(db: Database) -> int:
    """A fresh one; gaps do no harm."""
    fresh: int = await db.fetchval("select nextval('comment_ids')")
    return fresh


async def next_ids(db: Database, count: int) -> list[int]:
    """So many fresh ones, rising."""
    if not count:
        return []
    rows = await db.fetch("select nextval('comment_ids') as fresh from generate_series(1, $1::int)", count)
    return [row["fresh"] for row in rows]
