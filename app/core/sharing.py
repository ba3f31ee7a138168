"""Commands on who has access to a project, and on who watches it."""

from dataclasses import asdict, dataclass

from app.core.access import GRANTS, require
from app.core.commands import Command, CommandContext, handles
from app.errors import Forbidden, Invalid, NotFound, Subject
from app.queries import groups, users, watches
from events.projects import AccessGranted, AccessRefreshed, AccessRevoked, WatchChanged
from events.record import NewEvent


@dataclass(frozen=True, kw_only=True)
class GrantAccess(Command):
    """Give a user or a group a level, which replaces the one they have. A collaborator's `branches` are globs."""

    project_id: int
    party: str
    name: str
    level: str
    branches: str | None = None


@handles(GrantAccess)
async def grant_access(ctx: CommandContext, command: GrantAccess) -> list[NewEvent]:
    project = await ctx.project(command.project_id)
    require(ctx.actor, "manage-access", project)
    await _require_known(ctx, command.party, command.name)
    if command.level not in GRANTS or (command.level == "collaborator") != (command.branches is not None):
        raise Invalid(Subject.CHOICE, "acl", choices=list(GRANTS))
    if command.party == "user" and command.name == project["owner"]:
        return []
    if project["access"][command.party].get(command.name) == {"level": command.level, "branches": command.branches}:
        return []
    return [NewEvent(AccessGranted(**asdict(command)), None)]


@dataclass(frozen=True, kw_only=True)
class RevokeAccess(Command):
    project_id: int
    party: str
    name: str


@handles(RevokeAccess)
async def revoke_access(ctx: CommandContext, command: RevokeAccess) -> list[NewEvent]:
    project = await ctx.project(command.project_id)
    if not (command.party == "user" and command.name == ctx.actor.username):
        require(ctx.actor, "manage-access", project)
    await _require_known(ctx, command.party, command.name)
    if command.name not in project["access"][command.party]:
        if command.party == "user":
            raise Invalid(Subject.ACCESS, "name")
        return []
    return [NewEvent(AccessRevoked(**asdict(command)), None)]


async def _require_known(ctx: CommandContext, party: str, name: str) -> None:
    known = await (users.find(ctx.db, name) if party == "user" else groups.find(ctx.db, name))
    if known is None:
        raise NotFound(Subject.USER if party == "user" else Subject.GROUP, name=name)


@dataclass(frozen=True, kw_only=True)
class RefreshAccess(Command):
    """Refresh everything that caches grants. Nothing here does, so the task ends at once."""

    project_id: int


@handles(RefreshAccess)
async def refresh_access(ctx: CommandContext, command: RefreshAccess) -> list[NewEvent]:
    project = await ctx.project(command.project_id)
    require(ctx.actor, "refresh-access", project)
    return [NewEvent(AccessRefreshed(project_id=command.project_id, path=project["path"]), None)]


@dataclass(frozen=True, kw_only=True)
class Watch(Command):
    """Set what a user is notified of; both None leave it to their access."""

    project_id: int
    username: str
    issues: bool | None
    commits: bool | None


@handles(Watch)
async def watch(ctx: CommandContext, command: Watch) -> list[NewEvent]:
    project = await ctx.project(command.project_id)
    require(ctx.actor, "watch-project", project)
    if not (ctx.actor.username == command.username or ctx.actor.admin):
        raise Forbidden(Subject.ACTION, action="watch-project")
    if await users.find(ctx.db, command.username) is None:
        raise NotFound(Subject.USER, name=command.username)
    now = await watches.find_watch(ctx.db, command.project_id, command.username)
    if now == (command.issues, command.commits):
        return []
    return [NewEvent(WatchChanged(**asdict(command)), None)]
