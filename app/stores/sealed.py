"""The columns that hold sealed secrets: how each is sealed, and how all of them are sealed again."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from app.config import Settings
from app.database import Database, Row
from app.keyring import Keyring, KeyringError

BATCH_SIZE = 500  # rows read at once
CHECK = "secrets_check"
CHECKED_TEXT = "opened"


@dataclass(frozen=True)
class SealedColumn:
    """A text column with sealed values. `label` is the column's part of the context."""

    table: str
    keys: tuple[str, ...]  # its primary key
    name: str
    label: str


COLUMNS = (
    SealedColumn("project_secrets", ("project_id", "name"), "secret", "secret"),
    SealedColumn("subscription_endpoints", ("subscription_id",), "url", "url"),
    SealedColumn("subscription_endpoints", ("subscription_id",), "headers", "headers"),
    SealedColumn("subscription_endpoints", ("subscription_id",), "secret", "secret"),
    # A rotation of a subscription's secret copies the sealed text within the row.
    SealedColumn("subscription_endpoints", ("subscription_id",), "previous_secret", "secret"),
    SealedColumn(CHECK, ("id",), "sealed", "sealed"),
)


def build_context(table: str, label: str, *key: Any) -> str:
    """What a value is sealed for: one that is copied to another row or column does not open there."""
    return "/".join([f"{table}.{label}", *map(str, key)])


def open_keyring(settings: Settings) -> Keyring:
    """The keys that the settings contain, or those in the file that the settings name."""
    return Keyring(settings.key_file, settings.given_keys)


async def verify_keys(db: Database) -> None:
    """Raise KeyringError if the keys do not open what is in the database."""
    sealed = await db.fetchval(f"select sealed from {CHECK}")
    if sealed is not None:
        db.keyring.open(sealed, build_context(CHECK, "sealed", 1))


async def is_sealed(db: Database) -> bool:
    """Whether the database has secrets that were sealed with some key."""
    found: bool = await db.fetchval(f"select exists (select 1 from {CHECK})")
    return found


async def store_check(db: Database) -> None:
    """Store a text that only these keys open, unless there is one already."""
    sealed = db.keyring.seal(CHECKED_TEXT, build_context(CHECK, "sealed", 1))
    await db.execute(f"insert into {CHECK} (id, sealed) values (1, $1) on conflict do nothing", sealed)


async def seal_again(db: Database) -> int:
    """Seal with the newest key whatever an older one has sealed. Returns the number of values."""
    count = 0
    for column in COLUMNS:
        async for row, context in _list_values(db, column):
            if not db.keyring.is_current(row["value"]):
                count += await _replace(db, column, row, db.keyring.open(row["value"], context), context)
    return count


async def seal_plain(db: Database) -> int:
    """Seal values that were stored in clear, before there were keys. Returns the number of values.

    A value that opens is sealed already, by an upgrade that was interrupted.
    """
    count = 0
    for column in COLUMNS:
        async for row, context in _list_values(db, column):
            try:
                db.keyring.open(row["value"], context)
            except KeyringError:
                count += await _replace(db, column, row, row["value"], context)
    return count


async def _list_values(db: Database, column: SealedColumn) -> AsyncIterator[tuple[Row, str]]:
    """Yield the rows of a column that have a value, with their contexts; read in batches by their keys, as text."""
    keys = ", ".join(f"{key}::text" for key in column.keys)
    after: list[str] | None = None
    while True:
        rows = await db.fetch(
            f"""
            select   array[{keys}] as key, {column.name} as value
            from     {column.table}
            where    {column.name} is not null and ($1::text[] is null or array[{keys}] > $1)
            order by array[{keys}]
            limit    {BATCH_SIZE}
            """,
            after,
        )
        for row in rows:
            yield row, build_context(column.table, column.label, *row["key"])
        if len(rows) < BATCH_SIZE:
            return
        after = rows[-1]["key"]


async def _replace(db: Database, column: SealedColumn, row: Row, value: str, context: str) -> int:
    """Seal a value, unless it has changed since it was read: then it was sealed with the newest key."""
    conditions = " and ".join(f"{key}::text = ($1::text[])[{index}]" for index, key in enumerate(column.keys, 1))
    done = await db.execute(
        f"update {column.table} set {column.name} = $2 where {conditions} and {column.name} = $3",
        row["key"],
        db.keyring.seal(value, context),
        row["value"],
    )
    return int(done.rpartition(" ")[2])
