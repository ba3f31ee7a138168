"""Things that are written twice agree: tables, projections, events, routes and their documentation."""

import json
import re
from collections.abc import AsyncIterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter
from sqlalchemy import TableClause

from app.config import Settings
from app.core.access import ACTIONS
from app.database import DIALECT, Database, database
from app.dialects import kallithea, rhodecode
from app.server import application
from events import tables
from events.event import TYPES, Event
from events.projections import PROJECTIONS, projection_sql
from tests import routes
from tests.routes import render_page

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "events.md").read_text()
WRITES = re.compile(r"(?:insert into|update|delete from)\s+(?!set\b)(\w+)")


@pytest.fixture
async def db(database_url: str) -> AsyncIterator[Database]:
    async with database(database_url, 1) as db:
        yield db


async def test_the_declared_columns_exist_in_the_schema(db: Database) -> None:
    named = [table for table in vars(tables).values() if isinstance(table, TableClause)]
    assert named
    for table in named:
        rows = await db.fetch(
            """
            select attname as name, format_type(atttypid, atttypmod) as type
            from   pg_attribute
            where  attrelid = $1::text::regclass and attnum > 0 and not attisdropped
            """,
            f"live.{table.name}",
        )
        real = {row["name"]: row["type"] for row in rows}
        for column in table.columns:
            assert real.get(column.name) == column.type.compile(DIALECT).lower(), f"{table.name}.{column.name}"


async def test_every_projection_is_valid_sql(db: Database) -> None:
    async with db.acquire() as connection:
        for event_type in PROJECTIONS:
            statements, _ = projection_sql(event_type)
            await connection.prepare(f"with event as (select * from events where position = $1){statements} select 1")


async def test_every_read_table_is_written_by_a_projection(db: Database) -> None:
    rows = await db.fetch("select tablename, schemaname from pg_tables where schemaname in ('live', 'public')")
    written = {name for each in PROJECTIONS.values() for statement in each for name in WRITES.findall(statement)}
    assert {row["tablename"] for row in rows if row["schemaname"] == "live"} == written


def documented() -> dict[str, str]:
    """Return the section of docs/events.md for each event type."""
    parts = re.split(r"^### (.+)$", PAGE, flags=re.MULTILINE)[1:]
    return dict(zip(parts[::2], (part.split("\n## ")[0] for part in parts[1::2]), strict=True))


def test_every_event_has_its_section_on_the_page_and_its_projection() -> None:
    assert documented().keys() == TYPES.keys()
    assert PROJECTIONS.keys() == TYPES.keys()


@pytest.mark.parametrize("event", TYPES.values(), ids=lambda event: event.type)
def test_the_page_documents_exactly_the_fields_of_an_event(event: type[Event]) -> None:
    names = [field.name for field in fields(event)]  # type: ignore[arg-type]
    assert re.findall(r"^\| `(\w+)` \|", documented()[event.type], flags=re.MULTILINE) == names
    assert example(event).keys() == set(names)


def example(event: type[Event]) -> dict[str, Any]:
    """Return the example data of an event on the page."""
    found = re.search(r"```json\n(.+?)```", documented()[event.type], flags=re.DOTALL)
    assert found is not None
    shown: dict[str, Any] = json.loads(found[1])
    return shown


@pytest.mark.parametrize("event", TYPES.values(), ids=lambda event: event.type)
def test_the_example_on_the_page_is_valid_and_has_the_documented_subject(event: type[Event]) -> None:
    made = TypeAdapter(event).validate_json(json.dumps(example(event)), strict=True)
    subject = re.search(r"Subject:\s+`([^`]+)`", documented()[event.type])
    assert subject is not None
    anything = "".join(f"{re.escape(fixed)}.+" for fixed in re.split("[A-Z_]+", subject[1])).removesuffix(".+")
    assert re.fullmatch(anything, made.stream), made.stream


def test_every_route_declares_an_action_and_every_action_is_used(settings: Settings) -> None:
    declared = {(each.route.method, each.prefix + each.pattern): each.route.action for each in routes.list_calls()}
    served = {(route.method, route.resource.canonical) for route in application(settings).router.routes()}
    assert len(served) > 50
    assert {route for route in served if route[0] != "HEAD"} == declared.keys()
    methods = {each.action for names in (kallithea.dialect, rhodecode.dialect) for each in names.methods.values()}
    core = "".join(path.read_text() for path in (ROOT / "app" / "core").glob("*.py") if path.name != "access.py")
    assert ACTIONS.keys() <= set(declared.values()) | methods | set(re.findall(r'"([a-z-]+)"', core))


def test_the_page_of_calls_lists_each_of_them() -> None:
    """`python -m tests.routes` updates it."""
    assert routes.PAGE.read_text() == render_page()
