"""The keys of an instance, and the upgrade that seals what earlier versions stored in clear."""

import hashlib
import re
from uuid import UUID

import asyncpg
import orjson

from app.config import SettingError
from app.core.urls import HOST_IN_URL
from app.database import Database
from app.keyring import Keyring, KeyringError, UnusableKeys
from app.stores import deliveries, sealed

KEYS, KEY_FILE = "POLYFORGE_SECRETS_KEYS", "POLYFORGE_SECRETS_KEY_FILE"
KEPT_KEYS = 2  # in the file after a rotation: the new one, and its predecessor for requests that were on their way
WEB_HOOK = re.compile(r"https?://[^/?#\s]", re.IGNORECASE)
MAX_URL_LENGTH = 2048

SETTINGS_WITH_URLS = """
    select position, project_id, command_id, data #>> '{settings,web_hooks}' as urls
    from   events
    where  type = 'project.configured' and jsonb_typeof(data #> '{settings,web_hooks}') = 'string'
    order by position
"""
# Events are never changed, but what they must not contain is taken out of them.
LOGIN = r"((?:https?|ftp|git|wss?)://)[^/?#@[:space:]\"\\]+@"
SSH_PASSWORD = r"(ssh://[^/?#@:[:space:]\"\\]+):[^/?#@[:space:]\"\\]*@"  # noqa: S105 - a pattern
CLEAN = f"regexp_replace(regexp_replace({{0}}::text, '{LOGIN}', '\\1', 'gi'), '{SSH_PASSWORD}', '\\1@', 'gi')::jsonb"
CLEANED = {  # the parts of events, and of their commands, in which everybody could read logins
    ("project.created", "create-project"): ("url",),
    ("plugin.installed", "install-plugin"): ("fields",),
    ("commit.flagged", "flag-commit"): ("url",),
    ("issue.updated", "set-custom-fields"): ("changed,custom_fields", "previous,custom_fields", "fields"),
}


async def prepare_keys(db: Database) -> None:
    """Make sure that the keys are those of this database, which gets a fresh one if nothing in it was ever sealed.

    Raises SettingError.
    """
    keyring = db.keyring
    try:
        if not keyring.exists():
            if await sealed.is_sealed(db):
                raise SettingError(
                    f"{KEY_FILE}: {keyring.file} is missing. It holds the keys that open the secrets in the database; "
                    f"restore it, or set {KEYS}."
                )
            _create_key(keyring)
        await sealed.store_check(db)
        await sealed.verify_keys(db)
    except KeyringError as error:
        raise SettingError(describe(keyring, error)) from None


def _create_key(keyring: Keyring) -> None:
    try:
        keyring.create()
    except OSError as error:
        raise SettingError(f"{KEY_FILE}: cannot create {keyring.file}: {error.strerror}.") from None


async def find_fault(db: Database) -> str | None:
    """What is wrong with the keys, and what to do; None if all is well."""
    keyring = db.keyring
    try:
        await sealed.verify_keys(db)
        if keyring.is_exposed():
            return f"{keyring.file} can be read by other users of this machine. Run `chmod 600 {keyring.file}`."
    except KeyringError as error:
        return describe(keyring, error)
    except OSError as error:
        return f"{KEY_FILE}: {keyring.file} cannot be read: {error.strerror}. Restore it from a backup."
    return None


def describe(keyring: Keyring, error: KeyringError) -> str:
    """Say in one sentence which setting is wrong, and why."""
    setting, keys = (KEYS, "these keys") if keyring.given else (KEY_FILE, f"the keys in {keyring.file}")
    if isinstance(error, UnusableKeys):
        return f"{setting}: {error}"
    return f"{setting}: {keys} do not open the secrets in the database: {error}"


async def rotate(db: Database) -> tuple[int, int]:
    """Seal everything with a new key, and return the numbers of values and of keys that are left.

    Keys that come from the settings are rotated there; then the first of them is the new one.
    """
    await sealed.verify_keys(db)
    if not db.keyring.given:
        db.keyring.add_key()
    # What a process wrote with the old key meanwhile is found by another round.
    count = added = await sealed.seal_again(db)
    while added:
        added = await sealed.seal_again(db)
        count += added
    if not db.keyring.given:
        db.keyring.drop_keys(KEPT_KEYS)
    return count, db.keyring.count_keys()


async def seal_existing(connection: asyncpg.Connection, db: Database) -> None:
    """Seal what was stored in clear, and take URLs and logins out of the log. It can be interrupted and repeated."""
    await sealed.seal_plain(db)
    for row in await connection.fetch(SETTINGS_WITH_URLS):
        await _move_web_hooks(connection, db, row)
    async with connection.transaction():
        await connection.execute("alter table events disable trigger events_are_never_changed")
        for (event_type, command), parts in CLEANED.items():
            for part in parts:
                await _clean(connection, "events", "data", "type", event_type, part)
                await _clean(connection, "commands", "body", "name", command, part)
        await connection.execute("alter table events enable trigger events_are_never_changed")


async def _move_web_hooks(connection: asyncpg.Connection, db: Database, row: asyncpg.Record) -> None:
    """Move the URLs in an event of a project's setting to where those of subscriptions are."""
    found = _parse_old_setting(row["project_id"], row["urls"])
    await deliveries.store_hooks(db, row["project_id"], found)
    value = orjson.dumps([{"id": str(key), "host": _find_host(url)} for key, url in found.items()] or None).decode()
    async with connection.transaction():
        await connection.execute("alter table events disable trigger events_are_never_changed")
        for statement, key in (
            ("update events set data = jsonb_set(data, '{settings,web_hooks}', $2) where position = $1", "position"),
            ("update commands set body = jsonb_set(body, '{settings,web_hooks}', $2) where id = $1", "command_id"),
        ):
            await connection.execute(statement, row[key], value)
        await connection.execute("alter table events enable trigger events_are_never_changed")


def _parse_old_setting(project_id: int, text: str) -> dict[UUID, str]:
    """The web hooks that earlier versions made of this setting, with the ids that they gave them."""
    urls = sorted({line.strip(" \t\r\f\v") for line in text.split("\n") if len(line) <= MAX_URL_LENGTH})
    return {
        UUID(hashlib.sha256(f"{project_id} {url}".encode()).hexdigest()[:32]): url
        for url in urls
        if WEB_HOOK.match(url)
    }


def _find_host(url: str) -> str:
    found = HOST_IN_URL.match(url)
    return found["host"].lower() if found else ""


async def _clean(connection: asyncpg.Connection, table: str, column: str, key: str, name: str, part: str) -> None:
    value = f"{column} #> '{{{part}}}'"
    await connection.execute(
        f"update {table} set {column} = jsonb_set({column}, '{{{part}}}', {CLEAN.format(f'({value})')}) "
        f"where {key} = $1 and {value} is not null and ({value})::text ~* '://[^/?#[:space:]]*@'",
        name,
    )
