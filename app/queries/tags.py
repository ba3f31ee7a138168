"""Queries of the tags of a tracker."""

from app.database import Database
from app.queries.projects import like_pattern


async def list_styles(db: Database, project_id: int, names: list[str] | None = None) -> dict[str, dict[str, str]]:
    """Color and description of each tag, or of the tags in `names`."""
    rows = await db.fetch(
        """
        select   tag, color, description
        from     issue_tags
        where    project_id = $1 and ($2::text[] is null or tag = any ($2))
        order by tag collate "C"
        """,
        project_id,
        names,
    )
    return {row["tag"]: {"color": row["color"], "description": row["description"]} for row in rows}


async def search(db: Database, project_id: int, pattern: str) -> list[str]:
    """List the tags that start with the pattern, in any case; `*` stands for anything."""
    rows = await db.fetch(
        """
        select   tag
        from     issue_tags
        where    project_id = $1 and lower(tag) like lower($2)
        order by tag collate "C"
        """,
        project_id,
        like_pattern(pattern + "*"),
    )
    return [row["tag"] for row in rows]
