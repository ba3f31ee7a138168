"""Hashes of tokens and passwords, and the users they belong to."""

from functools import cache
from typing import Any

from app.database import Database, Row

GROUPS = "array(select group_name from group_members where group_members.username = users.username) as groups"
OWNER_TEMPLATE = f"""
    select tokens.token_id, tokens.acls, tokens.project_id as token_project, tokens.expires_at, tokens.revoked_at,
           users.username, users.fullname, users.admin,
           {GROUPS}
    from   token_secrets
    join   tokens using (token_id)
    join   users using (username)
    where  token_secrets.hash = {{hash}}
"""
OWNER_OF_TOKEN = OWNER_TEMPLATE.format(hash="$1")
USER = f"select username, fullname, admin, {GROUPS} from users where username = $1"

USER_WITH_PASSWORD = f"""
    select username, fullname, admin, {GROUPS}, passwords.hash as password_hash
    from   users
    left join passwords using (username)
    where  username = $1 or lower(email) = lower($1)
"""


async def find_owner(db: Database, token_hash: bytes) -> Row | None:
    """The token with this hash and its user, also when it is revoked or expired."""
    return await db.fetchrow(OWNER_OF_TOKEN, token_hash)


@cache
def _owner_with_row_sql(query: str, arguments: int) -> str:
    return f"""
        select who.*, asked.*
        from   (values (1)) as one
        left join ({OWNER_TEMPLATE.format(hash=f"${arguments + 1}")}) as who on true
        left join (select true as there, it.* from ({query}) as it) as asked on true
    """


async def find_owner_with_row(db: Database, token_hash: bytes, query: str, *arguments: Any) -> Row:
    """One row: the columns of `find_owner`, then those of the one row that `query` returns.

    Nearly every request asks both, so they share a round trip. `there` is null when `query` returns nothing.
    """
    row = await db.fetchrow(_owner_with_row_sql(query, len(arguments)), *arguments, token_hash)
    assert row is not None  # noqa: S101 - the statement starts from one constant row
    return row


async def find_user(db: Database, username: str) -> Row | None:
    """A user and the groups that they are a member of."""
    return await db.fetchrow(USER, username)


async def store_token_hash(db: Database, token_hash: bytes, token_id: str) -> None:
    await db.execute(
        """
        insert into token_secrets (hash, token_id) values ($1, $2)
        on conflict (hash) do update set token_id = excluded.token_id
        """,
        token_hash,
        token_id,
    )


async def delete_token_hash(db: Database, token_id: str) -> None:
    await db.execute("delete from token_secrets where token_id = $1", token_id)


async def store_first_password_hash(db: Database, username: str, password_hash: str) -> None:
    """Store the hash of a user's password, unless there is one."""
    await db.execute(
        "insert into passwords (username, hash) values ($1, $2) on conflict do nothing", username, password_hash
    )


async def find_user_with_password(db: Database, username_or_email: str) -> Row | None:
    """A user and the groups that they are a member of; `password_hash` is null when they have no password."""
    return await db.fetchrow(USER_WITH_PASSWORD, username_or_email)


async def replace_password_hash(db: Database, username: str, old: str, new: str) -> None:
    """Replace a hash by another one of the same password, unless the password was changed in the meantime."""
    await db.execute("update passwords set hash = $3 where username = $1 and hash = $2", username, old, new)
