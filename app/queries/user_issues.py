"""What may be asked about somebody's issues in all projects."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, func, literal_column, select, text

from app.core.access import Actor
from app.database import Database
from app.queries.boards import PLACES
from app.queries.issues import BLOCKS, THREAD, IssueFilter, narrowed
from app.queries.paging import Listing, Page, paginate
from app.queries.projects import VERSION
from app.queries.spans import Span, within
from app.queries.visibility import readable_issues
from events.tables import issues, projects

# What a listing may be ordered by, in the words of its clients.
ORDERS: dict[str, ColumnElement[Any]] = {
    "date_created": issues.c.created_at,
    "last_updated": issues.c.updated_at,
    "closed_at": issues.c.closed_at,
    "assignee": issues.c.assignee,
    "user": issues.c.author,
    "id": issues.c.number,
    "uid": issues.c.uid,
    "title": issues.c.title,
    "content": issues.c.content,
    "status": issues.c.status,
    "close_status": issues.c.close_status,
    "milestone": issues.c.milestone,
    "private": issues.c.private,
    "priority": issues.c.priority,
}
# Whole issues with what their project needs to be shown: its row, its id and its version.
COLUMNS: list[Any] = [
    literal_column("issues.*"),
    text(BLOCKS),
    text(PLACES),
    text(THREAD),
    literal_column("to_jsonb(projects)").label("project"),
    text("projects.project_id as id"),
    text(VERSION),
]


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """An issue filter with spans of time and an order."""

    issue: IssueFilter
    created: Span = (None, None)
    updated: Span = (None, None)
    closed: Span = (None, None)
    order: str = "date_created"
    ascending: bool = False


def _within(wanted: Wanted) -> ColumnElement[Any]:
    column = issues.c
    return and_(
        column.project_id == projects.c.project_id,
        *within(column.created_at, wanted.created),
        *within(column.updated_at, wanted.updated),
        *within(column.closed_at, wanted.closed),
    )


def _ordered(query: Select[Any], wanted: Wanted) -> Select[Any]:
    column = ORDERS[wanted.order]
    # The highest priority has the lowest number.
    rising = wanted.ascending != (wanted.order == "priority")
    sorted_by = column.asc() if rising else column.desc()
    last = issues.c.number.asc() if wanted.ascending else issues.c.number.desc()
    return query.order_by(sorted_by.nulls_last(), issues.c.project_id, last)


async def search(db: Database, wanted: Wanted, page: Page, actor: Actor) -> Listing:
    """A page of the issues that the actor may read, each with its comments and its project."""
    both = issues.join(projects, issues.c.project_id == projects.c.project_id)

    def narrow(query: Select[Any]) -> Select[Any]:
        return narrowed(query.select_from(both), None, wanted.issue).where(_within(wanted), readable_issues(actor))

    query = _ordered(narrow(select(*COLUMNS)), wanted)
    return await paginate(db, query, narrow(select(func.count())), page)
