"""Who may see a task, and the command to cancel one."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from app.actor import Actor
from app.core.access import may, require_unblocked
from app.core.commands import Command, CommandContext, handles
from app.errors import Conflict, Forbidden, NotFound, Subject
from app.queries import tasks
from events.record import NewEvent
from events.tasks import TaskCancelRequested


def may_see_task(actor: Actor, task: Mapping[str, Any]) -> bool:
    """Whether the actor may read the task's project or, if that was deleted, caused the task.

    Administrators of the forge see all tasks. A token that is bound to a project shows only those of that project.
    """
    if actor.token_project not in (None, task["project_id"]):
        return False
    if task["private"] is None:
        return _is_own(actor, task)
    return actor.admin or may(actor, "read-project", task)


def _is_own(actor: Actor, task: Mapping[str, Any]) -> bool:
    return actor.admin or (bool(actor.username) and actor.username == task["actor"])


@dataclass(frozen=True, kw_only=True)
class CancelTask(Command):
    task_id: str


@handles(CancelTask)
async def cancel_task(ctx: CommandContext, command: CancelTask) -> list[NewEvent]:
    task, actor = await tasks.find(ctx.db, UUID(command.task_id)), ctx.actor
    if task is None or not may_see_task(actor, task):
        raise NotFound(Subject.TASK)
    runs_it = task["private"] is not None and may(actor, "configure-project", task)
    if actor.anonymous or actor.acls is not None or not (_is_own(actor, task) or runs_it):
        raise Forbidden(Subject.CANCEL_TASK)
    if task["private"] is not None:  # its project has not been deleted
        require_unblocked(actor, "cancel-task", task)
    if task["status"] in tasks.FINAL:
        raise Conflict(Subject.TASK_ENDED)
    if task["cancel_requested"]:
        return []
    return [NewEvent(TaskCancelRequested(task_id=command.task_id, project_id=task["project_id"]))]
