"""Bringing a database to the schema of this program, and its first administrator into it."""

import uuid
from pathlib import Path

import asyncpg

from app.config import Settings
from app.core import commands, credentials
from app.core.access import Actor
from app.core.credentials import BadToken
from app.core.users import CreateUser, IssueToken
from app.database import Database
from app.health import SCHEMA
from app.queries import users

SCHEMA_FILE = Path(__file__).parent.parent / "schema.sql"
FORGE = Actor("forge", admin=True)
LOCK = 0x706F6C79  # any number, as long as it is always this one


async def migrate(url: str) -> bool:
    """Load the schema into an empty database; True when it was. An older one has no way here yet."""
    connection = await asyncpg.connect(url)
    try:
        async with connection.transaction():
            await connection.execute("select pg_advisory_xact_lock($1)", LOCK)
            if await connection.fetchval("select to_regclass('public.schema_version')") is not None:
                found = await connection.fetchval("select version from public.schema_version")
                if found != SCHEMA:
                    raise SystemExit(f"The database has schema {found}, this program knows {SCHEMA}.")
                return False
            await connection.execute(SCHEMA_FILE.read_text())
            return True
    finally:
        await connection.close()


async def first_admin(db: Database, settings: Settings) -> str | None:
    """Make the administrator and a token, as far as they are not there; returns the token if it was made up here."""
    username = settings.admin_user
    token = settings.admin_token.get_secret_value() if settings.admin_token else None
    if await users.find(db, username) is None:
        wish = CreateUser(
            username=username, fullname="Administrator", email=f"{username}@localhost.localdomain", admin=True
        )
        await commands.execute(db, FORGE, wish, command_id=uuid.uuid4())
        if token is None:
            made = credentials.new_token()
            await issue(db, username, made, "made at first start")
            return made
    if token is not None:
        try:
            await credentials.identify(db, token)
        except BadToken:
            await issue(db, username, token, "given at start")
    return None


async def issue(db: Database, username: str, token: str, description: str) -> str:
    """Give a user this token, with every right the user has."""
    token_id = str(uuid.uuid4())
    wish = IssueToken(
        token_id=token_id,
        username=username,
        prefix=credentials.prefix(token),
        description=description,
        acls=None,
        token_project=None,
        expires_at=None,
    )
    async with credentials.keeping(db, token_id, token):
        await commands.execute(db, FORGE, wish, command_id=uuid.uuid4())
    return token_id
