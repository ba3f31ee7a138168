"""Page and Listing: a page of a listing, in at most two statements whatever its size."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select, TableClause, literal_column, select, true

from app.database import Database, Row

FARTHEST = 2**62  # what PostgreSQL can skip; there is nothing there


@dataclass(frozen=True)
class Page:
    """Which page, counted from 1, and how long."""

    number: int = 1
    size: int = 20

    @property
    def offset(self) -> int:
        return min((self.number - 1) * self.size, FARTHEST)


@dataclass(frozen=True)
class Listing:
    """One page of rows and how many there are on all pages."""

    rows: list[Row]
    total: int
    page: Page

    @property
    def pages(self) -> int:
        return -(-self.total // self.page.size)


def paged(query: Select[Any], page: Page) -> Select[Any]:
    """The first page, which is asked for most, brings no parameters: without any a statement is planned only once."""
    if page.number == 1:
        return query.limit(literal_column(str(page.size)))
    return query.limit(page.size).offset(page.offset)


def spanned(page: Page) -> tuple[str, list[int]]:
    """The same for statements that are written out: their last clause and its arguments."""
    return (f"limit {page.size}", []) if page.number == 1 else ("limit $1 offset $2", [page.size, page.offset])


async def paginate(db: Database, query: Select[Any], count: Select[Any], page: Page) -> Listing:
    """The page of `query`; `count` is the statement that counts, and part of the same round trip."""
    rows = await db.select(paged(query.add_columns(count.scalar_subquery().label("total")), page))
    return await _listing(db, rows, count, page)


async def paginate_numbered(
    db: Database,
    table: TableClause,
    columns: list[Any],
    wanted: Select[Any],
    count: Select[Any],
    page: Page,
    *,
    ascending: bool = False,
) -> Listing:
    """The page of a project's issues or pull requests by number. `wanted` selects their projects and numbers.

    These come from an index; rows are read, each by its key, for this page alone. Otherwise all that they show would be
    put together for those that are skipped as well.
    """
    number = table.c.number
    key = paged(wanted.order_by(number.asc() if ascending else number.desc()), page).subquery("key")
    row = (
        select(literal_column("*"))
        .select_from(table)
        .where(table.c.project_id == key.c.project_id, table.c.number == key.c.number)
        .limit(literal_column("1"))  # or the planner might read the whole table and join it
        .lateral(table.name)
    )
    query = select(*columns, count.scalar_subquery().label("total")).select_from(key.join(row, true()))
    rows = await db.select(query.order_by(key.c.number.asc() if ascending else key.c.number.desc()))
    return await _listing(db, rows, count, page)


async def _listing(db: Database, rows: list[Row], count: Select[Any], page: Page) -> Listing:
    if rows:
        return Listing(rows, rows[0]["total"], page)
    total = 0 if page.number == 1 else (await db.select(count))[0][0]
    return Listing([], total, page)
