"""Queries of a user's pull requests in all projects: those they opened and those they can act on."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, false, func, literal_column, select, text

from app.actor import Actor
from app.database import Database
from app.queries.filters import Span, in_range
from app.queries.paging import Listing, Page, paginate
from app.queries.projects import WHOLE_AS_JSON, build_member_condition
from app.queries.pull_requests import SOURCE, THREAD
from app.queries.visibility import WRITERS, readable_projects
from events.tables import projects, pull_requests

# A pull request with its comments, its target project and its source project.
COLUMNS: list[Any] = [
    literal_column("pull_requests.*"),
    text(THREAD),
    text(f"{WHOLE_AS_JSON} as target"),
    text(SOURCE),
]


@dataclass(frozen=True, kw_only=True)
class UserPullRequestFilter:
    """A filter of a user's pull requests. `status` None stands for any."""

    author: str | None = None
    actionable_by: str | None = None
    status: str | None = "Open"
    created: Span = (None, None)
    updated: Span = (None, None)
    closed: Span = (None, None)


def _role_condition(wanted: UserPullRequestFilter) -> ColumnElement[Any]:
    """The condition for pull requests that the user opened, or that others opened in projects the user may write to."""
    column = pull_requests.c
    if wanted.author is not None:
        return column.author == wanted.author
    if wanted.actionable_by is None:
        return false()
    writable = build_member_condition(wanted.actionable_by, WRITERS)
    return and_(column.author != wanted.actionable_by, column.project_id.in_(writable))


def _apply_filter(query: Select[Any], wanted: UserPullRequestFilter, actor: Actor) -> Select[Any]:
    column = pull_requests.c
    query = query.select_from(pull_requests.join(projects, column.project_id == projects.c.project_id))
    conditions = [
        *in_range(column.created_at, wanted.created),
        *in_range(column.last_updated, wanted.updated),
        *in_range(column.closed_at, wanted.closed),
    ]
    if wanted.status:
        conditions.append(column.status == wanted.status)
    return query.where(_role_condition(wanted), readable_projects(actor), *conditions)


async def search(db: Database, wanted: UserPullRequestFilter, page: Page, actor: Actor) -> Listing:
    """Find a page of pull requests in projects that the actor may read, newest first, each with its comments."""
    column = pull_requests.c
    query = _apply_filter(select(*COLUMNS), wanted, actor)
    query = query.order_by(column.created_at.desc(), column.project_id.desc(), column.number.desc())
    return await paginate(db, query, _apply_filter(select(func.count()), wanted, actor), page)
