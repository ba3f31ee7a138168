"""What the addresses and listings ask about projects."""

from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy import ARRAY, ColumnElement, Select, Text, func, literal, or_, select, text

from app.database import Database, Row
from app.errors import NotFound, Subject
from app.queries.paging import Listing, Page, Search, apply_range, paginate_together
from app.queries.visibility import PUBLIC, WRITERS
from events.tables import access, group_members, groups, projects

# A fork shows its parent, and that its own: the whole line comes with the row.
LINE = """
    (select jsonb_agg(to_jsonb(line) order by array_position(projects.ancestors, line.project_id))
     from   projects as line
     where  line.project_id = any (projects.ancestors))
"""
# What a row shows is its own and its ancestors': whoever wrote any of them made another version of it.
VERSION = """
    projects.xmin::text || case when projects.parent_id is not null then (
        select coalesce(string_agg('/' || line.xmin::text, '' order by line.project_id), '')
        from   projects as line
        where  line.project_id = any (projects.ancestors)
    ) else '' end as version
"""
COLUMNS = f"projects.*, case when parent_id is not null then {LINE} end as line"
# The same as one value, for rows that are about something else.
WHOLE_AS_JSON = f"""
    to_jsonb(projects) || jsonb_build_object('line', case when projects.parent_id is not null then {LINE} end)
"""
WHOLE = f"select {COLUMNS} from projects"
BY_ADDRESS = f"{WHOLE} where address = $1"


async def by_id(db: Database, project_id: int) -> Row:
    found = await db.fetchrow(f"{WHOLE} where project_id = $1", project_id)
    if found is None:
        raise NotFound(Subject.PROJECT)
    return found


async def find(db: Database, address: str) -> Row | None:
    return await db.fetchrow(BY_ADDRESS, address)


async def by_address(db: Database, address: str) -> Row:
    found = await find(db, address)
    if found is None:
        raise NotFound(Subject.PROJECT)
    return found


async def list_ancestors(db: Database, ancestors: list[int]) -> list[Row]:
    """Those of a fork's ancestors that are still there, the parent first."""
    return await db.fetch(
        "select * from projects where project_id = any ($1) order by array_position($1, project_id)", ancestors
    )


TAKEN = """
    select nextval('project_ids') as id,
           exists (select 1 from projects where address = $1)
           or exists (select 1 from projects
                      where  lower(name) = lower($3) and lower(owner) = lower($2)
                      and    namespace is null and forker is null)
           as taken
"""


async def next_id(db: Database, address: str, namespace: str | None = None, name: str = "") -> tuple[int, bool]:
    """A fresh project id, and whether the address is taken already.

    A root project also answers to `<owner>/<name>`, so nobody else's path may read like that.
    """
    row = await db.fetchrow(TAKEN, address, namespace, name)
    assert row is not None  # noqa: S101 - a select without a from has one row
    return row["id"], row["taken"]


async def list_ids(db: Database) -> list[int]:
    rows = await db.fetch("select project_id from projects where head is not null order by project_id")
    return [row["project_id"] for row in rows]


@dataclass(frozen=True, kw_only=True)
class ProjectFilter:
    """What a listing is narrowed to. `owner` with a leading ! means anybody else.

    `username` is whoever owns the project or may write to it, themselves or through a group of users.
    """

    topics: list[str] = field(default_factory=list)
    pattern: str | None = None
    username: str | None = None
    owner: str | None = None
    namespace: str | None = None
    fork: bool | None = None
    group: str | None = None
    levels: list[str] | None = None  # what the group holds; None: anything

    @property
    def everything(self) -> bool:
        return self == ProjectFilter()


def like_pattern(pattern: str) -> str:
    """A pattern with `*` for any run, as LIKE has it."""
    escaped = pattern.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return escaped.replace("*", "%")


def build_member_condition(username: str, levels: list[str]) -> Any:
    """The ids of what somebody owns or holds at one of these levels, found from each side by an index of its own."""
    mine = select(projects.c.project_id).where(projects.c.owner == username)
    theirs = access.c.level == func.any(literal(levels, ARRAY(Text)))
    named = select(access.c.project_id).where(access.c.party == "user", access.c.name == username, theirs)
    member = select(group_members.c.group_name).where(group_members.c.username == username)
    known = select(groups.c.group_name).where(
        groups.c.group_type == "user", or_(groups.c.creator == username, groups.c.group_name.in_(member))
    )
    through = select(access.c.project_id).where(access.c.party == "group", access.c.name.in_(known), theirs)
    return mine.union(named, through)


