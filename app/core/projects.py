"""What people may ask about projects, and when the answer is yes."""

from dataclasses import dataclass

from app.core import paths
from app.core.access import require
from app.core.commands import Command, Deciding, handles
from app.errors import Conflict, Forbidden, Invalid
from app.queries import projects
from events.projects import ProjectCreated, ProjectForked
from events.record import Next

# A fork starts without a tracker and without pull requests of its own.
FORK_SETTINGS = {"issue_tracker": False, "pull_requests": False}


@dataclass(frozen=True, kw_only=True)
class CreateProject(Command, makes_project=True):
    name: str
    description: str
    namespace: str | None = None
    url: str | None = None
    avatar_email: str | None = None
    private: bool = False
    create_readme: bool = False
    default_branch: str


@handles(CreateProject)
async def create_project(deciding: Deciding, wish: CreateProject) -> list[Next]:
    actor = deciding.actor
    if actor.anonymous:
        raise Forbidden("create-project")
    if not paths.well_formed(wish.name):
        raise Invalid("name")
    if paths.reserved(wish.name, wish.namespace):
        raise Conflict("reserved path", paths.path(wish.name, wish.namespace))
    address = paths.address(wish.name, wish.namespace)
    project_id, taken = await projects.next_id(deciding.db, address, wish.namespace, wish.name)
    if taken:
        raise Conflict("project", paths.path(wish.name, wish.namespace))
    return [
        Next(
            ProjectCreated(
                project_id=project_id,
                address=address,
                path=paths.path(wish.name, wish.namespace),
                owner=actor.username,
                name=wish.name,
                namespace=wish.namespace,
                description=wish.description,
                url=wish.url,
                avatar_email=wish.avatar_email,
                private=wish.private,
                default_branch=wish.default_branch,
                create_readme=wish.create_readme,
            )
        )
    ]


@dataclass(frozen=True, kw_only=True)
class ForkProject(Command, makes_project=True):
    parent_id: int


@handles(ForkProject)
async def fork_project(deciding: Deciding, wish: ForkProject) -> list[Next]:
    parent = await projects.by_id(deciding.db, wish.parent_id)
    actor = deciding.actor
    require(actor, "fork-project", parent)
    if actor.anonymous:
        raise Forbidden("fork-project")
    name, namespace = parent["name"], parent["namespace"]
    address = paths.address(name, namespace, actor.username)
    project_id, taken = await projects.next_id(deciding.db, address)
    if taken:
        raise Conflict("fork", f"forks/{actor.username}/{name}")
    return [
        Next(
            ProjectForked(
                project_id=project_id,
                parent_id=parent["project_id"],
                ancestors=[parent["project_id"], *parent["ancestors"]],
                address=address,
                path=paths.path(name, namespace, actor.username),
                owner=actor.username,
                forker=actor.username,
                name=name,
                namespace=namespace,
                description=parent["description"],
                private=parent["private"],
                default_branch=parent["head"] or parent["default_branch"],
                settings=FORK_SETTINGS,
            )
        )
    ]
