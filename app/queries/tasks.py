"""Queries of tasks."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, and_, false, not_, or_, select, text, true, tuple_

from app.actor import Actor
from app.database import Database, Row
from app.queries.visibility import readable_projects
from events.tables import projects, tasks

FINAL = ("succeeded", "failed", "cancelled")
# Ended tasks are shown for 30 days.
RETENTION = "(tasks.ended_at is null or tasks.ended_at > now() - interval '30 days')"
COLUMNS = """
    tasks.*,
    coalesce((select seq from numbers where numbers.position = tasks.position),
             (select max(seq) + 1 from numbers), 1) as seq,
    projects.private, projects.owner, projects.access, projects.blocked
"""


async def find(db: Database, task_id: UUID) -> Row | None:
    """Find a task with its project and the number of its latest event. If that event is not numbered yet, `seq` is the
    lowest number that it can get.
    """
    return await db.fetchrow(
        f"select {COLUMNS} from tasks left join projects using (project_id) where task_id = $1 and {RETENTION}", task_id
    )


@dataclass(frozen=True, kw_only=True)
class TaskFilter:
    status: str | None = None
    kind: str | None = None
    actor: str | None = None
    project_id: int | None = None


def visible_to(actor: Actor) -> ColumnElement[bool]:
    """The condition for tasks that the actor may see: the counterpart of `may_see_task` in core/tasks.py.

    A token that is bound to a project lists only the tasks of that project.
    """
    exists = projects.c.project_id.is_not(None)
    own = false() if actor.anonymous else and_(not_(exists), tasks.c.actor == actor.username)
    visible = true() if actor.admin else or_(and_(exists, readable_projects(actor)), own)
    return visible if actor.token_project is None else and_(tasks.c.project_id == actor.token_project, visible)


async def search(
    db: Database, actor: Actor, wanted: TaskFilter, before: tuple[datetime, UUID] | None, limit: int
) -> list[Row]:
    """List visible tasks, the newest first, without those that ended before the retention."""
    column = tasks.c
    conditions: list[Any] = [visible_to(actor), text(RETENTION)]
    for name in ("status", "kind", "actor", "project_id"):
        if (value := getattr(wanted, name)) is not None:
            conditions.append(column[name] == value)
    if before is not None:
        conditions.append(tuple_(column.created_at, column.task_id) < tuple_(*before))
    joined = tasks.outerjoin(projects, projects.c.project_id == column.project_id)
    query = (
        select(text(COLUMNS))
        .select_from(joined)
        .where(*conditions)
        .order_by(column.created_at.desc(), column.task_id.desc())
        .limit(limit)
    )
    return await db.select(query)
