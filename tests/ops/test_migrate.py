"""Upgrades of the database schema."""

import asyncpg
import pytest

from app.database import SCHEMA
from app.ops import migrate
from tests.conftest import Client, Forge

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
    drop index open_pushes_of_a_project;
    alter table open_pushes drop column begun_at, drop column failures, alter column due_at drop default;
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
    assert (await forge.nobody.get("/readyz"))[0] == 200


async def test_a_database_of_a_newer_version_is_not_changed(database_url: str) -> None:
    connection = await asyncpg.connect(database_url)
    await connection.execute("update schema_version set version = 999")
    with pytest.raises(SystemExit, match="newer version"):
        await migrate.migrate(database_url)
    assert await connection.fetchval("select version from schema_version") == 999
    await connection.close()
