"""What may be asked about tasks."""

from uuid import UUID

from app.database import Database, Row


async def find(db: Database, task_id: UUID) -> Row | None:
    """The task, what it belongs to, and the number of the latest event about it; one that it can at least not come
    before, if it has none yet.
    """
    return await db.fetchrow(
        """
        select tasks.*, coalesce(numbers.seq, (select max(seq) + 1 from numbers), 1) as seq,
               projects.private, projects.owner, projects.access
        from   tasks
        left join numbers using (position)
        left join projects using (project_id)
        where  task_id = $1
        """,
        task_id,
    )


FINAL = ("succeeded", "failed", "cancelled")
