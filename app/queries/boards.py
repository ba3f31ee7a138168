"""Queries of boards and of the status of issues on them."""

from app.database import Database, Row
from app.errors import NotFound, Subject

# An inner join is safe: the tag of a board cannot be deleted.
WHOLE = """
    select boards.*, issue_tags.color, issue_tags.description
    from   boards join issue_tags using (project_id, tag)
"""
# The boards that an issue is on, with its status and rank there.
PLACES = """
    case when issues.boards <> '{}' then
        (select jsonb_agg(issues.boards -> each.board || jsonb_build_object('board',
                              to_jsonb(each) || jsonb_build_object('color', color, 'description', description))
                          order by each.board collate "C")
         from   boards as each join issue_tags using (project_id, tag)
         where  each.project_id = issues.project_id and issues.boards ? each.board)
    end as places
"""


async def list_of_project(db: Database, project_id: int) -> list[Row]:
    """List the project's boards by name."""
    return await db.fetch(f'{WHOLE} where project_id = $1 order by board collate "C"', project_id)


async def find(db: Database, project_id: int, board: str) -> Row:
    found = await db.fetchrow(f"{WHOLE} where project_id = $1 and board = $2", project_id, board)
    if found is None:
        raise NotFound(Subject.BOARD)
    return found


async def list_with_tag(db: Database, project_id: int, tag: str) -> list[str]:
    """List the names of the boards with this tag."""
    rows = await db.fetch(
        'select board from boards where project_id = $1 and tag = $2 order by board collate "C"', project_id, tag
    )
    return [row["board"] for row in rows]
