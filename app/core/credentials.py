"""Tokens and passwords: create, hash and verify them. Secrets never enter the log.

A token is `pf_`, 40 characters of base62 and a 6-character checksum (CRC-32 in base62), so that a mistyped or
truncated one is recognised without asking the database, and scanners can find leaked ones.
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
from app.queries import projects
from app.stores import credentials as store

T = TypeVar("T")
ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
PREFIX = "pf_"
MIN_TOKEN_LENGTH = 20  # characters of a token that a person has chosen
PASSWORD_HASHER = argon2.PasswordHasher()
MAX_HASHES = 4  # passwords hashed at the same time by a process; each takes 64 MiB and a core
_hashing: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = WeakKeyDictionary()


class BadToken(Exception):
    """`reason` is 'unknown' or 'expired'."""

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


async def identify(db: Database, token: str | None) -> Actor:
    """Who speaks with this token; nobody without one. Raises BadToken."""
    if token is None:
        return NOBODY
    if not has_valid_checksum(token):
        raise BadToken("unknown")
    return _actor_from_row(await store.find_owner(db, hash_token(token)))


async def identify_with_row(
    db: Database, token: str | None, asked: str, *arguments: Any
) -> tuple[Actor | BadToken, Row | None]:
    """Who speaks with this token, or why it is no good, and the one row that `asked` finds.

    These are two questions of nearly every request, and one round trip.
    """
    if token is None or not has_valid_checksum(token):
        who = NOBODY if token is None else BadToken("unknown")
        return who, await db.fetchrow(asked, *arguments)
    found = await store.find_owner_with_row(db, hash_token(token), asked, *arguments)
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
    found = await store.find_user(db, username)
    return Actor(**{**found, "groups": frozenset(found["groups"])}) if found else NOBODY


@asynccontextmanager
async def storing_token(db: Database, token_id: str, token: str) -> AsyncIterator[None]:
    """Remember the hash before the block makes the token known, and forget it if the block fails.

    A hash without its event is no token; an event without its hash would be a lost one.
    """
    if len(token) < MIN_TOKEN_LENGTH:
        raise Invalid(Subject.TOKEN_LENGTH, "token", limit=MIN_TOKEN_LENGTH)
    await store.store_token_hash(db, hash_token(token), token_id)
    try:
        yield
    except BaseException:  # a client that hung up included; it is raised again
        await store.delete_token_hash(db, token_id)
        raise


async def store_password(db: Database, username: str, password: str) -> None:
    await store.store_password_hash(db, username, await _in_hashing_thread(PASSWORD_HASHER.hash, password))


async def verify_password(db: Database, username_or_email: str, password: str) -> Actor:
    """The user who logs in with this password. Raises BadPassword.

    An unknown user takes as long as a known one, so that the time does not reveal who has an account. A hash with other
    parameters than the present ones is replaced.
    """
    # Postgres does not accept NUL and half characters, which are in no name.
    found = await store.find_user_with_password(db, username_or_email) if username_or_email.isprintable() else None
    stored = found["password_hash"] if found else None
    # Half characters cannot be encoded; stored passwords have none, so these never match.
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
    """A hash that no password matches, with the present parameters, so that verifying it takes as long."""
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
