"""Secrets: made, hashed and checked here; they never enter the log.

A token is `pf_`, 40 characters of base62 and a 6-character checksum (CRC-32 in base62), so that a mistyped
or truncated one is told apart without asking the database, and scanners can find leaked ones.
"""

import asyncio
import hashlib
import secrets
import string
import zlib
from datetime import UTC, datetime

import argon2

from app.core.access import NOBODY, Actor
from app.database import Database
from app.errors import Invalid

ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
MARK = "pf_"
HASHER = argon2.PasswordHasher()


class BadToken(Exception):
    """`reason` is 'unknown' or 'expired'."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def base62(number: int, width: int) -> str:
    digits = []
    for _ in range(width):
        number, digit = divmod(number, 62)
        digits.append(ALPHABET[digit])
    return "".join(reversed(digits))


def new_token() -> str:
    body = "".join(secrets.choice(ALPHABET) for _ in range(40))
    return f"{MARK}{body}{base62(zlib.crc32(body.encode()), 6)}"


def well_formed(token: str) -> bool:
    """Whether the checksum of one of our own tokens fits; any other string is taken as it is."""
    if not (token.startswith(MARK) and len(token) == 49):
        return True
    body = token[3:43]
    return token[43:] == base62(zlib.crc32(body.encode()), 6)


def hashed(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()


def prefix(token: str) -> str:
    """What its owner recognises a token by: too little to guess the rest from."""
    return token[:8] if token.startswith(MARK) else token[:4]


KNOWN_AS = """
    select tokens.token_id, tokens.acls, tokens.project_id, tokens.expires_at, tokens.revoked_at,
           users.username, users.fullname, users.admin
    from   token_secrets
    join   tokens using (token_id)
    join   users using (username)
    where  token_secrets.hash = $1
"""


async def identify(db: Database, token: str | None) -> Actor:
    """Who speaks with this token; nobody without one. Raises BadToken."""
    if token is None:
        return NOBODY
    if not well_formed(token):
        raise BadToken("unknown")
    found = await db.fetchrow(KNOWN_AS, hashed(token))
    if found is None or found["revoked_at"] is not None:
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
        token_project=found["project_id"],
    )


async def keep_token(db: Database, token_id: str, token: str) -> None:
    """Remember the hash, before the event that makes the token known."""
    if len(token) < 20:
        raise Invalid("token", "A token has 20 or more characters.")
    await db.execute(
        "insert into token_secrets (hash, token_id) values ($1, $2) on conflict do nothing",
        hashed(token),
        token_id,
    )


async def forget_token(db: Database, token_id: str) -> None:
    """Take a hash back whose event was refused."""
    await db.execute("delete from token_secrets where token_id = $1", token_id)


async def keep_password(db: Database, username: str, password: str) -> None:
    # Hashing is slow on purpose, so it happens beside the loop.
    hash = await asyncio.to_thread(HASHER.hash, password)
    await db.execute(
        """
        insert into passwords (username, hash) values ($1, $2)
        on conflict (username) do update set hash = excluded.hash
        """,
        username,
        hash,
    )
