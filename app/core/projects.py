"""What people may ask about projects, and when the answer is yes."""

from dataclasses import dataclass
from typing import Any

from app.core import addresses, paths
from app.core.access import require, require_appointed
from app.core.commands import Command, Deciding, handles
from app.core.settings import SETTINGS, web_hooks
from app.errors import Conflict, Forbidden, Invalid, NotFound
from app.queries import projects, users
from events.projects import (
    ProjectConfigured,
    ProjectCreated,
    ProjectDeleted,
    ProjectForked,
    ProjectTransferred,
    UsersBlocked,
)
from events.record import Next

# A fork starts without a tracker and without pull requests of its own.
FORK_SETTINGS = {"issue_tracker": False, "pull_requests": False}

MOST_HOOKS = 50


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
    mirrored_from: str | None = None
    project_id: int | None = None  # if it was handed out before, for secrets to be kept under


@handles(CreateProject)
async def create_project(deciding: Deciding, wish: CreateProject) -> list[Next]:
    actor = deciding.actor
    if actor.anonymous:
        raise Forbidden("create-project")
    if not paths.well_formed(wish.name):
        raise Invalid("name")
    if wish.mirrored_from and addresses.repository(wish.mirrored_from) != (wish.mirrored_from, ""):
        raise Invalid("mirrored_from")  # a password in it would be in the log
    if paths.reserved(wish.name, wish.namespace):
        raise Conflict("reserved path", paths.path(wish.name, wish.namespace))
    address = paths.address(wish.name, wish.namespace)
    fresh, taken = await projects.next_id(deciding.db, address, wish.namespace, wish.name)
    if taken:
        raise Conflict("project", paths.path(wish.name, wish.namespace))
    return [
        Next(
            ProjectCreated(
                project_id=wish.project_id or fresh,
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
                mirrored_from=wish.mirrored_from,
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


@dataclass(frozen=True, kw_only=True)
class ConfigureProject(Command):
    """Turn switches; those that are not named stay."""

    project_id: int
    settings: dict[str, Any]


@handles(ConfigureProject)
async def configure_project(deciding: Deciding, wish: ConfigureProject) -> list[Next]:
    project = await deciding.project(wish.project_id)
    require(deciding.actor, "configure-project", project)
    if len(web_hooks(wish.settings.get("web_hooks"))) > MOST_HOOKS:
        raise Invalid("web_hooks", f"A project has up to {MOST_HOOKS} web hooks.")
    now = {**SETTINGS, **project["settings"]}
    changed = {name: value for name, value in wish.settings.items() if now[name] != value}
    if not changed:
        return []
    return [Next(ProjectConfigured(project_id=wish.project_id, settings=changed), None)]


@dataclass(frozen=True, kw_only=True)
class TransferProject(Command):
    """Give it to somebody else. `retain` asks that whoever owned it stays its administrator."""

    project_id: int
    owner: str
    retain: bool = False


@handles(TransferProject)
async def transfer_project(deciding: Deciding, wish: TransferProject) -> list[Next]:
    project = await deciding.project(wish.project_id)
    require(deciding.actor, "transfer-project", project)
    owner = await users.named(deciding.db, wish.owner)
    if owner is None:
        raise NotFound("user", wish.owner)
    if owner == project["owner"]:
        return []
    root = project["namespace"] is None and project["forker"] is None
    if root and await projects.find(deciding.db, paths.address(project["name"], owner)):
        # As with a new project: this one would answer to `<owner>/<name>` too.
        raise Conflict("address", paths.path(project["name"], owner))
    retained = wish.retain and deciding.actor.username == project["owner"]
    return [
        Next(
            ProjectTransferred(project_id=wish.project_id, owner=owner, previous=project["owner"], retained=retained),
            None,
        )
    ]


@dataclass(frozen=True, kw_only=True)
class BlockUsers(Command):
    """The whole list of those who may not post here any more."""

    project_id: int
    usernames: list[str]


@handles(BlockUsers)
async def block_users(deciding: Deciding, wish: BlockUsers) -> list[Next]:
    project = await deciding.project(wish.project_id)
    require_appointed(deciding.actor, project)
    wanted = sorted(set(wish.usernames))
    unknown = await users.unknown(deciding.db, wanted)
    if unknown:
        raise Invalid("users", f'No user "{unknown[0]}" found')
    if wanted == project["blocked"]:
        return []
    return [Next(UsersBlocked(project_id=wish.project_id, usernames=wanted), None)]


@dataclass(frozen=True, kw_only=True)
class DeleteProject(Command):
    project_id: int


@handles(DeleteProject)
async def delete_project(deciding: Deciding, wish: DeleteProject) -> list[Next]:
    project = await deciding.project(wish.project_id)
    require(deciding.actor, "delete-project", project)
    if project["head"] is None:
        # Its worker would put a repository in place after another one had looked there in vain.
        raise Conflict("repository", "The repository is still being made; try again.")
    return [Next(ProjectDeleted(project_id=wish.project_id, path=project["path"]), None)]
