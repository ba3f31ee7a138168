"""Queries of refs. A deleted ref stays as a row with zeros, so that the versions of its stream continue."""

from collections.abc import Collection

from app.database import Database, Row

ZEROS = "0" * 40
MAX_REPLACED = 10_000  # earlier places of refs that are listed


async def list_under(db: Database, project_id: int, prefix: str) -> list[Row]:
    """List the refs below a prefix such as 'refs/heads/', by name."""
    return await db.fetch(
        """
        select   substr(ref, length($2) + 1) as name, commit
        from     refs
        where    project_id = $1 and starts_with(ref, $2) and object <> $3
        order by ref collate "C"
        """,
        project_id,
        prefix,
        ZEROS,
    )


# The version of a project's branches and tags; null without any.
VERSION = "md5(string_agg(ref || ' ' || object, ',' order by ref))"
IN_VERSION = f"object <> '{ZEROS}' and (ref like 'refs/heads/%' or ref like 'refs/tags/%')"


async def list_tips(db: Database, project_ids: list[int]) -> list[Row]:
    """List what the branches and tags of each of these projects point to, with their version."""
    return await db.fetch(
        f"""
        select   project_id, {VERSION} as version, array_agg(object) as objects
        from     refs
        where    project_id = any ($1) and {IN_VERSION}
        group by project_id
        """,
        project_ids,
    )


async def list_branches(db: Database, project_id: int) -> dict[str, str]:
    """List the branches with their heads."""
    return {row["name"]: row["commit"] for row in await list_under(db, project_id, "refs/heads/")}


async def list_known(db: Database, project_id: int) -> dict[str, tuple[str, int]]:
    """List every ref that ever existed with its object and the version of its stream; `HEAD` with its branch name."""
    rows = await db.fetch(
        """
        select ref, object, version from refs where project_id = $1
        union all
        select 'HEAD', head, head_version from projects where project_id = $1 and head is not null
        """,
        project_id,
    )
    return {row["ref"]: (row["object"], row["version"]) for row in rows}


async def find_unknown(db: Database, project_id: int, objects: Collection[str]) -> set[str]:
    """Return those of the objects that no ref of the project points to."""
    rows = await db.fetch(
        """
        select   wanted.object
        from     unnest($2::text[]) as wanted (object)
        where    not exists (select 1 from refs where project_id = $1 and refs.object = wanted.object)
        """,
        project_id,
        list(objects),
    )
    return {row["object"] for row in rows}


# The refs of a project and of those that it was forked from; events are found by the names of their streams.
REPLACED = f"""
    with family as (
        select $1::bigint as project_id
        union
        select unnest(ancestors) from projects where project_id = $1
    )
    select events.data ->> 'old' as object
    from   family join refs using (project_id)
    join   events on events.stream = 'ref-' || refs.project_id || '/' || refs.ref and events.type = 'ref.updated'
    where  events.data ->> 'old' <> '{ZEROS}'
    limit  {MAX_REPLACED} + 1
"""
LOST_ANCESTORS = """
    select exists (select 1 from projects as this, unnest(this.ancestors) as ancestor
                   where  this.project_id = $1
                   and    not exists (select 1 from projects where projects.project_id = ancestor))
"""


async def list_replaced(db: Database, project_id: int) -> list[str] | None:
    """List what refs of the project, or of those that it was forked from, have pointed to before.

    None if that is not known, because one of those was deleted, or too much to look at.
    """
    if await db.fetchval(LOST_ANCESTORS, project_id):
        return None
    objects = [row["object"] for row in await db.fetch(REPLACED, project_id)]
    return None if len(objects) > MAX_REPLACED else objects
