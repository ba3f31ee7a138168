"""Idempotency keys: which request holds one, what its command stored, and the reply that it got."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import orjson

from app.database import Database, Row
from events.log import Connection

# A key is free again after a day. One whose request never ended may be claimed by the same request after a minute,
# under the same command id. Once that has been carried out, retries do not make the day longer.
CLAIM = """
    insert into idempotency_keys as held (principal, key, request, command_id)
    values ($1, $2, $3, $4)
    on conflict (principal, key) do update
    set    request = excluded.request, status = null, headers = null, body = null,
           at = case when held.at < now() - interval '1 day' or held.outcome is null then now() else held.at end,
           command_id = case when held.at < now() - interval '1 day' then excluded.command_id else held.command_id end,
           outcome = case when held.at < now() - interval '1 day' then null else held.outcome end,
           project = case when held.at < now() - interval '1 day' then null else held.project end
    where  held.at < now() - interval '1 day'
    or     held.status is null and held.at < now() - interval '1 minute' and held.request = excluded.request
    returning command_id, outcome, project
"""
KEEP = "update idempotency_keys set outcome = $2::jsonb, project = $3::jsonb where command_id = $1"
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


@dataclass(frozen=True)
class HeldKey:
    """A key that a request holds.

    `command_id` is the id that the command of this request has to have. If an earlier attempt has carried it out,
    `outcome` says what it stored, and `project` is the row of its project as it was before; times in it are texts.
    """

    command_id: UUID
    outcome: dict[str, Any] | None = None
    project: dict[str, Any] | None = None


async def claim(db: Database, principal: str, key: str, fingerprint: bytes, command_id: UUID) -> HeldKey | None:
    """Claim a key for a request; None when it is taken."""
    row = await db.fetchrow(CLAIM, principal, key, fingerprint, command_id)
    if row is None:
        return None
    return HeldKey(row["command_id"], row["outcome"], row["project"])


async def keep_outcome(
    connection: Connection, command_id: UUID, outcome: dict[str, Any], project: Mapping[str, Any] | None
) -> None:
    """Keep what a command stored, in the transaction that stores it, so that its reply can be rendered again.

    Does nothing unless the command belongs to a key.
    """
    kept = orjson.dumps(dict(project), default=str).decode() if project is not None else None
    await connection.execute(KEEP, command_id, orjson.dumps(outcome).decode(), kept)


async def has_outcome(db: Database, command_id: UUID) -> bool:
    """Whether the command of a key has been carried out."""
    return bool(
        await db.fetchval(
            "select exists (select 1 from idempotency_keys where command_id = $1 and outcome is not null)", command_id
        )
    )


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
