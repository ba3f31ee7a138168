"""Secrets: made, hashed and checked here; they never enter the log.

A token is `pf_`, 40 characters of base62 and a 6-character checksum (CRC-32 in base62), so that a mistyped
or truncated one is told apart without asking the database, and scanners can find leaked ones.
"""

import asyncio
import hashlib
import secrets
import string
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import cache
from typing import Any

import argon2

from app.actor import NOBODY, Actor
from app.database import Database, Row
from app.errors import Invalid
from app.queries import projects

ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
PREFIX = "pf_"
PASSWORD_HASHER = argon2.PasswordHasher()


class BadToken(Exception):
    """`reason` is 'unknown' or 'expired'."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def encode_base62(number: int, width: int) -> str:
    digits = []
    for _ in range(width):
        number, digit = divmod(number, 62)
        digits.append(ALPHABET[digit])
    return "".join(reversed(digits))


def new_token() -> str:
    body = "".join(secrets.choice(ALPHABET) for _ in range(40))
    return f"{PREFIX}{body}{encode_base62(zlib.crc32(body.encode()), 6)}"


def has_valid_checksum(token: str) -> bool:
    """Whether the checksum of one of our own tokens fits; any other string is taken as it is."""
    if not (token.startswith(PREFIX) and len(token) == 49):
        return True
    body = token[3:43]
    return token[43:] == encode_base62(zlib.crc32(body.encode()), 6)


def hash_token(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()


def visible_prefix(token: str) -> str:
    """What its owner recognises a token by: too little to guess the rest from."""
    return token[:8] if token.startswith(PREFIX) else token[:4]


OWNER_TEMPLATE = """
    select tokens.token_id, tokens.acls, tokens.project_id as token_project, tokens.expires_at, tokens.revoked_at,
           users.username, users.fullname, users.admin,
           array(select group_name from group_members where group_members.username = users.username) as groups
    from   token_secrets
    join   tokens using (token_id)
    join   users using (username)
    where  token_secrets.hash = {hash}
"""
OWNER_OF_TOKEN = OWNER_TEMPLATE.format(hash="$1")


async def identify(db: Database, token: str | None) -> Actor:
    """Who speaks with this token; nobody without one. Raises BadToken."""
    if token is None:
        return NOBODY
    if not has_valid_checksum(token):
        raise BadToken("unknown")
    return _actor_from_row(await db.fetchrow(OWNER_OF_TOKEN, hash_token(token)))


@cache
def _identify_with_row_sql(asked: str, arguments: int) -> str:
    return f"""
        select who.*, asked.*
        from   (values (1)) as one
        left join ({OWNER_TEMPLATE.format(hash=f"${arguments + 1}")}) as who on true
        left join (select true as there, it.* from ({asked}) as it) as asked on true
    """


async def identify_with_row(
    db: Database, token: str | None, asked: str, *arguments: Any
) -> tuple[Actor | BadToken, Row | None]:
    """Who speaks with this token, or why it is no good, and the one row that `asked` finds.

    These are two questions of nearly every request, and one round trip.
    """
    if token is None or not has_valid_checksum(token):
        who = NOBODY if token is None else BadToken("unknown")
        return who, await db.fetchrow(asked, *arguments)
    found = await db.fetchrow(_identify_with_row_sql(asked, len(arguments)), *arguments, hash_token(token))
    assert found is not None  # noqa: S101 - there is one row for whatever is asked
    row = found if found["there"] else None
    try:
        return _actor_from_row(found), row
    except BadToken as bad:
        return bad, row


async def identify_with_project(db: Database, token: str | None, address: str) -> tuple[Actor | BadToken, Row | None]:
    """Who speaks with this token, or why it is no good, and the project at this address, whoever may see it."""
    return await identify_with_row(db, token, projects.BY_ADDRESS, address)


def _actor_from_row(found: Row | None) -> Actor:
    if found is None or found["token_id"] is None or found["revoked_at"] is not None:
        raise BadToken("unknown")
    if found["expires_at"] is not None and found["expires_at"] <= datetime.now(UTC):
        raise BadToken("expired")
    acls = found["acls"]
    return Actor(
        username=found["username"],
        fullname=found["fullname"],
        admin=found["admin"],
        token_id=found["token_id"],
        acls=None if acls is None else frozenset(acls),
        token_project=found["token_project"],
        groups=frozenset(found["groups"]),
    )


async def find_actor(db: Database, username: str) -> Actor:
    """Somebody with all that they may do at this moment, for what is done in their name; nobody if they are gone."""
    found = await db.fetchrow(
        """
        select username, fullname, admin,
               array(select group_name from group_members where group_members.username = users.username) as groups
        from   users
        where  username = $1
        """,
        username,
    )
    return Actor(**{**found, "groups": frozenset(found["groups"])}) if found else NOBODY


@asynccontextmanager
async def storing_token(db: Database, token_id: str, token: str) -> AsyncIterator[None]:
    """Remember the hash before the block makes the token known, and forget it if the block fails.

    A hash without its event is no token; an event without its hash would be a lost one.
    """
    if len(token) < 20:
        raise Invalid("token", "A token has 20 or more characters.")
    await db.execute(
        """
        insert into token_secrets (hash, token_id) values ($1, $2)
        on conflict (hash) do update set token_id = excluded.token_id
        """,
        hash_token(token),
        token_id,
    )
    try:
        yield
    except BaseException:  # a client that hung up included; it is raised again
        await db.execute("delete from token_secrets where token_id = $1", token_id)
        raise


async def store_password(db: Database, username: str, password: str) -> None:
    # Hashing is slow on purpose, so it happens beside the loop.
    hash = await asyncio.to_thread(PASSWORD_HASHER.hash, password)
    await db.execute(
        """
        insert into passwords (username, hash) values ($1, $2)
        on conflict (username) do update set hash = excluded.hash
        """,
        username,
        hash,
    )
