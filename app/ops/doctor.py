"""The checks of `polyforge doctor`."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import asyncpg
from redis.exceptions import RedisError

from app.config import SettingError, Settings
from app.core import ref_comparison
from app.database import DB_ERRORS, SCHEMA, Database, database, find_refused_writes
from app.disk.folders import list_folders, probe_folder
from app.http.health import MAX_LAG
from app.ops import sealing
from app.ops.faults import Fault, describe_database_error, describe_queue_error
from app.stores.sealed import open_keyring
from app.valkey import open_client
from events.log import oldest_unnumbered

SOMETHING_WRONG, WRONG_SETTING = 1, 2  # exit codes
NAME_WIDTH = 12  # characters of the longest name of a check
MAX_LISTED = 20  # projects whose refs differ

Check = Callable[[Settings], Awaitable[str | None]]  # returns what is wrong and what to do; None if all is well


async def run_checks(settings: Settings, report: Callable[[str, str], None], *, repair: bool = False) -> int:
    """Run all checks and report one line on each; return the exit code of `polyforge doctor`.

    With `repair`, refs that differ are recorded in the log as they are on disk.
    """
    checks: dict[str, Check] = {
        "queue": _check_queue,
        **{name: _check_folder(folder) for name, folder in list_folders(settings).items()},
        "database": lambda settings: _with_database(settings, _check_schema),
        "secrets": _check_secrets,
        "relay": lambda settings: _with_database(settings, _check_relay),
        "work": lambda settings: _with_database(settings, _check_work),
        "refs": lambda settings: _with_database(settings, lambda db: _check_refs(db, settings, repair)),
    }
    code = 0
    for name, check in checks.items():
        fault = await _run_check(check, settings)
        report(name, fault.sentence if fault else "ok")
        if fault is not None:
            code = max(code, WRONG_SETTING if fault.permanent else SOMETHING_WRONG)
    return code


async def _run_check(check: Check, settings: Settings) -> Fault | None:
    try:
        sentence = await check(settings)
    except asyncpg.UndefinedTableError:
        return Fault("The schema is missing or outdated. Run `polyforge migrate`.")
    except SettingError as wrong:
        return Fault(str(wrong), permanent=True)
    except RedisError as error:
        return describe_queue_error(error)
    except DB_ERRORS as error:
        return describe_database_error(error)
    return Fault(sentence) if sentence else None


async def _with_database(settings: Settings, check: Callable[[Database], Awaitable[str | None]]) -> str | None:
    url = settings.required_database_url()
    try:
        async with database(url, 2) as db:
            return await check(db)
    except ValueError as error:  # of a URL that cannot be read
        raise SettingError(describe_database_error(error).sentence) from None


async def _check_queue(settings: Settings) -> str | None:
    await require_queue(settings)
    return None


async def require_queue(settings: Settings) -> None:
    """Ask the queue for an answer. Raises RedisError or OSError, and SettingError if waiting cannot help."""
    url = settings.required_redis_url()
    try:
        async with open_client(url) as redis:
            await redis.ping()
    except (RedisError, OSError, ValueError) as error:
        fault = describe_queue_error(error)
        if fault.permanent:
            raise SettingError(fault.sentence) from None
        raise


def _check_folder(folder: Path) -> Check:
    async def check(settings: Settings) -> str | None:
        problem = await asyncio.to_thread(probe_folder, folder)
        return f"{problem}. Check POLYFORGE_DATA and the owner of the folder." if problem else None

    return check


async def _check_schema(db: Database) -> str | None:
    if await db.fetchval("select to_regclass('public.schema_version')") is None:
        return "The database is empty. Run `polyforge migrate`."
    version = await db.fetchval("select version from schema_version")
    if version == SCHEMA:
        problem = await find_refused_writes(db)
        return f"The database refuses to write: {problem}." if problem else None
    return f"The schema has version {version}, this program needs {SCHEMA}. Run `polyforge migrate`."


async def _check_secrets(settings: Settings) -> str | None:
    async with database(settings.required_database_url(), 1, open_keyring(settings)) as db:
        return await sealing.find_fault(db)


async def _check_relay(db: Database) -> str | None:
    if not await db.fetchval("select until > now() from leases where name = 'relay'"):
        return "No relay is active. Start `polyforge relay`."
    async with db.acquire() as connection:
        age = await oldest_unnumbered(connection)
    if age < MAX_LAG:
        return None
    return f"The oldest event has been waiting for its number for {age:.0f} s. Look for a long-running transaction."


async def _check_work(db: Database) -> str | None:
    row = await db.fetchrow(
        """
        select (select count(*) from work where done_at is null and due_at < now() - interval '1 minute') as late,
               (select count(*) from open_pushes where begun_at < now() - interval '1 minute') as pushes
        """
    )
    assert row is not None  # noqa: S101 - a select without a from has one row
    if not row["late"] and not row["pushes"]:
        return None
    return (
        f"{row['late']} jobs and {row['pushes']} pushes have been waiting for more than a minute. "
        "Check that `polyforge work` is running."
    )


async def _check_refs(db: Database, settings: Settings, repair: bool) -> str | None:
    """Compare the refs in the log with the refs on disk; with `repair` record in the log what is on disk."""
    differing = [each async for each in ref_comparison.find_differences(db, settings.repositories)]
    left = [each for each in differing if not each.mendable]
    if repair:
        for each in differing:
            if each.mendable and not await ref_comparison.mend(db, settings.repositories, each.project_id):
                left.append(each)
    else:
        left = differing
    if not left:
        return None
    names = [f"{each.project_id} ({each.fault})" if each.fault else str(each.project_id) for each in left]
    listed = ", ".join(names[:MAX_LISTED]) + (", …" if len(names) > MAX_LISTED else "")
    advice = "Restore missing directories from a backup."
    if any(each.mendable for each in left):
        advice = f"`polyforge doctor --repair` brings the log up to date. {advice}"
    return f"Refs in the log and on disk differ in {len(left)} projects, by id: {listed}. {advice}"
