"""Bringing a database to the schema of this program, and its first administrator into it."""

import asyncio
import uuid
from pathlib import Path

import asyncpg

from app.actor import Actor
from app.config import Settings
from app.core import commands, credentials
from app.core.credentials import BadToken
from app.core.users import CreateUser, IssueToken
from app.database import CONNECT, DB_ERRORS, SCHEMA, Database, database
from app.logs import log
from app.queries import users
from events.projections.rebuild import rebuild

ROOT = Path(__file__).parent.parent.parent
SCHEMA_FILE, MIGRATIONS = ROOT / "schema.sql", ROOT / "deploy" / "migrations"
READ_TABLES = "create schema live;"  # from here to the end of schema.sql
FORGE = Actor("forge", admin=True)
LOCK = 0x706F6C79  # any number, as long as it is always this one


async def migrate(url: str) -> str:
    """Bring the database to the schema of this program; returns a sentence about what was done.

    What is true, the tables of `public`, is changed step by step by deploy/migrations. The read tables are not: they
    are made anew, empty, and told the log again. A step may be taken twice, should the first have been cut short.
    """
    connection = await asyncpg.connect(url)
    try:
        await connection.execute("select pg_advisory_lock($1)", LOCK)
        found = await _version(connection)
        if found is None:
            async with connection.transaction():
                await connection.execute(SCHEMA_FILE.read_text())
            return "The schema was loaded."
        if found == SCHEMA:
            return "The schema is the present one already."
        if found > SCHEMA:
            raise SystemExit(f"The database has schema {found}, this program knows {SCHEMA}. Use a newer program.")
        for step in range(found + 1, SCHEMA + 1):
            await connection.execute((MIGRATIONS / f"{step:04}.sql").read_text())
        async with connection.transaction():
            await connection.execute("drop schema live cascade")
            await connection.execute("".join(SCHEMA_FILE.read_text().partition(READ_TABLES)[1:]))
        async with database(url, 1) as db:
            events = await rebuild(db)
        await connection.execute("update public.schema_version set version = $1", SCHEMA)
        return f"The schema went from {found} to {SCHEMA}; {events} events were told again."
    finally:
        await connection.close()


async def wait_for_schema(url: str) -> None:
    """Return once the database answers and has the schema of this program. Ends the program if it has another."""
    while True:
        try:
            connection = await asyncpg.connect(url, timeout=CONNECT)
            try:
                found = await _version(connection)
            finally:
                await connection.close()
        except DB_ERRORS as error:
            log.warning("database", error=type(error).__name__)
            await asyncio.sleep(1.0)
            continue
        if found != SCHEMA:
            has = "no schema" if found is None else f"schema {found}"
            raise SystemExit(f"The database has {has}, this program wants {SCHEMA}. Run polyforge migrate.")
        return


async def _version(connection: asyncpg.Connection) -> int | None:
    if await connection.fetchval("select to_regclass('public.schema_version')") is None:
        return None
    version: int = await connection.fetchval("select version from public.schema_version")
    return version


async def first_admin(db: Database, settings: Settings) -> str | None:
    """Make the administrator and a token, as far as they are not there; returns the token if it was made up here."""
    username = settings.admin_user
    token = settings.admin_token.get_secret_value() if settings.admin_token else None
    if await users.find(db, username) is None:
        command = CreateUser(
            username=username, fullname="Administrator", email=f"{username}@localhost.localdomain", admin=True
        )
        await commands.execute(db, FORGE, command, command_id=uuid.uuid4())
        if token is None:
            made = credentials.new_token()
            await issue_token(db, username, made, "made at first start")
            return made
    if token is not None:
        try:
            await credentials.identify(db, token)
        except BadToken:
            await issue_token(db, username, token, "given at start")
    return None


async def issue_token(db: Database, username: str, token: str, description: str) -> str:
    """Give a user this token, with every right the user has."""
    token_id = str(uuid.uuid4())
    command = IssueToken(
        token_id=token_id,
        username=username,
        prefix=credentials.visible_prefix(token),
        description=description,
        acls=None,
        token_project=None,
        expires_at=None,
    )
    async with credentials.storing_token(db, token_id, token):
        await commands.execute(db, FORGE, command, command_id=uuid.uuid4())
    return token_id
