"""Comment ids, which issues and pull requests share."""

from app.database import Database


async def next_id(db: Database) -> int:
    """Reserve an id; gaps do no harm."""
    comment_id: int = await db.fetchval("select nextval('comment_ids')")
    return comment_id


async def next_ids(db: Database, count: int) -> list[int]:
    """Reserve `count` ids, in rising order."""
    if not count:
        return []
    rows = await db.fetch("select nextval('comment_ids') as fresh from generate_series(1, $1::int)", count)
    return [row["fresh"] for row in rows]
