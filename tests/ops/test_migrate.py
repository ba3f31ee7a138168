"""Upgrades of the database schema."""

import asyncio
import re

import asyncpg
import pytest

from app.database import SCHEMA
from app.ops import migrate
from events.projections import rebuild
from tests.conftest import Client, Forge

RELEASED = migrate.MIGRATIONS / "released.sql"
SHAPE = """
    select   table_schema, table_name, column_name, data_type, is_nullable
    from     information_schema.columns
    where    table_schema in ('public', 'live')
    union all
    select   schemaname, tablename, indexname, indexdef, ''
    from     pg_indexes
    where    schemaname in ('public', 'live')
    order by 1, 2, 3
"""
DOWNGRADE_TO_1 = """
    drop index open_pushes_of_a_project, due_work;
    alter table work drop column project_id, drop column failures;
    alter table open_pushes drop column begun_at, drop column failures, drop column pull_request,
        alter column due_at drop default;
    alter table open_pushes rename column due_at to lease_until;
    drop table project_secrets, mirrors;
    drop table subscription_endpoints, delivery_attempts, deliveries, lanes, circuits;
    alter table idempotency_keys drop column command_id;
    drop index idempotency_keys_by_age;
    drop table unnumbered;
    alter table work drop column irrevocable;
    create index events_by_transaction on events (txid, position);
    alter table live.issues drop column uid;
    update schema_version set version = 1;
"""


async def test_an_older_database_is_upgraded_and_keeps_all_events(forge: Forge, nethack: Client) -> None:
    await nethack.post("/nethack/new_issue", title="t", issue_content="c")
    shape = await forge.db.fetch(SHAPE)
    events = await forge.numbered()
    url = forge.settings.required_database_url()
    async with forge.db.acquire() as connection:
        await connection.execute(DOWNGRADE_TO_1)
    assert (await forge.nobody.get("/readyz"))[1]["checks"]["database"].endswith("run polyforge migrate")
    assert await migrate.migrate(url) == f"Upgraded the schema from version 1 to {SCHEMA} and replayed {events} events."
    assert await forge.db.fetch(SHAPE) == shape
    assert "already" in await migrate.migrate(url)
    assert (await nethack.pagure("/nethack/issue/1"))[1]["title"] == "t"
    async with asyncio.timeout(20):  # the relay was locked out for a moment
        while (await forge.nobody.get("/readyz"))[0] != 200:
            await asyncio.sleep(0.05)


async def test_tokens_and_rows_are_found_throughout_an_upgrade(
    forge: Forge, nethack: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What an older release, which is still running, would see at each event that is replayed."""
    original, seen = rebuild._project_event, 0

    async def project_event(db: asyncpg.Connection, position: int, event_type: str) -> None:
        nonlocal seen
        # The last ones are replayed while the tables are locked.
        if event_type != "repository.created":
            assert (await nethack.json("GET", "/api/0/user/alice"))[1]["repos"]
            assert (await nethack.json("POST", "/api/0/-/whoami"))[0] == 200
            seen += 1
        await original(db, position, event_type)

    await forge.numbered()
    async with forge.db.acquire() as connection:
        await connection.execute(DOWNGRADE_TO_1)
    monkeypatch.setattr(rebuild, "_project_event", project_event)
    await migrate.migrate(forge.settings.required_database_url())
    assert seen > 3
    assert (await nethack.json("GET", "/api/0/user/alice"))[1]["repos"]


async def test_a_process_with_outdated_tables_asks_to_come_back_later(forge: Forge, nethack: Client) -> None:
    """What a newer version has renamed or removed is there again when the process has been replaced too."""
    assert (await nethack.pagure("/nethack"))[0] == 200
    async with forge.db.acquire() as connection:
        await connection.execute("alter table live.projects rename to repositories")
    for path in ("/api/0/nethack", "/api/0/projects"):
        async with forge.session.get(forge.url + path, headers={"Authorization": f"token {nethack.token}"}) as answer:
            assert (path, answer.status, answer.headers.get("Retry-After")) == (path, 503, "1")


async def test_a_database_of_the_last_release_becomes_one_of_today(database_url: str) -> None:
    """The steps after the last release, and no others, lead from its tables to those of schema.sql."""
    connection = await asyncpg.connect(database_url)
    today = await connection.fetch(SHAPE)
    await connection.execute("drop schema live cascade; drop schema public cascade; create schema public")
    await connection.execute("set search_path = public")
    await connection.execute(RELEASED.read_text())
    await connection.close()
    await migrate.migrate(database_url)
    connection = await asyncpg.connect(database_url)
    assert await connection.fetch(SHAPE) == today
    assert await connection.fetchval("select version from public.schema_version") == SCHEMA
    await connection.close()


def test_a_schema_that_differs_from_the_last_release_has_a_higher_number() -> None:
    """RELEASED is replaced by schema.sql when a version is released, and at no other time."""
    [version, *_] = re.findall(r"^## ([0-9.]+)", (migrate.ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    released, today = RELEASED.read_text(), migrate.SCHEMA_FILE.read_text()
    assert f"the last release, {version}," in released.splitlines()[0]
    assert find_number(today) == SCHEMA
    assert (strip_comments(released) == strip_comments(today)) == (find_number(released) == SCHEMA)
    assert find_number(released) <= SCHEMA
    steps = sorted(int(path.stem) for path in migrate.MIGRATIONS.glob("[0-9]*.sql"))
    assert steps == list(range(2, SCHEMA + 1))


def strip_comments(schema: str) -> str:
    return " ".join(re.sub("--.*", "", schema).split())


def find_number(schema: str) -> int:
    return int(re.findall(r"insert into schema_version values \((\d+)\)", schema)[0])


async def test_a_database_of_a_newer_version_is_not_changed(database_url: str) -> None:
    connection = await asyncpg.connect(database_url)
    await connection.execute("update schema_version set version = 999")
    with pytest.raises(SystemExit, match="newer version"):
        await migrate.migrate(database_url)
    assert await connection.fetchval("select version from schema_version") == 999
    await connection.close()
