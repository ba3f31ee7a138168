"""Page and Listing: a page of a listing, in at most two statements whatever its size."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select

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


async def paginate(db: Database, query: Select[Any], count: Select[Any], page: Page) -> Listing:
    """The page of `query`; `count` is the statement that counts, and part of the same round trip."""
    paged = query.add_columns(count.scalar_subquery().label("total")).limit(page.size).offset(page.offset)
    rows = await db.select(paged)
    if rows:
        return Listing(rows, rows[0]["total"], page)
    total = 0 if page.number == 1 else (await db.select(count))[0][0]
    return Listing([], total, page)