def _build_group_condition(group: str, levels: list[str] | None) -> Select[Any]:
    query = select(access.c.project_id).where(access.c.party == "group", access.c.name == group)
    if levels is not None:
        query = query.where(access.c.level == func.any(literal(levels, ARRAY(Text))))
    return query


def apply_filter(query: Select[Any], wanted: ProjectFilter, seen: ColumnElement[Any] = PUBLIC) -> Select[Any]:
    column = projects.c
    query = query.where(seen)
    if wanted.topics:
        query = query.where(column.topics.bool_op("&&")(literal(wanted.topics, ARRAY(Text))))
    if wanted.pattern:
        if "*" in wanted.pattern:
            query = query.where(func.lower(column.name).like(like_pattern(wanted.pattern.lower())))
        else:
            query = query.where(column.name == wanted.pattern, func.lower(column.name) == wanted.pattern.lower())
    if wanted.username:
        query = query.where(column.project_id.in_(build_member_condition(wanted.username, ["collaborator", *WRITERS])))
    if wanted.group:
        query = query.where(column.project_id.in_(_build_group_condition(wanted.group, wanted.levels)))
    if wanted.owner:
        is_owner = column.owner == wanted.owner.removeprefix("!")
        query = query.where(~is_owner if wanted.owner.startswith("!") else is_owner)
    if wanted.namespace:
        query = query.where(column.namespace == wanted.namespace)
    if wanted.fork is not None:
        query = query.where(column.forker.is_not(None) if wanted.fork else column.forker.is_(None))
    return query


KEYS = "projects.project_id as id, " + VERSION
SHORT = "name, namespace, description, path"
TOTAL = "select total from project_counts where visibility = 'public'"
# An index alone tells which projects a page has; the rows of these are read one by one.
EVERYTHING = f"""
    select   {{columns}}, ({TOTAL}) as total
    from     (select   project_id, lower(name) as lower_name
              from     projects
              where    not private
              order by lower(name), project_id
              {{span}}) as key,
    lateral  (select xmin, * from projects where projects.project_id = key.project_id limit 1) as projects
    order by key.lower_name, key.project_id
"""


async def search(
    db: Database, wanted: ProjectFilter, page: Page, columns: str = KEYS, seen: ColumnElement[Any] = PUBLIC
) -> Listing:
    """Projects that may be seen by name, as ids and versions. The count of all public ones is kept, never counted."""
    if wanted.everything:
        span, arguments = apply_range(page)
        rows = await db.fetch(EVERYTHING.format(columns=columns, span=span), *arguments)
        return Listing(rows, rows[0]["total"] if rows else await db.fetchval(TOTAL) or 0, page)
    [found] = await paginate_together(db, [_search_filtered(wanted, page, columns, seen)])
    return found


def _search_filtered(wanted: ProjectFilter, page: Page, columns: str, seen: ColumnElement[Any]) -> Search:
    query = apply_filter(select(text(columns)).select_from(projects), wanted, seen)
    count = apply_filter(select(func.count()).select_from(projects), wanted, seen)
    return Search(query.order_by(func.lower(projects.c.name), projects.c.project_id), count, page)


async def list_of_user(db: Database, username: str, repos: Page, forks: Page) -> list[Listing]:
    """The public projects that somebody may write to, and the forks among these, as whole rows."""
    theirs = ProjectFilter(username=username, fork=False)
    both = ((theirs, repos), (replace(theirs, fork=True), forks))
    return await paginate_together(db, [_search_filtered(wanted, page, COLUMNS, PUBLIC) for wanted, page in both])


async def list_by_ids(db: Database, ids: list[int]) -> list[Row]:
    """Whole rows with their ids and versions, in any order."""
    return await db.fetch(f"select {COLUMNS}, {KEYS} from projects where project_id = any ($1)", ids)
