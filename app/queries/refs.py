"""Queries of refs. A deleted ref stays as a row with zeros, so that the versions of its stream continue."""

from app.database import Database, Row

ZEROS = "0" * 40


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
