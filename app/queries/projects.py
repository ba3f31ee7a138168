"""Queries of projects."""

from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy import ARRAY, ColumnElement, Select, Text, func, literal, or_, select, text

from app.actor import Actor
from app.database import Database, Row
from app.errors import NotFound, Subject
from app.queries import refs
from app.queries.paging import Listing, Page, Search, apply_range, paginate_together
from app.queries.visibility import PUBLIC, WRITERS, readable_projects
from events.tables import access, group_members, groups, projects

# The ancestors of a fork, since a rendered fork contains its parent, which contains its own.
LINE = """
    (select jsonb_agg(to_jsonb(line) order by array_position(projects.ancestors, line.project_id))
     from   projects as line
     where  line.project_id = any (projects.ancestors))
"""
# A rendered project contains its ancestors, so its version changes with any of their rows.
VERSION = """
    projects.xmin::text || case when projects.parent_id is not null then (
        select coalesce(string_agg('/' || line.xmin::text, '' order by line.project_id), '')
        from   projects as line
        where  line.project_id = any (projects.ancestors)
    ) else '' end as version
"""
COLUMNS = f"projects.*, case when parent_id is not null then {LINE} end as line"
# The same as one JSON value, for queries of other tables.
WHOLE_AS_JSON = f"""
    to_jsonb(projects) || jsonb_build_object('line', case when projects.parent_id is not null then {LINE} end)
"""
# The version of a project's branches and tags; null without any.
WITH_REFS = f"""{COLUMNS}, (
    select {refs.VERSION}
    from   refs
    where  refs.project_id = projects.project_id and {refs.IN_VERSION}
) as refs_version"""
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


async def find_plugin(db: Database, project_id: int, plugin: str) -> dict[str, Any] | None:
    """Find a plugin that is installed in a project: its fields, and the names of its secrets."""
    installed: dict[str, Any] | None = await db.fetchval(
        "select plugins -> $2 from projects where project_id = $1", project_id, plugin
    )
    return installed


async def list_ancestors(db: Database, ancestors: list[int]) -> list[Row]:
    """List those of a fork's ancestors that still exist, the parent first."""
    return await db.fetch(
        "select * from projects where project_id = any ($1) order by array_position($1, project_id)", ancestors
    )


# The projects at an address, or at `<owner>/<name>`, by which a project without a namespace is found too.
SAME_ADDRESS = """
    select project_id from projects where address = $1
    union
    select project_id from projects
    where  lower(name) = lower($3) and lower(owner) = lower($2) and namespace is null and forker is null
"""
TAKEN = f"select nextval('project_ids') as id, exists ({SAME_ADDRESS}) as taken"


async def next_id(db: Database, address: str, namespace: str | None = None, name: str = "") -> tuple[int, bool]:
    """Reserve a project id, and tell whether the address is taken.

    A project without a namespace can also be addressed as `<owner>/<name>`, so no other path may be equal to that.
    """
    row = await db.fetchrow(TAKEN, address, namespace, name)
    assert row is not None  # noqa: S101 - a select without a from has one row
    return row["id"], row["taken"]


async def list_namesakes(db: Database, address: str, namespace: str | None, name: str) -> list[Row]:
    """List the projects that make an address taken (`next_id`)."""
    return await db.fetch(f"{WHOLE} where project_id in ({SAME_ADDRESS})", address, namespace, name)


async def list_ids(db: Database) -> list[int]:
    rows = await db.fetch("select project_id from projects where head is not null order by project_id")
    return [row["project_id"] for row in rows]


@dataclass(frozen=True, kw_only=True)
class ProjectFilter:
    """A filter of projects. `owner` with a leading ! excludes that owner.

    `username` selects the projects that the user owns or may write to, directly or through a group of users.
    """

    topics: list[str] = field(default_factory=list)
    pattern: str | None = None
    username: str | None = None
    owner: str | None = None
    namespace: str | None = None
    fork: bool | None = None
    group: str | None = None
    levels: list[str] | None = None  # access levels of the group; None stands for any

    @property
    def everything(self) -> bool:
        return self == ProjectFilter()


