"""Loading and upgrading the database schema, and creating the first administrator."""

import asyncio
import uuid
from pathlib import Path

import asyncpg

from app.actor import Actor
from app.config import SettingError, Settings
from app.core import commands, credentials
from app.core.credentials import BadToken
from app.core.users import CreateUser, IssueToken
from app.database import CONNECT_TIMEOUT, DB_ERRORS, SCHEMA, Database, choose_server, database
from app.errors import Refused
from app.http.wording import describe_refusal
from app.keyring import Keyring
from app.logs import log
from app.ops import sealing
from app.ops.faults import describe_database_error
from app.queries import users
from app.stores import sealed
from events.projections.rebuild import rebuild

ROOT = Path(__file__).parent.parent.parent
SCHEMA_FILE, MIGRATIONS = ROOT / "schema.sql", ROOT / "deploy" / "migrations"
# The read tables are defined from here to the end of schema.sql.
READ_TABLES = "create schema live;\nset search_path = live, public;\n"
FORGE = Actor("forge", admin=True)
FIRST_SEALED = 7  # the schema in which secrets are sealed
LOCK = 0x706F6C79  # of concurrent migrations: an arbitrary number, but always the same


async def migrate(url: str, keyring: Keyring | None = None) -> str:
    """Load the schema, or upgrade that of an older version; return a sentence about what was done.

    The tables of `public` are upgraded step by step by deploy/migrations. The read tables are not: new ones are filled
    from the log and replace the old ones at once, so a program of the older version that still runs never sees empty
    ones. Steps are idempotent, since an interrupted one is repeated.
    The `keyring` gets a key if there is none yet. Raises SettingError if it is not the one of this database.
    """
    connection = await _connect(url)
    try:
        await connection.execute("select pg_advisory_lock($1)", LOCK)
        message = await _upgrade(connection, url, keyring)
        if keyring is not None:
            async with database(url, 1, keyring) as db:
                await sealing.prepare_keys(db)
        return message
    finally:
        await connection.close()


async def _upgrade(connection: asyncpg.Connection, url: str, keyring: Keyring | None) -> str:
    found = await _fetch_version(connection)
    if found is None:
        async with connection.transaction():
            await connection.execute(SCHEMA_FILE.read_text())
        return "Loaded the schema."
    if found == SCHEMA:
        return "The schema is already up to date."
    if found > SCHEMA:
        raise SystemExit(
            f"The schema has version {found}, this program knows {SCHEMA}. Use a newer version of Polyforge."
        )
    for step in range(found + 1, SCHEMA + 1):
        await connection.execute((MIGRATIONS / f"{step:04}.sql").read_text())
    definition = SCHEMA_FILE.read_text().partition(READ_TABLES)[2]
    raise_number = f"update public.schema_version set version = {SCHEMA}"
    async with database(url, 1, keyring) as db:
        if found < FIRST_SEALED:
            if keyring is not None:
                await sealing.prepare_keys(db)
            await sealing.seal_existing(connection, db)
        count = await rebuild(db, definition=definition, on_swap=raise_number)
    return f"Upgraded the schema from version {found} to {SCHEMA} and replayed {count} events."


async def prepare_keys(settings: Settings) -> None:
    """Make sure that the keys of the settings are those of the database. Raises SettingError."""
    async with database(settings.required_database_url(), 1, sealed.open_keyring(settings)) as db:
        await sealing.prepare_keys(db)


async def _connect(url: str) -> asyncpg.Connection:
    """Connect to the database. Raises SettingError with the cause if the URL or the server has to be changed."""
    try:
        return await asyncpg.connect(url, timeout=CONNECT_TIMEOUT, **choose_server(url))
    except (*DB_ERRORS, ValueError) as error:
        fault = describe_database_error(error)
        if fault.permanent:
            raise SettingError(fault.sentence) from None
        raise


async def wait_for_schema(url: str) -> None:
    """Wait until the database is available.

    Raises SystemExit if its schema is not that of this program, and SettingError if waiting cannot help.
    """
    while True:
        try:
            connection = await _connect(url)
            try:
                found = await _fetch_version(connection)
            finally:
                await connection.close()
        except DB_ERRORS as error:
            fault = describe_database_error(error)
            if fault.permanent:
                raise SettingError(fault.sentence) from None
            log.warning("database", error=type(error).__name__, cause=fault.sentence)
            await asyncio.sleep(1.0)
            continue
        if found != SCHEMA:
            problem = "The database has no schema" if found is None else f"The schema has version {found}"
            raise SystemExit(f"{problem}, this program needs version {SCHEMA}. Run `polyforge migrate`.")
        return


async def _fetch_version(connection: asyncpg.Connection) -> int | None:
    if await connection.fetchval("select to_regclass('public.schema_version')") is None:
        return None
    version: int = await connection.fetchval("select version from public.schema_version")
    return version


async def create_first_admin(db: Database, settings: Settings) -> str | None:
    """Create the administrator and a token unless they exist; return the token if it was generated here."""
    username, token = settings.admin_user, settings.read_admin_token()
    if await users.find(db, username) is None:
        command = CreateUser(
            username=username, fullname="Administrator", email=f"{username}@localhost.localdomain", admin=True
        )
        try:
            await commands.execute(db, FORGE, command, command_id=uuid.uuid4())
        except Refused as refused:
            raise SettingError(f"POLYFORGE_ADMIN_USER: {describe_refusal(refused)}") from None
        if token is None:
            generated = credentials.new_token()
            await issue_token(db, username, generated, "created at first start")
            return generated
    if token is not None:
        try:
            owner = await credentials.identify(db, token)
        except BadToken as bad:
            if bad.reason == "expired":
                raise SettingError("POLYFORGE_ADMIN_TOKEN: this token has expired. Set another one.") from None
            await issue_token(db, username, token, "given at start")
        else:
            if owner.username != username:
                raise SettingError(f"POLYFORGE_ADMIN_TOKEN: this token belongs to {owner.username}. Set another one.")
    return None


async def issue_token(db: Database, username: str, token: str, description: str) -> str:
    """Issue this token to a user, with all rights of the user; return its id."""
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
