"""Queries of issues, their comments and their files."""

from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ARRAY,
    Select,
    Text,
    and_,
    cast,
    func,
    literal,
    literal_column,
    or_,
    select,
    text,
    true,
)

from app.database import Database, Row
from app.errors import NotFound, Subject
from app.queries.boards import PLACES
from app.queries.filters import ItemFilter, build_conditions, select_stored_count
from app.queries.paging import Listing, Page, paginate_numbered
from app.queries.visibility import visible_issues
from events.tables import issue_counts, issue_files, issues

THREAD = """
    case when issues.comments > 0 then
        (select jsonb_agg(to_jsonb(each) order by each.comment_id)
         from   issue_comments as each
         where  each.project_id = issues.project_id and each.number = issues.number)
    end as thread
"""


# The numbers of the issues that depend on this one.
BLOCKS = """
    array(select   waiting.number
          from     issues as waiting
          where    waiting.project_id = issues.project_id and waiting.depends @> array[issues.number]
          order by waiting.number) as blocks
"""


async def find(db: Database, project_id: int, key: int | str) -> Row:
    """Find an issue of the project by number or uid; its row alone. Raises NotFound."""
    return await _find_columns(db, project_id, key, "issues.*")


async def find_with_thread(db: Database, project_id: int, key: int | str, *, thread: bool = True) -> Row:
    """Find an issue by number or uid, with its dependents, its boards and, if asked for, its comments. Raises
    NotFound.
    """
    columns = f"issues.*, {BLOCKS}, {PLACES}, {THREAD if thread else 'null as thread'}"
    return await _find_columns(db, project_id, key, columns)


async def _find_columns(db: Database, project_id: int, key: int | str, columns: str) -> Row:
    by = "number" if isinstance(key, int) else "uid"
    found = await db.fetchrow(f"select {columns} from issues where project_id = $1 and {by} = $2", project_id, key)
    if found is None:
        raise NotFound(Subject.ISSUE)
    return found


async def list_existing(db: Database, project_id: int, numbers: list[int]) -> list[int]:
    """List those of the numbers that belong to issues."""
    if not numbers:
        return []
    existing: list[int] = await db.fetchval(
        "select array(select number from issues where project_id = $1 and number = any ($2) order by number)",
        project_id,
        numbers,
    )
    return existing


async def for_comment(db: Database, project_id: int, number: int) -> tuple[Row, int]:
    """Find an issue to comment on, and reserve a comment id. Raises NotFound."""
    found = await db.fetchrow(
        "select issues.*, nextval('comment_ids') as comment_id from issues where project_id = $1 and number = $2",
        project_id,
        number,
    )
    if found is None:
        raise NotFound(Subject.ISSUE)
    return found, found["comment_id"]


async def find_many(db: Database, project_id: int, keys: list[int | str]) -> dict[int | str, Row]:
    """Find the project's issues with these numbers and uids; the result has each under both."""
    rows = await db.fetch(
        "select * from issues where project_id = $1 and (number = any ($2) or uid = any ($3))",
        project_id,
        [key for key in keys if isinstance(key, int)],
        [key for key in keys if isinstance(key, str)],
    )
    return {key: row for row in rows for key in (row["number"], row["uid"])}


async def list_open(db: Database, project_id: int, numbers: list[int]) -> set[int]:
    """List those of these issues that are open."""
    if not numbers:
        return set()
    rows = await db.fetch(
        "select number from issues where project_id = $1 and number = any ($2) and status = 'Open'", project_id, numbers
    )
    return {row["number"] for row in rows}


async def find_with_file(db: Database, project_id: int, name: str, username: str, *, everything: bool) -> Row | None:
    """Find an issue that has the file attached and that the user may see, preferably a public one."""
    same_issue = and_(issues.c.project_id == issue_files.c.project_id, issues.c.number == issue_files.c.number)
    query = (
        select(issues.c.number, issues.c.private)
        .join_from(issue_files, issues, same_issue)
        .where(issue_files.c.project_id == project_id, issue_files.c.name == name)
        .where(visible_issues(username, everything=everything))
        .order_by(issues.c.private)
        .limit(1)
    )
    return next(iter(await db.select(query)), None)


