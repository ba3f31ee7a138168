"""Projections of tasks, the state of the work behind a command."""

from events.projections import projection
from events.projects import AccessRefreshed, ProjectCreated, ProjectForked
from events.pull_requests import MergeRequested, PullRequestMerged, PullRequestRebased, RebaseRequested
from events.repositories import MirrorPulled, MirrorPullRequested, RepositoryCreated
from events.tasks import TaskCancelled, TaskCancelRequested, TaskFailed, TaskProgressed, TaskStarted


def insert_task(kind: str, path: str = "event.data ->> 'path'") -> str:
    """The SQL for a task that waits for a worker. `path`, an SQL expression, becomes its result."""
    return f"""
        insert into tasks (task_id, kind, actor, project_id, result, origin, position, created_at)
        select event.command_id, '{kind}', event.actor, event.project_id, {path}, event.position,
               event.position, event.at
        from   event
    """


PROJECT_PATH = "(select path from projects where projects.project_id = event.project_id)"


projection(ProjectCreated)(insert_task("create-project"))
projection(ProjectForked)(insert_task("fork-project"))

projection(MergeRequested)(insert_task("merge-pull-request", PROJECT_PATH))
projection(RebaseRequested)(insert_task("rebase-pull-request", PROJECT_PATH))
projection(MirrorPullRequested)(insert_task("pull-mirror", PROJECT_PATH))
projection(AccessRefreshed)("""
    insert into tasks (task_id, kind, status, percent, actor, project_id, result, origin, position, created_at,
                       started_at, ended_at)
    select event.command_id, 'refresh-access', 'succeeded', 100, event.actor, event.project_id,
           event.data ->> 'path', event.position, event.position, event.at, event.at, event.at
    from   event
""")

projection(TaskStarted)("""
    update tasks
    set    status = 'running', stage = case tasks.kind when 'merge-pull-request' then 'merge'
               when 'rebase-pull-request' then 'rebase' else 'repository' end, percent = 0,
           attempts = (event.data ->> 'attempt')::int, started_at = coalesce(tasks.started_at, event.at),
           position = event.position
    from   event
    where  tasks.task_id = event.command_id
    and    tasks.ended_at is null
    returning tasks.*
""")

projection(RepositoryCreated, PullRequestMerged, PullRequestRebased, MirrorPulled)("""
    update tasks
    set    status = 'succeeded', stage = null, percent = 100, ended_at = event.at, position = event.position
    from   event
    where  tasks.task_id = event.command_id
    and    tasks.ended_at is null
""")

projection(TaskProgressed)("""
    update tasks
    set    stage = event.data ->> 'stage', percent = (event.data ->> 'percent')::int, position = event.position
    from   event
    where  tasks.task_id = event.command_id and tasks.ended_at is null
    and    tasks.attempts = (event.data ->> 'attempt')::int
    returning tasks.*
""")

# The request to cancel is a command of its own, so the task's id is in the data.
projection(TaskCancelRequested)("""
    update tasks
    set    cancel_requested = true
    from   event
    where  tasks.task_id = (event.data ->> 'task_id')::uuid and tasks.ended_at is null
    returning tasks.*
""")

projection(TaskCancelled)("""
    update tasks
    set    status = 'cancelled', stage = null, ended_at = event.at, position = event.position
    from   event
    where  tasks.task_id = event.command_id
    and    tasks.ended_at is null
    returning tasks.*
""")

projection(TaskFailed)("""
    update tasks
    set    status = 'failed', stage = null, error = event.data ->> 'reason', error_params = event.data -> 'params',
           ended_at = event.at,
           position = event.position
    from   event
    where  tasks.task_id = event.command_id
    and    tasks.ended_at is null
    returning tasks.*
""")
