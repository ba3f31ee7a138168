"""What people may ask about who holds what on a project, and what they want to hear of it."""

from dataclasses import asdict, dataclass

from app.core.access import GRANTS, require
from app.core.commands import Command, Deciding, handles
from app.errors import Forbidden, Invalid, NotFound
from app.queries import groups, users
from events.projects import AccessGranted, AccessRefreshed, AccessRevoked, WatchChanged
from events.record import Next


@dataclass(frozen=True, kw_only=True)
class GrantAccess(Command):
    """Give a user or a group a level, in the place of the one they may have. A collaborator's `branches` are globs."""

    project_id: int
    party: str
    name: str
    level: str
    branches: str | None = None


@handles(GrantAccess)
async def grant_access(deciding: Deciding, wish: GrantAccess) -> list[Next]:
    project = await deciding.project(wish.project_id)
    require(deciding.actor, "manage-access", project)
    await _require_known(deciding, wish.party, wish.name)
    if wish.level not in GRANTS or (wish.level == "collaborator") != (wish.branches is not None):
        raise Invalid("acl", "Not a valid choice")
    if wish.party == "user" and wish.name == project["owner"]:
        return []
    if project["access"][wish.party].get(wish.name) == {"level": wish.level, "branches": wish.branches}:
        return []
    return [Next(AccessGranted(**asdict(wish)), None)]


@dataclass(frozen=True, kw_only=True)
class RevokeAccess(Command):
    project_id: int
    party: str
    name: str


@handles(RevokeAccess)
async def revoke_access(deciding: Deciding, wish: RevokeAccess) -> list[Next]:
    project = await deciding.project(wish.project_id)
    if not (wish.party == "user" and wish.name == deciding.actor.username):
        require(deciding.actor, "manage-access", project)
    await _require_known(deciding, wish.party, wish.name)
    if wish.name not in project["access"][wish.party]:
        if wish.party == "user":
            raise Invalid("access", "User does not have any access on the repo")
        return []
    return [Next(AccessRevoked(**asdict(wish)), None)]


async def _require_known(deciding: Deciding, party: str, name: str) -> None:
    known = await (users.find(deciding.db, name) if party == "user" else groups.find(deciding.db, name))
    if known is None:
        raise NotFound(party, name)


@dataclass(frozen=True, kw_only=True)
class RefreshAccess(Command):
    """Have everything that knows of grants look at them again. Nothing here remembers any, so it is done at once."""

    project_id: int


@handles(RefreshAccess)
async def refresh_access(deciding: Deciding, wish: RefreshAccess) -> list[Next]:
    project = await deciding.project(wish.project_id)
    require(deciding.actor, "refresh-access", project)
    return [Next(AccessRefreshed(project_id=wish.project_id, path=project["path"]), None)]


@dataclass(frozen=True, kw_only=True)
class Watch(Command):
    """What somebody wants to hear of; both None means that their access decides."""

    project_id: int
    username: str
    issues: bool | None
    commits: bool | None


@handles(Watch)
async def watch(deciding: Deciding, wish: Watch) -> list[Next]:
    project = await deciding.project(wish.project_id)
    require(deciding.actor, "watch-project", project)
    if not (deciding.actor.username == wish.username or deciding.actor.admin):
        raise Forbidden("watch-project")
    if await users.find(deciding.db, wish.username) is None:
        raise NotFound("user", wish.username)
    now = await groups.watching(deciding.db, wish.project_id, wish.username)
    if now == (wish.issues, wish.commits):
        return []
    return [Next(WatchChanged(**asdict(wish)), None)]
