"""Making repositories, new ones, forks and mirrors, and removing them."""

import asyncio

from app import attachments
from app.core import project_secrets
from app.git import store
from app.queries import mirrors as looks
from app.queries import users
from events.event import Fact
from events.projects import ProjectCreated, ProjectDeleted, ProjectDiscarded, ProjectForked
from events.record import Next
from events.repositories import RepositoryCreated
from events.tasks import TaskFailed
from workers import mirrors
from workers.reactions import FOLLOW, GIT, Hands, on


def take_back(cause: Fact, reason: str) -> list[Next]:
    """Without a repository there is no project: its name is free again."""
    project_id = cause.data["project_id"]
    return [
        Next(TaskFailed(task_id=str(cause.command_id), project_id=project_id, reason=reason)),
        Next(ProjectDiscarded(project_id=project_id, path=cause.data["path"], reason=reason)),
    ]


@on(ProjectCreated, queue=GIT, surrender=take_back)
async def create_repository(hands: Hands, cause: Fact) -> list[Next]:
    project = cause.event
    assert isinstance(project, ProjectCreated)  # noqa: S101 - `on` says so
    if project.mirrored_from:
        head, fetched = await mirrors.make(hands, cause, project)
        return [_created(project.project_id, project.path, head, fetched)]
    readme, author = None, ("", "")
    if project.create_readme:
        readme = f"# {project.name}\n\n{project.description}"
        user = await users.find(hands.db, project.owner)
        author = (user["fullname"], user["email"]) if user else (project.owner, "")
    made = await asyncio.to_thread(
        store.create,
        hands.settings.repositories,
        project.project_id,
        cause=cause.id,
        head=project.default_branch,
        readme=readme,
        author=author,
    )
    return [_created(project.project_id, project.path, project.default_branch, made)]


@on(ProjectForked, queue=GIT, surrender=take_back)
async def fork_repository(hands: Hands, cause: Fact) -> list[Next]:
    fork = cause.event
    assert isinstance(fork, ProjectForked)  # noqa: S101 - `on` says so
    made = await asyncio.to_thread(
        store.fork,
        hands.settings.repositories,
        fork.parent_id,
        fork.project_id,
        cause=cause.id,
        head=fork.default_branch,
        progress=lambda percent: hands.progress.say("copy", percent),
    )
    return [_created(fork.project_id, fork.path, fork.default_branch, made)]


def leave_behind(cause: Fact, reason: str) -> list[Next]:
    """The project is gone whatever becomes of its files; the log of the worker says where they are."""
    return []


@on(ProjectDeleted, ProjectDiscarded, queue=GIT, surrender=leave_behind, tracked=False)
async def remove_repository(hands: Hands, cause: Fact) -> list[Next]:
    await asyncio.to_thread(store.remove, hands.settings.repositories, cause.data["project_id"])
    await asyncio.to_thread(attachments.remove, hands.settings.attachments, cause.data["project_id"])
    return []


@on(ProjectDeleted, ProjectDiscarded, queue=FOLLOW, surrender=leave_behind, tracked=False)
async def forget_secrets(hands: Hands, cause: Fact) -> list[Next]:
    await project_secrets.forget_gone(hands.db, cause.data["project_id"])
    await looks.forget(hands.db, cause.data["project_id"])
    return []


def _created(project_id: int, path: str, head: str, made: list[store.Ref]) -> Next:
    return Next(RepositoryCreated(project_id=project_id, path=path, head=head, refs=[list(ref) for ref in made]))
