"""Secrets that a project signs or logs in with elsewhere. They are needed in clear, so they are sealed, not hashed.

They are never part of an event, a log line or a listing, and are deleted with the project (workers/repositories.py).
"""

import secrets
import string
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

from app.database import Database, Row
from app.errors import NotFound, Subject
from app.stores.sealed import build_context

HOOK_TOKEN = "hook_token"  # noqa: S105 - the name of a secret
CI_TOKEN = "ci_token"  # noqa: S105 - likewise
MIRROR_LOGIN = "mirror_login"
HOOK_TOKEN_LENGTH = 40
HOOK_TOKEN_ALPHABET = string.ascii_uppercase + string.digits

SELECT = "select secret from project_secrets where project_id = $1 and name = $2"
RELEASE = """
    delete from project_secrets
    where  project_id = $1 and not exists (select 1 from projects where projects.project_id = $1)
"""
# The lock on the project's row excludes a concurrent deletion, after which no secret may be left.
MAKE = """
    insert into project_secrets (project_id, name, secret)
    select   project_id, $2, $3
    from     projects
    where    project_id = $1
    for key share
    on conflict do nothing
"""
CONNECTOR = """
    select   project_secrets.secret, tokens.token_id, tokens.description,
             coalesce(tokens.expires_at <= now(), false) as expired
    from     (values (1)) as one
    left join project_secrets on project_secrets.project_id = $1 and project_secrets.name = $2
    left join tokens on tokens.project_id = $1 and tokens.username = $3 and tokens.revoked_at is null
    order by tokens.created_at, tokens.token_id
"""
STORE = """
    insert into project_secrets (project_id, name, secret)
    select   project_id, it.name, it.secret
    from     projects, unnest($2::text[], $3::text[]) as it (name, secret)
    where    project_id = $1
    for key share of projects
    on conflict (project_id, name) do update set secret = excluded.secret
"""
HOOKS_WAIT = """
    exists (select 1
            from   deliveries join subscriptions using (subscription_id)
            where  subscriptions.project_id = $1 and subscriptions.hook is not null and deliveries.status = 'waiting')
"""
RESERVE = "insert into project_secrets (project_id, name, secret) values ($1, $2, $3)"


async def ensure_hook_token(db: Database, project_id: int) -> str:
    """Return the key that signs a project's web hooks; create it on first use. Raises NotFound without a project."""
    return await _ensure_token(db, project_id, HOOK_TOKEN)


async def ensure_ci_token(db: Database, project_id: int) -> str:
    """Return the token with which a project's CI server reports builds; create it on first use. Raises NotFound."""
    return await _ensure_token(db, project_id, CI_TOKEN)


async def _ensure_token(db: Database, project_id: int, name: str) -> str:
    token = await find(db, project_id, name)
    if token is None:
        fresh = "".join(secrets.choice(HOOK_TOKEN_ALPHABET) for _ in range(HOOK_TOKEN_LENGTH))
        await db.execute(MAKE, project_id, name, _seal(db, project_id, name, fresh))
        # Read it back, since a concurrent call may have been first.
        token = await find(db, project_id, name)
    if token is None:
        raise NotFound(Subject.PROJECT)
    return token


async def find_connector(db: Database, project_id: int, username: str) -> tuple[str, list[Row]]:
    """Return a project's hook token, and the user's API tokens for the project, the oldest first."""
    rows = await db.fetch(CONNECTOR, project_id, HOOK_TOKEN, username)
    sealed = rows[0]["secret"]
    key = _open(db, project_id, HOOK_TOKEN, sealed) if sealed else await ensure_hook_token(db, project_id)
    return key, [row for row in rows if row["token_id"] is not None]


async def store(db: Database, project_id: int, values: Mapping[str, str]) -> None:
    """Store secrets by name, replacing earlier values."""
    if values:
        sealed = [_seal(db, project_id, name, value) for name, value in values.items()]
        await db.execute(STORE, project_id, list(values), sealed)


@asynccontextmanager
async def reserve_with_secret(db: Database, name: str, secret: str) -> AsyncIterator[int]:
    """Yield the id of the project that the block creates, with a secret stored for it, since its first work may need
    one. Deletes the secret if the block fails.
    """
    project_id: int = await db.fetchval("select nextval('project_ids')")
    await db.execute(RESERVE, project_id, name, _seal(db, project_id, name, secret))
    try:
        yield project_id
    except BaseException:  # includes cancellation, when the client hangs up; raised again
        # If only the answer of the database was lost, the project exists and needs its secret.
        await db.execute(RELEASE, project_id)
        raise


async def find(db: Database, project_id: int, name: str) -> str | None:
    sealed: str | None = await db.fetchval(SELECT, project_id, name)
    return None if sealed is None else _open(db, project_id, name, sealed)


def _seal(db: Database, project_id: int, name: str, secret: str) -> str:
    return db.keyring.seal(secret, build_context("project_secrets", "secret", project_id, name))


def _open(db: Database, project_id: int, name: str, sealed: str) -> str:
    return db.keyring.open(sealed, build_context("project_secrets", "secret", project_id, name))


async def delete_for_deleted_project(db: Database, project_id: int) -> None:
    """Delete the secrets of a deleted project. What signs and addresses its web hooks stays while deliveries wait."""
    await db.execute(
        f"""
        with hooks as (
            delete from subscription_endpoints where project_id = $1 and not {HOOKS_WAIT}
        )
        delete from project_secrets where project_id = $1 and not (name = $2 and {HOOKS_WAIT})
        """,
        project_id,
        HOOK_TOKEN,
    )


async def delete(db: Database, project_id: int, names: Sequence[str] | None = None) -> None:
    """Delete the secrets with these names, or all secrets of a project."""
    await db.execute(
        "delete from project_secrets where project_id = $1 and ($2::text[] is null or name = any ($2))",
        project_id,
        None if names is None else list(names),
    )
