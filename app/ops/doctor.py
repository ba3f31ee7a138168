"""What `polyforge doctor` looks at, and what it advises."""

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


async def examine(settings: Settings, say: Callable[[str], None]) -> bool:
    """Say of each part whether it is well, and what to do if it is not. True when all are."""
    well = True

    async def look(name: str, check: Callable[[], Awaitable[str | None]]) -> None:
        nonlocal well
        try:
            fault = await check()
        except asyncpg.UndefinedTableError:
            fault = "has no schema, or an old one. Run polyforge migrate."
        except (*DB_ERRORS, RedisError) as error:
            fault = f"does not answer ({type(error).__name__}). Is it running, and is its URL right?"
        except SystemExit as missing:
            fault = str(missing)
        well = well and fault is None
        say(f"{name:10} {fault or 'ok'}")

    async def queue() -> str | None:
        async with Redis.from_url(settings.required_redis_url()) as redis:
            await redis.ping()
        return None

    async def storage() -> str | None:
        repo_path = settings.repositories
        return (
            None
            if os.access(repo_path, os.W_OK)
            else f"{repo_path} is missing or cannot be written to. Check POLYFORGE_DATA."
        )

    await look("queue", queue)
    await look("storage", storage)

    async def with_database(check: Callable[[Database], Awaitable[str | None]]) -> str | None:
        async with database(settings.required_database_url(), 2) as db:
            return await check(db)

    await look("database", lambda: with_database(_schema))
    await look("relay", lambda: with_database(_relay))
    await look("work", lambda: with_database(_work))
    await look("log=disk", lambda: with_database(lambda db: _agreement(db, settings)))
    return well


async def _schema(db: Database) -> str | None:
    if await db.fetchval("select to_regclass('public.schema_version')") is None:
        return "is empty. Run polyforge migrate."
    found = await db.fetchval("select version from schema_version")
    return None if found == SCHEMA else f"has schema {found}, this program wants {SCHEMA}. Run polyforge migrate."


async def _relay(db: Database) -> str | None:
    if not await db.fetchval("select until > now() from leases where name = 'relay'"):
        return "No relay leads. Run polyforge relay."
    async with db.acquire() as connection:
        behind = await oldest_unnumbered(connection)
    if behind < MAX_LAG:
        return None
    return f"The oldest event has waited for its number for {behind:.0f} s. Look for a transaction that does not end."


async def _work(db: Database) -> str | None:
    row = await db.fetchrow(
        """
        select (select count(*) from work where done_at is null and due_at < now() - interval '1 minute') as late,
               (select count(*) from open_pushes where lease_until < now() - interval '1 minute') as pushes
        """
    )
    assert row is not None  # noqa: S101 - a select without a from has one row
    if not row["late"] and not row["pushes"]:
        return None
    return (
        f"{row['late']} pieces of work and {row['pushes']} pushes wait for more than a minute. Does polyforge work run?"
    )


async def _agreement(db: Database, settings: Settings) -> str | None:
    """Whether the refs in the log are the refs on disk."""
    differ = []
    for project_id in await projects.list_ids(db):
        repo_path = store.repository_path(settings.repositories, project_id)
        known = {
            ref: target for ref, (target, _) in (await refs.list_known(db, project_id)).items() if target != refs.ZEROS
        }
        if not repo_path.exists():
            differ.append(f"{project_id} (no directory)")
            continue
        try:
            state = await asyncio.to_thread(store.read_state, repo_path)
        except store.STORAGE_ERRORS as broken:
            differ.append(f"{project_id} (unreadable: {type(broken).__name__})")
            continue
        if {"HEAD": state.head, **{ref: target for ref, target, _ in state.refs}} != known:
            differ.append(str(project_id))
    if not differ:
        return None
    return (
        f"differ for projects {', '.join(differ[:20])}. "
        "A push to one brings its log up to date; one without a directory has to be restored."
    )
