"""What may be asked about groups, and about who watches what."""

from app.database import Database, Row

MEMBERS = """
    array(select username from group_members where group_members.group_name = groups.group_name order by username)
"""


async def find(db: Database, group_name: str) -> Row | None:
    """The group with its members' names."""
    return await db.fetchrow(f"select groups.*, {MEMBERS} as members from groups where group_name = $1", group_name)


async def taken(db: Database, name: str) -> bool:
    """Whether a group or a user is called so, in any case: both are namespaces."""
    found: bool = await db.fetchval(
        """
        select exists (select 1 from groups where lower(group_name) = lower($1))
            or exists (select 1 from users where lower(username) = lower($1))
        """,
        name,
    )
    return found


async def watching(db: Database, project_id: int, username: str) -> tuple[bool | None, bool | None]:
    """What somebody has said they want to hear of: issues, commits; None for both when they have said nothing."""
    row = await db.fetchrow(
        "select issues, commits from watches where project_id = $1 and username = $2", project_id, username
    )
    return (row["issues"], row["commits"]) if row else (None, None)


async def watches(db: Database, project_id: int) -> list[Row]:
    """Every explicit choice about a project."""
    return await db.fetch(
        "select username, issues, commits from watches where project_id = $1 order by username", project_id
    )
