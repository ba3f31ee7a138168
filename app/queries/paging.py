"""Pagination: a page of a listing and the count of the whole, in one statement whatever the size."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select, TableClause, func, literal_column, select, text, true, union_all
from sqlalchemy.sql.selectable import Subquery

from app.database import Database, Row

MAX_OFFSET = 2**62  # rows; below PostgreSQL's limit and beyond any listing


@dataclass(frozen=True)
class Page:
    """The number of a page, counted from 1, and its size."""

    number: int = 1
    size: int = 20

    @property
    def offset(self) -> int:
        return min((self.number - 1) * self.size, MAX_OFFSET)


@dataclass(frozen=True)
class Listing:
    """The rows of one page and the total on all pages."""

    rows: list[Row]
    total: int
    page: Page

    @property
    def pages(self) -> int:
        return -(-self.total // self.page.size)


def apply_page(query: Select[Any], page: Page) -> Select[Any]:
    """Limit a query to a page. The first page, the most frequent one, adds no parameters, since a statement without
    parameters is planned only once.
    """
    if page.number == 1:
        return query.limit(literal_column(str(page.size)))
    return query.limit(page.size).offset(page.offset)


def apply_range(page: Page) -> tuple[str, list[int]]:
    """The same for statements in plain SQL: their last clause and its arguments."""
    return (f"limit {page.size}", []) if page.number == 1 else ("limit $1 offset $2", [page.size, page.offset])


@dataclass(frozen=True)
class Search:
    """A query in its order, the query that counts its rows, and the page to find."""

    query: Select[Any]
    count: Select[Any]
    page: Page


async def paginate(db: Database, query: Select[Any], count: Select[Any], page: Page) -> Listing:
    """Find one page of a query."""
    [listing] = await paginate_together(db, [Search(query, count, page)])
    return listing


async def paginate_together(db: Database, searches: list[Search]) -> list[Listing]:
    """Find pages of several queries, whose rows have the same columns, in one statement."""
    if not searches:
        return []
    parts = [_build_part(number, search) for number, search in enumerate(searches)]
    whole = parts[0] if len(parts) == 1 else union_all(*parts)
    rows = await db.select(whole.order_by(text("listing, place")))
    by_listing: list[list[Row]] = [[row for row in rows if row["listing"] == number] for number in range(len(searches))]
    return [_build_listing(rows, "place", search.page) for rows, search in zip(by_listing, searches, strict=True)]


def _build_part(number: int, search: Search) -> Select[Any]:
    """Join the page to its count, so that the count is there even if the page is empty."""
    counted, ordered = _count_total(search.count), apply_page(search.query, search.page).subquery("ordered")
    row = select(literal_column("ordered.*"), func.row_number().over().label("place")).select_from(ordered)
    columns: list[Any] = [literal_column(f"{number} as listing"), counted.c.total, literal_column("page.*")]
    return select(*columns).select_from(counted.outerjoin(row.subquery("page"), true()))


def _count_total(count: Select[Any]) -> Subquery:
    return select(count.scalar_subquery().label("total")).subquery("counted")


async def paginate_numbered(
    db: Database,
    table: TableClause,
    columns: list[Any],
    keys: Select[Any],
    count: Select[Any],
    page: Page,
    *,
    ascending: bool = False,
) -> Listing:
    """Find a page of a project's issues or pull requests, ordered by number. `keys` selects their projects and numbers.

    The keys come from an index, and only the rows of this page are read. Otherwise the subqueries in `columns` would
    also run for the rows that are skipped.
    """
    number = table.c.number
    key = apply_page(keys.order_by(number.asc() if ascending else number.desc()), page).subquery("key")
    row = (
        select(literal_column("*"))
        .select_from(table)
        .where(table.c.project_id == key.c.project_id, table.c.number == key.c.number)
        .limit(literal_column("1"))  # keeps the planner from reading the whole table for a join
        .lateral(table.name)
    )
    counted = _count_total(count)
    query = select(*columns, counted.c.total).select_from(counted.outerjoin(key.join(row, true()), true()))
    rows = await db.select(query.order_by(key.c.number.asc() if ascending else key.c.number.desc()))
    return _build_listing(rows, "number", page)


def _build_listing(rows: list[Row], key: str, page: Page) -> Listing:
    """Build a listing from rows that all carry the total; an empty page is one row without a key."""
    return Listing([row for row in rows if row[key] is not None], rows[0]["total"], page)