async def list_dependencies(db: Database, project_id: int, numbers: list[int]) -> dict[int, set[int]]:
    """List the dependencies of these issues and, recursively, of their dependencies."""
    rows = await db.fetch(
        """
        with recursive reached as (
            select number, depends from issues where project_id = $1 and number = any ($2)
            union
            select issues.number, issues.depends
            from   reached join issues on issues.project_id = $1 and issues.number = any (reached.depends)
        )
        select * from reached
        """,
        project_id,
        numbers,
    )
    return {row["number"]: set(row["depends"]) for row in rows}


async def is_subscribed(db: Database, project_id: int, number: int, username: str) -> bool | None:
    """A user's choice to be notified about the issue; None if they made none."""
    choice: bool | None = await db.fetchval(
        "select subscribed from issue_subscriptions where project_id = $1 and number = $2 and username = $3",
        project_id,
        number,
        username,
    )
    return choice


async def find_tag(db: Database, project_id: int, tag: str) -> Row | None:
    return await db.fetchrow("select * from issue_tags where project_id = $1 and tag = $2", project_id, tag)


async def find_comment(db: Database, project_id: int, number: int, comment_id: int) -> Row:
    found = await db.fetchrow(
        """
        select issue_comments.*, users.email
        from   issue_comments join users on users.username = issue_comments.author
        where  comment_id = $3 and project_id = $1 and number = $2
        """,
        project_id,
        number,
        comment_id,
    )
    if found is None:
        raise NotFound(Subject.COMMENT)
    return found


@dataclass(frozen=True, kw_only=True)
class IssueFilter(ItemFilter):
    """A filter of issues, with their order. `no_stones` selects issues without a milestone."""

    close_status: str | None = None
    milestones: list[str] = field(default_factory=list)
    no_stones: bool | None = None
    priority: int | None = None
    since: datetime | None = None
    number_like: str | None = None
    ascending: bool = False


def _milestone_condition(wanted: IssueFilter) -> Any:
    column = issues.c.milestone
    if wanted.milestones:
        has_milestone = column == func.any(literal(wanted.milestones, ARRAY(Text)))
        return or_(has_milestone, column.is_(None)) if wanted.no_stones else has_milestone
    if wanted.no_stones is None:
        return None
    return column.is_(None) if wanted.no_stones else column.is_not(None)


def apply_filter(query: Select[Any], project_id: int | None, wanted: IssueFilter) -> Select[Any]:
    """Add the filter's conditions to a query. Without a project the query covers all projects."""
    column = issues.c
    conditions = build_conditions(issues, wanted)
    if project_id is not None:
        conditions.append(column.project_id == project_id)
    if wanted.close_status:
        conditions.append(column.close_status == wanted.close_status)
    milestone = _milestone_condition(wanted)
    if milestone is not None:
        conditions.append(milestone)
    if wanted.priority is not None:
        conditions.append(column.priority == wanted.priority)
    if wanted.since:
        conditions.append(column.updated_at >= wanted.since)
    if wanted.number_like:
        conditions.append(cast(column.number, Text).contains(wanted.number_like, autoescape=True))
    return query.where(and_(true(), *conditions))


COLUMNS: list[Any] = [literal_column("issues.*"), text(BLOCKS), text(PLACES), text(THREAD)]


async def search(
    db: Database, project_id: int, wanted: IssueFilter, page: Page, *, username: str, everything: bool
) -> Listing:
    """Find a page of a project's issues, newest first, each with its dependents, boards and comments."""
    visible = visible_issues(username, everything=everything)
    keys = apply_filter(select(issues.c.project_id, issues.c.number), project_id, wanted).where(visible)
    count = _count(project_id, wanted, username, everything=everything)
    return await paginate_numbered(db, issues, COLUMNS, keys, count, page, ascending=wanted.ascending)


def _count(project_id: int, wanted: IssueFilter, username: str, *, everything: bool) -> Select[Any]:
    """Build the query that counts matching issues.

    A filter on the status alone uses the stored counts, plus the private issues of the user, which are few.
    """
    query = apply_filter(select(func.count()).select_from(issues), project_id, wanted)
    if replace(wanted, status=None, not_status=None, ascending=False) != IssueFilter(status=None):
        return query.where(visible_issues(username, everything=everything))
    stored = select_stored_count(issue_counts, project_id, wanted)
    if everything:
        return stored
    stored = stored.where(issue_counts.c.private.is_(False))
    if not username:
        return stored
    own_private = query.where(issues.c.private, visible_issues(username, everything=False))
    return select(stored.scalar_subquery() + own_private.scalar_subquery())
