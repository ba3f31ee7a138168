"""Queries of groups and their members."""

from sqlalchemy import func, or_, select

from app.database import Database, Row
from app.queries.paging import Listing, Page, paginate
from app.queries.projects import like_pattern
from app.queries.users import ACCOUNT
from events.tables import groups

MEMBERS = """
    array(select username from group_members where group_members.group_name = groups.group_name order by username)
"""


# A group with the usernames of its members, and its creator.
BY_NAME = f"""
    select groups.*, {MEMBERS} as members, users.fullname as creator_fullname, users.email as creator_email
    from   groups left join users on users.username = groups.creator
    where  group_name = $1
"""


# A group with its members as whole users.
WITH_ACCOUNTS = f"""
    select groups.*, (
        select coalesce(jsonb_agg(to_jsonb(account) order by username), '[]')
        from   ({ACCOUNT}) as account join group_members using (username)
        where  group_members.group_name = groups.group_name
    ) as accounts
    from   groups
"""


async def find(db: Database, group_name: str) -> Row | None:
    return await db.fetchrow(BY_NAME, group_name)


async def is_taken(db: Database, name: str) -> bool:
    """Whether a group or a user has this name, in any case; both are namespaces."""
    taken: bool = await db.fetchval(
        """
        select exists (select 1 from groups where lower(group_name) = lower($1))
            or exists (select 1 from users where lower(username) = lower($1))
        """,
        name,
    )
    return taken


async def search(db: Database, pattern: str, page: Page) -> Listing:
    """Find groups whose name or display name starts with the pattern, in any case; `*` stands for anything."""
    column, prefix = groups.c, like_pattern(pattern.lower() + "*")
    condition = or_(func.lower(column.group_name).like(prefix), func.lower(column.display_name).like(prefix))
    query = select(column.group_name, column.description).where(condition)
    count = select(func.count()).select_from(groups).where(condition)
    return await paginate(db, query.order_by(column.group_type, column.group_name), count, page)


async def list_members(db: Database, group_names: list[str]) -> dict[str, list[str]]:
    """List the members of each of these groups."""
    rows = await db.fetch(
        f"select group_name, {MEMBERS} as members from groups where group_name = any ($1)", group_names
    )
    return {row["group_name"]: row["members"] for row in rows}


async def find_by_reference(db: Database, group_name: str | None, number: int | None) -> Row | None:
    """Find a group by name, or else by number, with its members as whole users."""
    return await db.fetchrow(
        f"""{WITH_ACCOUNTS}
        where    group_name = $1 or group_id = $2
        order by (group_name = $1) is true desc
        limit    1
        """,
        group_name,
        number,
    )


async def list_with_accounts(db: Database) -> list[Row]:
    """List all groups with their members as whole users."""
    return await db.fetch(f"{WITH_ACCOUNTS} order by group_name")


async def list_creators(db: Database) -> dict[str, str]:
    """Map the name of each group to its creator."""
    rows = await db.fetch("select group_name, creator from groups order by group_name")
    return {row["group_name"]: row["creator"] for row in rows}
