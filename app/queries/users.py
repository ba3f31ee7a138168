"""Queries of users and their API tokens."""

from uuid import UUID

from app.database import Database, Row
from app.queries.projects import like_pattern


async def find(db: Database, username: str) -> Row | None:
    return await db.fetchrow("select * from users where username = $1", username)


async def find_by_name(db: Database, name: str) -> str | None:
    """Find a username by username or e-mail address."""
    user = await search(db, name)
    return user["username"] if user else None


async def find_taken(db: Database, username: str, email: str) -> str | None:
    """Tell which of the two is taken: 'username', 'email' or None."""
    taken: str | None = await db.fetchval(
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
    return taken


async def search(db: Database, name: str) -> Row | None:
    """Find a user by username or e-mail address."""
    return await db.fetchrow(
        """
        select   *
        from     users
        where    username = $1 or lower(email) = lower($1)
        order by username = $1 desc
        limit    1
        """,
        name,
    )


async def by_emails(db: Database, emails: list[str]) -> dict[str, str]:
    """Map each of these e-mail addresses, in lower case, to its username."""
    rows = await db.fetch(
        "select lower(email) as email, username from users where lower(email) = any ($1)",
        [email.lower() for email in emails],
    )
    return {row["email"]: row["username"] for row in rows}


async def list_with_emails(db: Database, emails: list[str]) -> dict[str, Row]:
    """Map each of these e-mail addresses, in lower case, to its user."""
    rows = await db.fetch("select * from users where lower(email) = any ($1)", [email.lower() for email in emails])
    return {row["email"].lower(): row for row in rows}


async def search_emails(db: Database, pattern: str) -> list[Row]:
    """List the users whose username starts with the pattern; `*` stands for anything."""
    return await db.fetch(
        """
        select   username, fullname, email
        from     users
        where    username like $1
        order by username collate "C"
        """,
        like_pattern(pattern + "*"),
    )


async def list_groups(db: Database, username: str) -> list[str]:
    rows = await db.fetch("select group_name from group_members where username = $1", username)
    return [row["group_name"] for row in rows]


async def list_all(db: Database, limit: int | None = 1000) -> list[Row]:
    return await db.fetch("select * from users order by username limit $1", limit)


async def find_token(db: Database, token_id: str) -> Row | None:
    return await db.fetchrow("select * from tokens where token_id = $1", UUID(token_id))


async def list_tokens(db: Database, username: str, after: UUID, limit: int) -> list[Row]:
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


async def list_unknown(db: Database, usernames: list[str]) -> list[str]:
    """List those of the names that belong to no user, in the given order."""
    rows = await db.fetch(
        "select name from unnest($1::text[]) as name where not exists (select 1 from users where username = name)",
        usernames,
    )
    return [row["name"] for row in rows]


# A user with the prefixes of those tokens that are good, the oldest first.
ACCOUNT = """
    select users.*, array(
        select   prefix
        from     tokens
        where    tokens.username = users.username
        and      revoked_at is null and coalesce(expires_at > now(), true)
        order by token_id
    ) as prefixes
    from   users
"""


async def find_by_reference(db: Database, username: str | None, number: int | None) -> Row | None:
    """Find a user by name, or else by number, with the prefixes of their tokens."""
    return await db.fetchrow(
        f"{ACCOUNT} where username = $1 or user_id = $2 order by (username = $1) is true desc limit 1", username, number
    )


async def list_accounts(db: Database) -> list[Row]:
    """List all users with the prefixes of their tokens."""
    return await db.fetch(f"{ACCOUNT} order by username")


async def list_followers(db: Database, project_id: int, owner: str) -> list[Row]:
    """List the owner of a project and those who watch it, with the prefixes of their tokens."""
    return await db.fetch(
        f"""{ACCOUNT}
        where    username = $2
        or       username in (select username from watches where project_id = $1 and (issues or commits))
        order by username
        """,
        project_id,
        owner,
    )


async def list_admins(db: Database) -> list[str]:
    """List the names of the administrators of the forge."""
    rows = await db.fetch("select username from users where admin order by user_id")
    return [row["username"] for row in rows]
