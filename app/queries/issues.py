"""What the listings ask about issues."""

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
from app.queries.filters import ItemFilter, build_conditions, is_precounted
from app.queries.paging import Listing, Page, paginate_numbered
from app.queries.visibility import visible_issues
from events.tables import issue_counts, issue_files, issues

THREAD = """
    case when issues.comments > 0 then
        (select jsonb_agg(to_jsonb(said) order by said.comment_id)
         from   issue_comments as said
         where  said.project_id = issues.project_id and said.number = issues.number)
    end as thread
"""


# The numbers of those that wait for it.
BLOCKS = """
    array(select   waiting.number
          from     issues as waiting
          where    waiting.project_id = issues.project_id and waiting.depends @> array[issues.number]
          order by waiting.number) as blocks
"""


async def find(db: Database, project_id: int, key: int | str) -> Row:
    """An issue of the project by number or uid: its row alone."""
    return await _one(db, project_id, key, "issues.*")


async def find_with_thread(db: Database, project_id: int, key: int | str, *, thread: bool = True) -> Row:
    """An issue of the project by number or uid, with what waits for it and its comments."""
    return await _one(db, project_id, key, f"issues.*, {BLOCKS}, {PLACES}, {THREAD if thread else 'null as thread'}")


async def _one(db: Database, project_id: int, key: int | str, columns: str) -> Row:
    by = "number" if isinstance(key, int) else "uid"
    found = await db.fetchrow(f"select {columns} from issues where project_id = $1 and {by} = $2", project_id, key)
    if found is None:
        raise NotFound(Subject.ISSUE)
    return found


async def list_existing(db: Database, project_id: int, numbers: list[int]) -> list[int]:
    """Those of the numbers that belong to issues."""
    if not numbers:
        return []
    found: list[int] = await db.fetchval(
        "select array(select number from issues where project_id = $1 and number = any ($2) order by number)",
        project_id,
        numbers,
    )
    return found


async def for_comment(db: Database, project_id: int, number: int) -> tuple[Row, int]:
    """The issue that is to be commented on, and a fresh comment id."""
    found = await db.fetchrow(
        "select issues.*, nextval('comment_ids') as comment_id from issues where project_id = $1 and number = $2",
        project_id,
        number,
    )
    if found is None:
        raise NotFound(Subject.ISSUE)
    return found, found["comment_id"]


async def find_many(db: Database, project_id: int, keys: list[int | str]) -> dict[int | str, Row]:
    """The project's issues that these numbers and uids name, by both."""
    rows = await db.fetch(
        "select * from issues where project_id = $1 and (number = any ($2) or uid = any ($3))",
        project_id,
        [key for key in keys if isinstance(key, int)],
        [key for key in keys if isinstance(key, str)],
    )
    return {key: row for row in rows for key in (row["number"], row["uid"])}


async def list_open(db: Database, project_id: int, numbers: list[int]) -> set[int]:
    """Those of these issues that are open."""
    if not numbers:
        return set()
    rows = await db.fetch(
        "select number from issues where project_id = $1 and number = any ($2) and status = 'Open'", project_id, numbers
    )
    return {row["number"] for row in rows}


async def find_with_file(db: Database, project_id: int, name: str, username: str, *, everything: bool) -> Row | None:
    """One that came with the file and that somebody may see, a public one if there is any."""
    same = and_(issues.c.project_id == issue_files.c.project_id, issues.c.number == issue_files.c.number)
    query = (
        select(issues.c.number, issues.c.private)
        .join_from(issue_files, issues, same)
        .where(issue_files.c.project_id == project_id, issue_files.c.name == name)
        .where(visible_issues(username, everything=everything))
        .order_by(issues.c.private)
        .limit(1)
    )
    return next(iter(await db.select(query)), None)


async def list_dependencies(db: Database, project_id: int, numbers: list[int]) -> dict[int, set[int]]:
    """What each of these issues waits for, and what those wait for, and so on."""
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
    """What somebody has said of the issue; None when nothing."""
    choice: bool | None = await db.fetchval(
        "select subscribed from issue_subscriptions where project_id = $1 and number = $2 and username = $3",
        project_id,
        number,
        username,
    )
    return choice


async def find_tag(db: Database, project_id: int, tag: str) -> Row | None:
    return await db.fetchrow("select * from issue_tags where project_id = $1 and tag = $2", project_id, tag)


async def tags(db: Database, project_id: int, prefix: str) -> list[Row]:
    """The tracker's tags whose names begin like this, in any case."""
    return await db.fetch(
        """
        select   *
        from     issue_tags
        where    project_id = $1 and starts_with(lower(tag), lower($2))
        order by tag collate "C"
        """,
        project_id,
        prefix,
    )


async def find_comment(db: Database, project_id: int, number: int, comment_id: int) -> Row:
    found = await db.fetchrow(
        """
        select said.*, users.email
        from   issue_comments as said join users on users.username = said.author
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
    close_status: str | None = None
    milestones: list[str] = field(default_factory=list)
    no_stones: bool | None = None
    priority: int | None = None
    since: datetime | None = None
    number_like: str | None = None
    ascending: bool = False


def _build_milestones(wanted: IssueFilter) -> Any:
    column = issues.c.milestone
    if wanted.milestones:
        named = column == func.any(literal(wanted.milestones, ARRAY(Text)))
        return or_(named, column.is_(None)) if wanted.no_stones else named
    if wanted.no_stones is None:
        return None
    return column.is_(None) if wanted.no_stones else column.is_not(None)


def apply_filter(query: Select[Any], project_id: int | None, wanted: IssueFilter) -> Select[Any]:
    """Without a project, of all projects."""
    column = issues.c
    found = build_conditions(issues, wanted)
    if project_id is not None:
        found.append(column.project_id == project_id)
    if wanted.close_status:
        found.append(column.close_status == wanted.close_status)
    milestones = _build_milestones(wanted)
    if milestones is not None:
        found.append(milestones)
    if wanted.priority is not None:
        found.append(column.priority == wanted.priority)
    if wanted.since:
        found.append(column.updated_at >= wanted.since)
    if wanted.number_like:
        found.append(cast(column.number, Text).contains(wanted.number_like, autoescape=True))
    return query.where(and_(true(), *found))


COLUMNS: list[Any] = [literal_column("issues.*"), text(BLOCKS), text(PLACES), text(THREAD)]


async def search(
    db: Database, project_id: int, wanted: IssueFilter, page: Page, *, username: str, everything: bool
) -> Listing:
    """A page of a project's issues, each with what waits for it and its comments, newest first."""
    seen = visible_issues(username, everything=everything)
    keys = apply_filter(select(issues.c.project_id, issues.c.number), project_id, wanted).where(seen)
    count = _count(project_id, wanted, username, everything=everything)
    return await paginate_numbered(db, issues, COLUMNS, keys, count, page, ascending=wanted.ascending)


def _count(project_id: int, wanted: IssueFilter, username: str, *, everything: bool) -> Select[Any]:
    """How many there are. Those of a status are counted beforehand; what somebody may see besides is not much."""
    counting = apply_filter(select(func.count()).select_from(issues), project_id, wanted)
    if replace(wanted, status=None, not_status=None, ascending=False) != IssueFilter(status=None):
        return counting.where(visible_issues(username, everything=everything))
    kept = is_precounted(issue_counts, project_id, wanted)
    if everything:
        return kept
    kept = kept.where(issue_counts.c.private.is_(False))
    if not username:
        return kept
    theirs = counting.where(issues.c.private, visible_issues(username, everything=False))
    return select(kept.scalar_subquery() + theirs.scalar_subquery())
