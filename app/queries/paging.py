"""Page and Listing: a page of a listing with the count of all of it, in one statement whatever its size."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select, TableClause, func, literal_column, select, text, true, union_all
from sqlalchemy.sql.selectable import Subquery

from app.database import Database, Row

MAX_OFFSET = 2**62  # what PostgreSQL can skip; there is nothing there


@dataclass(frozen=True)
class Page:
    """Which page, counted from 1, and how long."""

    number: int = 1
    size: int = 20

    @property
    def offset(self) -> int:
        return min((self.number - 1) * self.size, MAX_OFFSET)


@dataclass(frozen=True)
class Listing:
    """One page of rows and how many there are on all pages."""

    rows: list[Row]
    total: int
    page: Page

    @property
    def pages(self) -> int:
        return -(-self.total // self.page.size)


def apply_page(query: Select[Any], page: Page) -> Select[Any]:
    """The first page, which is asked for most, brings no parameters: without any a statement is planned only once."""
    if page.number == 1:
        return query.limit(literal_column(str(page.size)))
    return query.limit(page.size).offset(page.offset)


def apply_range(page: Page) -> tuple[str, list[int]]:
    """The same for statements that are written out: their last clause and its arguments."""
    return (f"limit {page.size}", []) if page.number == 1 else ("limit $1 offset $2", [page.size, page.offset])


@dataclass(frozen=True)
class Search:
    """A page of what `query` finds, in its order; `count` is the statement that counts."""

    query: Select[Any]
    count: Select[Any]
    page: Page


async def paginate(db: Database, query: Select[Any], count: Select[Any], page: Page) -> Listing:
    [found] = await paginate_together(db, [Search(query, count, page)])
    return found


async def paginate_together(db: Database, wanted: list[Search]) -> list[Listing]:
    """Pages of several listings, whose rows have the same columns, in one statement."""
    if not wanted:
        return []
    parts = [_build_part(number, each) for number, each in enumerate(wanted)]
    whole = parts[0] if len(parts) == 1 else union_all(*parts)
    rows = await db.select(whole.order_by(text("listing, place")))
    listed: list[list[Row]] = [[row for row in rows if row["listing"] == number] for number in range(len(wanted))]
    return [_build_listing(those, "place", each.page) for those, each in zip(listed, wanted, strict=True)]


def _build_part(number: int, wanted: Search) -> Select[Any]:
    """The page beside the count, which is there even when the page is empty."""
    counted, ordered = _count(wanted.count), apply_page(wanted.query, wanted.page).subquery("ordered")
    row = select(literal_column("ordered.*"), func.row_number().over().label("place")).select_from(ordered)
    columns: list[Any] = [literal_column(f"{number} as listing"), counted.c.total, literal_column("page.*")]
    return select(*columns).select_from(counted.outerjoin(row.subquery("page"), true()))


def _count(count: Select[Any]) -> Subquery:
    return select(count.scalar_subquery().label("total")).subquery("counted")


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
    key = apply_page(wanted.order_by(number.asc() if ascending else number.desc()), page).subquery("key")
    row = (
        select(literal_column("*"))
        .select_from(table)
        .where(table.c.project_id == key.c.project_id, table.c.number == key.c.number)
        .limit(literal_column("1"))  # or the planner might read the whole table and join it
        .lateral(table.name)
    )
    counted = _count(count)
    query = select(*columns, counted.c.total).select_from(counted.outerjoin(key.join(row, true()), true()))
    rows = await db.select(query.order_by(key.c.number.asc() if ascending else key.c.number.desc()))
    return _build_listing(rows, "number", page)


def _build_listing(rows: list[Row], key: str, page: Page) -> Listing:
    """The count stands in every row, and alone in the only one of an empty page."""
    return Listing([row for row in rows if row[key] is not None], rows[0]["total"], page)
