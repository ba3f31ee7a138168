"""Reactions that create, fork and remove repositories."""

import asyncio
from dataclasses import asdict

from app.disk import attachments
from app.git import store
from app.queries import users
from app.stores import mirrors as mirror_store
from app.stores import project_secrets
from events.event import StoredEvent
from events.projects import ProjectCreated, ProjectDeleted, ProjectDiscarded, ProjectForked
from events.record import NewEvent
from events.repositories import RepositoryCreated
from events.tasks import TaskFailed
from workers import mirrors
from workers.pull_requests.following import keep_commits_of_deleted
from workers.reactions import FOLLOW, GIT, TaskFailure, WorkerContext, ignore_failure, on


def discard_project(cause: StoredEvent, failure: TaskFailure) -> list[NewEvent]:
    """Fail the task and remove the project, whose name becomes free again."""
    project_id, fields = cause.data["project_id"], asdict(failure)
    return [
        NewEvent(TaskFailed(task_id=str(cause.command_id), project_id=project_id, **fields)),
        NewEvent(ProjectDiscarded(project_id=project_id, path=cause.data["path"], **fields)),
    ]


@on(ProjectCreated, queue=GIT, on_failure=discard_project)
async def create_repository(ctx: WorkerContext, cause: StoredEvent) -> list[NewEvent]:
    project = cause.event
    assert isinstance(project, ProjectCreated)  # noqa: S101 - `on` says so
    if project.mirrored_from:
        head, fetched_refs = await mirrors.create_mirror(ctx, cause, project)
        return [_build_created(project.project_id, project.path, head, fetched_refs)]
    readme, author = None, ("", "")
    if project.create_readme:
        readme = f"# {project.name}\n\n{project.description}"
        user = await users.find(ctx.db, project.owner)
        author = (user["fullname"], user["email"]) if user else (project.owner, "")
    created_refs = await asyncio.to_thread(
        store.create_repository,
        ctx.settings.repositories,
        project.project_id,
        cause=cause.id,
        head=project.default_branch,
        readme=readme,
        author=author,
    )
    return [_build_created(project.project_id, project.path, project.default_branch, created_refs)]


@on(ProjectForked, queue=GIT, on_failure=discard_project)
async def fork_repository(ctx: WorkerContext, cause: StoredEvent) -> list[NewEvent]:
    fork = cause.event
    assert isinstance(fork, ProjectForked)  # noqa: S101 - `on` says so
    copied_refs = await asyncio.to_thread(
        store.fork_repository,
        ctx.settings.repositories,
        fork.parent_id,
        fork.project_id,
        cause=cause.id,
        head=fork.default_branch,
        progress=lambda percent: ctx.progress.report("copy", percent),
    )
    return [_build_created(fork.project_id, fork.path, fork.default_branch, copied_refs)]


# On failure the worker's log names the files that are left.
@on(ProjectDeleted, ProjectDiscarded, queue=GIT, on_failure=ignore_failure, tracked=False)
async def remove_repository(ctx: WorkerContext, cause: StoredEvent) -> list[NewEvent]:
    await keep_commits_of_deleted(ctx, cause)
    await asyncio.to_thread(store.remove_repository, ctx.settings.repositories, cause.data["project_id"])
    await asyncio.to_thread(attachments.delete_all, ctx.settings.attachments, cause.data["project_id"])
    return []


@on(ProjectDeleted, ProjectDiscarded, queue=FOLLOW, on_failure=ignore_failure, tracked=False)
async def forget_secrets(ctx: WorkerContext, cause: StoredEvent) -> list[NewEvent]:
    await project_secrets.delete_for_deleted_project(ctx.db, cause.data["project_id"])
    await mirror_store.delete(ctx.db, cause.data["project_id"])
    return []


def _build_created(project_id: int, path: str, head: str, refs: list[store.Ref]) -> NewEvent:
    return NewEvent(RepositoryCreated(project_id=project_id, path=path, head=head, refs=[list(ref) for ref in refs]))