def like_pattern(pattern: str) -> str:
    """Translate a pattern with `*` into one for LIKE."""
    escaped = pattern.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return escaped.replace("*", "%")


def build_member_condition(username: str, levels: list[str]) -> Any:
    """Select the ids of the projects that a user owns, or has one of these levels on, directly or through a group.

    It is a union, so that each part can use an index of its own.
    """
    owned = select(projects.c.project_id).where(projects.c.owner == username)
    has_level = access.c.level == func.any(literal(levels, ARRAY(Text)))
    granted = select(access.c.project_id).where(access.c.party == "user", access.c.name == username, has_level)
    memberships = select(group_members.c.group_name).where(group_members.c.username == username)
    user_groups = select(groups.c.group_name).where(
        groups.c.group_type == "user", or_(groups.c.creator == username, groups.c.group_name.in_(memberships))
    )
    by_group = select(access.c.project_id).where(access.c.party == "group", access.c.name.in_(user_groups), has_level)
    return owned.union(granted, by_group)


def _build_group_condition(group: str, levels: list[str] | None) -> Select[Any]:
    query = select(access.c.project_id).where(access.c.party == "group", access.c.name == group)
    if levels is not None:
        query = query.where(access.c.level == func.any(literal(levels, ARRAY(Text))))
    return query


def apply_filter(query: Select[Any], wanted: ProjectFilter, visible: ColumnElement[Any] = PUBLIC) -> Select[Any]:
    column = projects.c
    query = query.where(visible)
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
# An index-only scan finds the projects of a page; then each row is read by its key.
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
    db: Database, wanted: ProjectFilter, page: Page, columns: str = KEYS, visible: ColumnElement[Any] = PUBLIC
) -> Listing:
    """Find a page of visible projects by name, by default as ids and versions. The total of all public projects is
    stored, not counted.
    """
    if wanted.everything:
        span, arguments = apply_range(page)
        rows = await db.fetch(EVERYTHING.format(columns=columns, span=span), *arguments)
        return Listing(rows, rows[0]["total"] if rows else await db.fetchval(TOTAL) or 0, page)
    [listing] = await paginate_together(db, [_build_search(wanted, page, columns, visible)])
    return listing


def _build_search(wanted: ProjectFilter, page: Page, columns: str, visible: ColumnElement[Any]) -> Search:
    query = apply_filter(select(text(columns)).select_from(projects), wanted, visible)
    count = apply_filter(select(func.count()).select_from(projects), wanted, visible)
    return Search(query.order_by(func.lower(projects.c.name), projects.c.project_id), count, page)


async def list_of_user(db: Database, username: str, repos: Page, forks: Page) -> list[Listing]:
    """Find the public projects that a user may write to, and the forks among them, as whole rows."""
    no_forks = ProjectFilter(username=username, fork=False)
    both = ((no_forks, repos), (replace(no_forks, fork=True), forks))
    return await paginate_together(db, [_build_search(wanted, page, COLUMNS, PUBLIC) for wanted, page in both])


async def list_by_ids(db: Database, ids: list[int]) -> list[Row]:
    """List whole rows with their ids and versions, in any order."""
    return await db.fetch(f"select {COLUMNS}, {KEYS} from projects where project_id = any ($1)", ids)


async def find_by_reference(db: Database, address: str | None, path: str | None, number: int | None) -> Row | None:
    """Find a project by path, exactly as it is written, and its address, or else by number, with its refs' version."""
    return await db.fetchrow(
        f"""select {WITH_REFS} from projects
        where    (address = $1 and path = $2) or project_id = $3
        order by (path = $2) is true desc
        limit    1
        """,
        address,
        path,
        number,
    )


async def count_forks(db: Database, project_id: int) -> int:
    """Count the projects that were forked from this one."""
    count: int = await db.fetchval("select count(*) from projects where parent_id = $1", project_id)
    return count


async def list_readable(db: Database, actor: Actor) -> list[Row]:
    """List whole rows of all projects that the actor may see, by path, each with the version of its refs."""
    query = select(text(WITH_REFS)).select_from(projects).where(readable_projects(actor))
    return await db.select(query.order_by(text("path")))
