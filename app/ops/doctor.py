"""The checks of `polyforge doctor`."""

import asyncio
import os
from collections.abc import Awaitable, Callable

import asyncpg
from redis.asyncio import Redis
from redis.exceptions import RedisError

from app.config import Settings
from app.database import DB_ERRORS, SCHEMA, Database, database
from app.git import store
from app.http.health import MAX_LAG
from app.queries import projects, refs
from events.log import oldest_unnumbered

MAX_LISTED = 20  # projects whose refs differ

Check = Callable[[Settings], Awaitable[str | None]]  # returns what is wrong and what to do; None if all is well


async def run_checks(settings: Settings, report: Callable[[str], None]) -> bool:
    """Run all checks, report one line on each, and return whether all of them passed."""
    checks: dict[str, Check] = {
        "queue": _check_queue,
        "storage": _check_storage,
        "database": lambda settings: _with_database(settings, _check_schema),
        "relay": lambda settings: _with_database(settings, _check_relay),
        "work": lambda settings: _with_database(settings, _check_work),
        "refs": lambda settings: _with_database(settings, lambda db: _check_refs(db, settings)),
    }
    faults = []
    for name, check in checks.items():
        fault = await _run_check(check, settings)
        report(f"{name:10} {fault or 'ok'}")
        faults.append(fault)
    return not any(faults)


async def _run_check(check: Check, settings: Settings) -> str | None:
    try:
        return await check(settings)
    except asyncpg.UndefinedTableError:
        return "The schema is missing or outdated. Run `polyforge migrate`."
    except (*DB_ERRORS, RedisError) as error:
        return f"Not reachable ({type(error).__name__}). Check that it is running and that its URL is right."
    except SystemExit as missing:  # a setting that is required and not set
        return str(missing)


async def _with_database(settings: Settings, check: Callable[[Database], Awaitable[str | None]]) -> str | None:
    async with database(settings.required_database_url(), 2) as db:
        return await check(db)


async def _check_queue(settings: Settings) -> str | None:
    async with Redis.from_url(settings.required_redis_url()) as redis:
        await redis.ping()
    return None


async def _check_storage(settings: Settings) -> str | None:
    directory = settings.repositories
    if os.access(directory, os.W_OK):
        return None
    return f"{directory} does not exist or is not writable. Check POLYFORGE_DATA."


async def _check_schema(db: Database) -> str | None:
    if await db.fetchval("select to_regclass('public.schema_version')") is None:
        return "The database is empty. Run `polyforge migrate`."
    version = await db.fetchval("select version from schema_version")
    if version == SCHEMA:
        return None
    return f"The schema has version {version}, this program needs {SCHEMA}. Run `polyforge migrate`."


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


async def _check_refs(db: Database, settings: Settings) -> str | None:
    """Compare the refs in the log with the refs on disk."""
    differing = []
    for project_id in await projects.list_ids(db):
        repo_path = store.repository_path(settings.repositories, project_id)
        logged = {
            ref: target for ref, (target, _) in (await refs.list_known(db, project_id)).items() if target != refs.ZEROS
        }
        if not repo_path.exists():
            differing.append(f"{project_id} (no directory)")
            continue
        try:
            state = await asyncio.to_thread(store.read_state, repo_path)
        except store.STORAGE_ERRORS as error:
            differing.append(f"{project_id} (unreadable: {type(error).__name__})")
            continue
        if {"HEAD": state.head, **{ref: target for ref, target, _ in state.refs}} != logged:
            differing.append(str(project_id))
    if not differing:
        return None
    listed = ", ".join(differing[:MAX_LISTED]) + (", …" if len(differing) > MAX_LISTED else "")
    return (
        f"Refs in the log and on disk differ in {len(differing)} projects, by id: {listed}. "
        "A push to a project brings its log up to date. Restore missing directories from a backup."
    )
