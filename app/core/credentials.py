"""Create, hash and verify tokens and passwords. Secrets never enter the log.

A generated token is `pf_`, 40 characters of base62 and a 6-character checksum (CRC-32 in base62), by which scanners
recognise leaked ones. The checksum is not asked of a token that is used: an administrator's own may look like it.
"""

import asyncio
import hashlib
import secrets
import string
import zlib
from base64 import b64encode
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import argon2

from app.actor import NOBODY, Actor
from app.database import Database, Row
from app.errors import Invalid, Subject
from app.stores import credentials as store

T = TypeVar("T")
ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
PREFIX = "pf_"
MIN_TOKEN_LENGTH = 20  # characters of a token that a person has chosen
PASSWORD_HASHER = argon2.PasswordHasher()
MAX_HASHES = 4  # passwords hashed at the same time by a process; each takes 64 MiB and a core
_hashing: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = WeakKeyDictionary()


class BadToken(Exception):
    """`reason` is 'unknown', 'expired', 'missing', 'malformed', 'scheme' or 'another user's'."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class BadPassword(Exception):
    """The login is unknown, or has no password or another one; it does not say which."""


def encode_base62(number: int, width: int) -> str:
    digits = []
    for _ in range(width):
        number, digit = divmod(number, 62)
        digits.append(ALPHABET[digit])
    return "".join(reversed(digits))


def new_token() -> str:
    body = "".join(secrets.choice(ALPHABET) for _ in range(40))
    return f"{PREFIX}{body}{encode_base62(zlib.crc32(body.encode()), 6)}"


def hash_token(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()


def visible_prefix(token: str) -> str:
    """Return the first characters, which identify a token to its owner but do not help to guess the rest."""
    return token[:8] if token.startswith(PREFIX) else token[:4]


async def identify(db: Database, token: str | None) -> Actor:
    """Return the owner of the token, or NOBODY without one. Raises BadToken."""
    if token is None:
        return NOBODY
    return _actor_from_row(await store.find_owner(db, hash_token(token)))


async def identify_with_row(
    db: Database, token: str | None, query: str, *arguments: Any
) -> tuple[Actor | BadToken, Row | None]:
    """Return the actor or the reason for refusing the token, and the row that the query finds.

    Nearly every request needs both; this takes one round trip.
    """
    if token is None:
        return NOBODY, await db.fetchrow(query, *arguments)
    found = await store.find_owner_with_row(db, hash_token(token), query, *arguments)
    row = found if found["there"] else None
    try:
        return _actor_from_row(found), row
    except BadToken as bad:
        return bad, row


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
        token_expires_at=found["expires_at"],
        groups=frozenset(found["groups"]),
    )


async def find_actor(db: Database, username: str) -> Actor:
    """Return a user as an actor with current rights; NOBODY if the user is unknown."""
    found = await store.find_user(db, username)
    return Actor(**{**found, "groups": frozenset(found["groups"])}) if found else NOBODY


@asynccontextmanager
async def storing_token(db: Database, token_id: str, token: str) -> AsyncIterator[None]:
    """Store the hash before the block records the token, and delete it if the block fails.

    A hash without an event is harmless; an event without a hash would be a token that does not work.
    """
    if len(token) < MIN_TOKEN_LENGTH:
        raise Invalid(Subject.TOKEN_LENGTH, "token", limit=MIN_TOKEN_LENGTH)
    await store.store_token_hash(db, hash_token(token), token_id)
    try:
        yield
    except BaseException:  # including the cancellation when a client disconnects
        await store.delete_token_hash(db, token_id)
        raise


async def store_first_password(db: Database, username: str, password: str) -> None:
    """Store the password of a new user. One who has a password by now keeps it: requests may be retried late."""
    await store.store_first_password_hash(db, username, await _in_hashing_thread(PASSWORD_HASHER.hash, password))


async def verify_password(db: Database, username_or_email: str, password: str) -> Actor:
    """Return the user who logs in with this password. Raises BadPassword.

    An unknown user takes as long as a known one, so that the time does not reveal who has an account. A hash with
    outdated parameters is replaced.
    """
    # Postgres rejects NUL and surrogates, and no name contains them.
    found = await store.find_user_with_password(db, username_or_email) if username_or_email.isprintable() else None
    stored = found["password_hash"] if found else None
    # Surrogates cannot be encoded otherwise; stored passwords contain none, so these never match.
    given = password.encode(errors="surrogatepass")
    matches = await _in_hashing_thread(_matches, stored or _build_unmatched_hash(), given)
    if found is None or stored is None or not matches:
        raise BadPassword
    if PASSWORD_HASHER.check_needs_rehash(stored):
        fresh = await _in_hashing_thread(PASSWORD_HASHER.hash, given)
        await store.replace_password_hash(db, found["username"], stored, fresh)
    return Actor(
        username=found["username"],
        fullname=found["fullname"],
        admin=found["admin"],
        groups=frozenset(found["groups"]),
    )


def _matches(stored: str, password: bytes) -> bool:
    try:
        return PASSWORD_HASHER.verify(stored, password)
    except (argon2.exceptions.VerifyMismatchError, argon2.exceptions.InvalidHashError):
        return False


def _build_unmatched_hash() -> str:
    """Build a hash that no password matches, with the current parameters, so that verifying it takes as long."""
    hasher = PASSWORD_HASHER
    salt, digest = (
        b64encode(secrets.token_bytes(length)).decode().rstrip("=") for length in (hasher.salt_len, hasher.hash_len)
    )
    cost = f"m={hasher.memory_cost},t={hasher.time_cost},p={hasher.parallelism}"
    return f"$argon2id$v={argon2.low_level.ARGON2_VERSION}${cost}${salt}${digest}"


async def _in_hashing_thread(work: Callable[..., T], *arguments: Any) -> T:
    """Run argon2, which is slow on purpose, in a thread, at most MAX_HASHES times at once."""
    loop = asyncio.get_running_loop()
    async with _hashing.setdefault(loop, asyncio.Semaphore(MAX_HASHES)):
        return await asyncio.to_thread(work, *arguments)
