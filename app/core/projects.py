"""Commands on projects and the rules for them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from app.actor import Actor
from app.core import paths, urls
from app.core.access import require, require_admin, require_appointed_admin
from app.core.commands import Command, CommandContext, handles
from app.core.credentials import find_actor
from app.core.project_settings import DEFAULTS
from app.errors import Conflict, Forbidden, Invalid, NotFound, Subject
from app.queries import projects, users
from events.projects import (
    ProjectConfigured,
    ProjectCreated,
    ProjectDeleted,
    ProjectForked,
    ProjectTransferred,
    UsersBlocked,
)
from events.record import NewEvent

# A fork starts without a tracker and without pull requests of its own.
FORK_SETTINGS = {"issue_tracker": False, "pull_requests": False}

# What a deleted project's event keeps of its row and of those of its ancestors (`line`): enough to show it in messages
# and to decide who might read it. Settings, plugins and the list of blocked users are gone with it.
KEPT = (
    "project_id", "path", "owner", "owner_fullname", "name", "namespace", "forker", "parent_id", "ancestors",
    "description", "private", "topics", "access", "milestones", "priorities", "close_status", "custom_keys",
    "created_at", "modified_at",
)  # fmt: skip


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
    project_id: int | None = None  # reserved beforehand if secrets had to be stored under it
    owner: str | None = None  # whom an administrator creates the project for; None: themselves


@handles(CreateProject)
async def create_project(ctx: CommandContext, command: CreateProject) -> list[NewEvent]:
    actor = ctx.actor
    if actor.anonymous:
        raise Forbidden(Subject.ACTION, action="create-project")
    owner = await _find_owner(ctx, command.owner)
    ctx.policy.require_project(
        owner, command.namespace, private=command.private, mirrored=command.mirrored_from is not None
    )
    if not paths.is_valid_name(command.name):
        raise Invalid(Subject.VALUE, "name")
    if command.mirrored_from and urls.parse_repository_url(command.mirrored_from) != (command.mirrored_from, ""):
        raise Invalid(Subject.VALUE, "mirrored_from")  # a password in it would be in the log
    urls.require_no_login(command.url, "url")
    urls.require_no_login(command.avatar_email, "avatar_email")
    if paths.is_reserved(command.name, command.namespace):
        raise Conflict(Subject.RESERVED_PATH, "name", path=paths.build_path(command.name, command.namespace))
    address = paths.build_address(command.name, command.namespace)
    fresh, taken = await projects.next_id(ctx.db, address, command.namespace, command.name)
    if taken:
        raise Conflict(Subject.PROJECT, "name", path=paths.build_path(command.name, command.namespace))
    return [
        NewEvent(
            ProjectCreated(
                project_id=command.project_id or fresh,
                address=address,
                path=paths.build_path(command.name, command.namespace),
                owner=owner.username,
                name=command.name,
                namespace=command.namespace,
                description=command.description,
                url=command.url,
                avatar_email=command.avatar_email,
                private=command.private,
                default_branch=command.default_branch,
                create_readme=command.create_readme,
                mirrored_from=command.mirrored_from,
            )
        )
    ]


async def _find_owner(ctx: CommandContext, username: str | None) -> Actor:
    """Find who a new project will belong to, whose namespaces count. Raises Forbidden and NotFound."""
    if username is None or username == ctx.actor.username:
        return ctx.actor
    require_admin(ctx.actor)
    owner = await find_actor(ctx.db, username)
    if owner.anonymous:
        raise NotFound(Subject.USER, name=username)
    return owner


@dataclass(frozen=True, kw_only=True)
class ForkProject(Command, makes_project=True):
    parent_id: int


@handles(ForkProject)
async def fork_project(ctx: CommandContext, command: ForkProject) -> list[NewEvent]:
    parent = await projects.by_id(ctx.db, command.parent_id)
    ctx.seen, actor = parent, ctx.actor
    require(actor, "fork-project", parent)
    name, namespace = parent["name"], parent["namespace"]
    address = paths.build_address(name, namespace, actor.username)
    project_id, taken = await projects.next_id(ctx.db, address)
    if taken:
        raise Conflict(Subject.FORK, owner=actor.username, name=name)
    return [
        NewEvent(
            ProjectForked(
                project_id=project_id,
                parent_id=parent["project_id"],
                ancestors=[parent["project_id"], *parent["ancestors"]],
                address=address,
                path=paths.build_path(name, namespace, actor.username),
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
    """Change settings; those that are not named stay. Addresses of web hooks are stored separately beforehand."""

    project_id: int
    settings: dict[str, Any]


@handles(ConfigureProject)
async def configure_project(ctx: CommandContext, command: ConfigureProject) -> list[NewEvent]:
    project = await ctx.project(command.project_id)
    require(ctx.actor, "configure-project", project)
    now = {**DEFAULTS, **project["settings"]}
    changed = {name: value for name, value in command.settings.items() if now[name] != value}
    if not changed:
        return []
    return [NewEvent(ProjectConfigured(project_id=command.project_id, settings=changed), None)]


@dataclass(frozen=True, kw_only=True)
class TransferProject(Command):
    """Give a project to another owner. With `retain` the previous owner stays its administrator."""

    project_id: int
    owner: str
    retain: bool = False


@handles(TransferProject)
async def transfer_project(ctx: CommandContext, command: TransferProject) -> list[NewEvent]:
    project = await ctx.project(command.project_id)
    require(ctx.actor, "transfer-project", project)
    owner = await users.find_by_name(ctx.db, command.owner)
    if owner is None:
        raise NotFound(Subject.USER, name=command.owner)
    if owner == project["owner"]:
        return []
    root = project["namespace"] is None and project["forker"] is None
    if root and await projects.find(ctx.db, paths.build_address(project["name"], owner)):
        # As for a new project: this one would be found at `<owner>/<name>` too.
        raise Conflict(Subject.PATH, path=paths.build_path(project["name"], owner))
    retained = command.retain and ctx.actor.username == project["owner"]
    return [
        NewEvent(
            ProjectTransferred(
                project_id=command.project_id, owner=owner, previous=project["owner"], retained=retained
            ),
            None,
        )
    ]


@dataclass(frozen=True, kw_only=True)
class BlockUsers(Command):
    """Replace the list of users who may write nothing to the project."""

    project_id: int
    usernames: list[str]


@handles(BlockUsers)
async def block_users(ctx: CommandContext, command: BlockUsers) -> list[NewEvent]:
    project = await ctx.project(command.project_id)
    require_appointed_admin(ctx.actor, project)
    wanted = sorted(set(command.usernames))
    unknown = await users.list_unknown(ctx.db, wanted)
    if unknown:
        raise Invalid(Subject.USER, "usernames", name=unknown[0])
    if wanted == project["blocked"]:
        return []
    return [NewEvent(UsersBlocked(project_id=command.project_id, usernames=wanted), None)]


@dataclass(frozen=True, kw_only=True)
class DeleteProject(Command):
    project_id: int


@handles(DeleteProject)
async def delete_project(ctx: CommandContext, command: DeleteProject) -> list[NewEvent]:
    project = await ctx.project(command.project_id)
    require(ctx.actor, "read-project", project)
    ctx.policy.require_deletion(fork=project["forker"] is not None)
    require(ctx.actor, "delete-project", project)
    if project["head"] is None:
        # The worker that creates the repository could finish after the one that removes it had found nothing.
        raise Conflict(Subject.REPOSITORY)
    kept = {**_keep(project), "line": [_keep(ancestor) for ancestor in project["line"] or []]}
    return [NewEvent(ProjectDeleted(project_id=command.project_id, path=project["path"], snapshot=kept), None)]


def _keep(project: Mapping[str, Any]) -> dict[str, Any]:
    return {name: project[name] for name in KEPT}
