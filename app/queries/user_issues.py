"""Queries of a user's issues in all projects."""

from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, func, literal_column, select, text

from app.actor import Actor
from app.database import Database
from app.queries.boards import PLACES
from app.queries.filters import Span, in_range
from app.queries.issues import BLOCKS, THREAD, IssueFilter, apply_filter
from app.queries.paging import Listing, Page, Search, paginate_together
from app.queries.projects import WHOLE_AS_JSON
from app.queries.visibility import readable_issues
from events.tables import issues, projects

# The columns that a listing may be ordered by, under their API names.
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
# Whole issues, each with its project.
COLUMNS: list[Any] = [
    literal_column("issues.*"),
    text(BLOCKS),
    text(PLACES),
    text(THREAD),
    text(f"{WHOLE_AS_JSON} as project"),
]


@dataclass(frozen=True, kw_only=True)
class UserIssueFilter:
    """An issue filter with time spans and an order."""

    issue: IssueFilter
    created: Span = (None, None)
    updated: Span = (None, None)
    closed: Span = (None, None)
    order: str = "date_created"
    ascending: bool = False


def build_role_condition(username: str, role: str, wanted: UserIssueFilter) -> UserIssueFilter:
    """Limit a filter to issues in which the user has this role, 'author' or 'assignee'."""
    condition: dict[str, Any] = {role: username}
    return replace(wanted, issue=replace(wanted.issue, **condition))


def _date_conditions(wanted: UserIssueFilter) -> ColumnElement[Any]:
    column = issues.c
    return and_(
        column.project_id == projects.c.project_id,
        *in_range(column.created_at, wanted.created),
        *in_range(column.updated_at, wanted.updated),
        *in_range(column.closed_at, wanted.closed),
    )


def _apply_order(query: Select[Any], wanted: UserIssueFilter) -> Select[Any]:
    column = ORDERS[wanted.order]
    # The highest priority has the lowest number.
    rising = wanted.ascending != (wanted.order == "priority")
    primary = column.asc() if rising else column.desc()
    tie_breaker = issues.c.number.asc() if wanted.ascending else issues.c.number.desc()
    return query.order_by(primary.nulls_last(), issues.c.project_id, tie_breaker)


async def search(db: Database, wanted: list[UserIssueFilter], page: Page, actor: Actor) -> list[Listing]:
    """Find the same page for each filter: issues that the actor may read, each with its comments and its project."""
    return await paginate_together(db, [_build_search(each, page, actor) for each in wanted])


def _build_search(wanted: UserIssueFilter, page: Page, actor: Actor) -> Search:
    joined = issues.join(projects, issues.c.project_id == projects.c.project_id)

    def narrow(query: Select[Any]) -> Select[Any]:
        return apply_filter(query.select_from(joined), None, wanted.issue).where(
            _date_conditions(wanted), readable_issues(actor)
        )

    return Search(_apply_order(narrow(select(*COLUMNS)), wanted), narrow(select(func.count())), page)
