"""Idempotency keys: which request holds one, and the reply that it got."""

from uuid import UUID

from app.database import Database, Row

# A key is free again after a day. One whose request never ended may be claimed by the same request after a minute,
# under the same command id.
CLAIM = """
    insert into idempotency_keys as held (principal, key, request, command_id)
    values ($1, $2, $3, $4)
    on conflict (principal, key) do update
    set    request = excluded.request, at = now(), status = null, headers = null, body = null,
           command_id = case when held.at < now() - interval '1 day' then excluded.command_id else held.command_id end
    where  held.at < now() - interval '1 day'
    or     held.status is null and held.at < now() - interval '1 minute' and held.request = excluded.request
    returning command_id
"""
STORE = """
    update idempotency_keys
    set    status = $4, headers = $5, body = $6
    where  principal = $1 and key = $2 and command_id = $3
"""
RELEASE = """
    update idempotency_keys
    set    at = at - interval '1 minute'
    where  principal = $1 and key = $2 and command_id = $3 and status is null
"""


async def claim(db: Database, principal: str, key: str, fingerprint: bytes, command_id: UUID) -> UUID | None:
    """The id that the command of this request has to have; None when the key is taken."""
    claimed: UUID | None = await db.fetchval(CLAIM, principal, key, fingerprint, command_id)
    return claimed


async def find(db: Database, principal: str, key: str) -> Row | None:
    """The request that holds the key and its reply, whose status is null until there is one."""
    return await db.fetchrow(
        "select request, status, headers, body from idempotency_keys where principal = $1 and key = $2", principal, key
    )


async def store_reply(
    db: Database, principal: str, key: str, command_id: UUID, status: int, headers: str, body: bytes
) -> None:
    """Keep the reply; `headers` is a JSON object."""
    await db.execute(STORE, principal, key, command_id, status, headers, body)


async def release(db: Database, principal: str, key: str, command_id: UUID) -> None:
    """Let the same request claim the key at once, under the same command id."""
    await db.execute(RELEASE, principal, key, command_id)


async def delete_expired(db: Database) -> None:
    await db.execute("delete from idempotency_keys where at < now() - interval '1 day'")
