"""What may be asked about users and their tokens."""

from uuid import UUID

from app.database import Database, Row


async def find(db: Database, username: str) -> Row | None:
    return await db.fetchrow("select * from users where username = $1", username)


async def named(db: Database, name: str) -> str | None:
    """The username of somebody given by username or e-mail address."""
    found: str | None = await db.fetchval(
        """
        select   username
        from     users
        where    username = $1 or lower(email) = lower($1)
        order by username = $1 desc
        limit    1
        """,
        name,
    )
    return found


async def taken(db: Database, username: str, email: str) -> str | None:
    """Which of the two somebody has already: 'username', 'email' or neither."""
    found: str | None = await db.fetchval(
        """
        select   case when lower(username) = lower($1) then 'username' else 'email' end
        from     users
        where    lower(username) = lower($1) or lower(email) = lower($2)
        union all
        select   'username'
        from     groups
        where    lower(group_name) = lower($1)
        order by 1 desc
        limit    1
        """,
        username,
        email,
    )
    return found


async def everybody(db: Database, limit: int = 1000) -> list[Row]:
    return await db.fetch("select * from users order by username limit $1", limit)


async def token(db: Database, token_id: str) -> Row | None:
    return await db.fetchrow("select * from tokens where token_id = $1", UUID(token_id))


async def tokens(db: Database, username: str, after: UUID, limit: int) -> list[Row]:
    return await db.fetch(
        """
        select   tokens.*, projects.path
        from     tokens left join projects using (project_id)
        where    username = $1 and token_id > $2 and revoked_at is null
        order by token_id
        limit    $3
        """,
        username,
        after,
        limit,
    )


async def unknown(db: Database, usernames: list[str]) -> list[str]:
    """Which of these nobody is called, in their order."""
    rows = await db.fetch(
        "select name from unnest($1::text[]) as name where not exists (select 1 from users where username = name)",
        usernames,
    )
    return [row["name"] for row in rows]
