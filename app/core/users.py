"""Commands on users and tokens and the rules for them."""

import re
from dataclasses import asdict, dataclass, replace
from datetime import datetime

from app.actor import Actor
from app.core.access import (
    ACLS,
    PROJECT_ACLS,
    limit_expiry,
    require,
    require_admin,
    require_grantable,
    require_self,
)
from app.core.commands import Command, CommandContext, handles
from app.core.paths import RESERVED_ROOTS
from app.database import Database
from app.errors import Conflict, Invalid, NotFound, Subject
from app.queries import projects, users
from events.record import NewEvent
from events.users import TokenIssued, TokenRevoked, UserCreated

USERNAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]{0,63}\Z")
EMAIL = re.compile(r"[^@\s\x00-\x1f]+@[^@\s\x00-\x1f]+\.[^@\s\x00-\x1f]+\Z")


async def find_assignee(db: Database, name: str | None) -> str | None:
    """The username of a user given by username or e-mail address; None for a blank. Raises Invalid."""
    if not name:
        return None
    found = await users.find_by_name(db, name)
    if found is None:
        raise Invalid(Subject.USER, "assignee", name=name)
    return found


@dataclass(frozen=True, kw_only=True)
class CreateUser(Command):
    username: str
    fullname: str
    email: str
    admin: bool = False


@handles(CreateUser)
async def create_user(ctx: CommandContext, user: CreateUser) -> list[NewEvent]:
    require_admin(ctx.actor)
    if not USERNAME.match(user.username) or user.username.startswith("."):
        raise Invalid(Subject.USERNAME, "username")
    if user.username.lower() in RESERVED_ROOTS:  # a private project lives below its owner's name
        raise Invalid(Subject.RESERVED_NAME, "username", name=user.username)
    # The length comes first: the expression takes time that grows with its square.
    if len(user.email) > 254 or not user.email.isprintable() or not EMAIL.match(user.email):
        raise Invalid(Subject.EMAIL, "email")
    if not user.fullname.strip() or len(user.fullname) > 255 or not user.fullname.isprintable():
        raise Invalid(Subject.FULLNAME, "fullname")
    taken = await users.find_taken(ctx.db, user.username, user.email)
    if taken:
        raise Conflict(Subject.TAKEN, taken, name=getattr(user, taken))
    return [NewEvent(UserCreated(**asdict(user)))]


@dataclass(frozen=True, kw_only=True)
class IssueToken(Command, shows_secret=True):
    token_id: str
    username: str
    prefix: str
    description: str
    acls: list[str] | None
    token_project: int | None
    expires_at: str | None


@handles(IssueToken)
async def issue_token(ctx: CommandContext, token: IssueToken) -> list[NewEvent]:
    require_self(ctx.actor, token.username)
    if await users.find(ctx.db, token.username) is None:
        raise NotFound(Subject.USER, name=token.username)
    unknown = sorted(set(token.acls or ()) - ACLS)
    if unknown:
        raise Invalid(Subject.ACLS, "acls", names=unknown)
    issued = TokenIssued(**asdict(token))
    return [NewEvent(replace(issued, expires_at=_limit_expiry(ctx.actor, token.expires_at)))]


def _limit_expiry(actor: Actor, expires_at: str | None) -> str | None:
    """Limit the expiry of a new token to that of the actor's own. Raises Invalid."""
    limited = limit_expiry(actor, datetime.fromisoformat(expires_at) if expires_at else None)
    return limited.isoformat() if limited else None


@dataclass(frozen=True, kw_only=True)
class IssueProjectToken(Command, shows_secret=True):
    """Issue a token of the actor that is bound to one project.

    Unlike other tokens it may be issued with a limited token, which passes on no scope that it lacks and which the
    new token does not outlive.
    """

    project_id: int
    token_id: str
    prefix: str
    description: str
    acls: list[str]
    expires_at: str


@handles(IssueProjectToken)
async def issue_project_token(ctx: CommandContext, command: IssueProjectToken) -> list[NewEvent]:
    # Tokens are not part of the project, so its revision is not checked.
    project = ctx.seen = await projects.by_id(ctx.db, command.project_id)
    require(ctx.actor, "manage-project-tokens", project)
    if not command.acls or not PROJECT_ACLS.issuperset(command.acls):
        raise Invalid(Subject.CHOICE, "acls", choices=sorted(PROJECT_ACLS))
    require_grantable(ctx.actor, command.acls)
    issued = TokenIssued(
        token_id=command.token_id,
        username=ctx.actor.username,
        prefix=command.prefix,
        description=command.description,
        acls=command.acls,
        token_project=command.project_id,
        expires_at=_limit_expiry(ctx.actor, command.expires_at),
    )
    return [NewEvent(issued)]


@dataclass(frozen=True, kw_only=True)
class RevokeToken(Command):
    token_id: str


@handles(RevokeToken)
async def revoke_token(ctx: CommandContext, command: RevokeToken) -> list[NewEvent]:
    token = await users.find_token(ctx.db, command.token_id)
    if token is None or token["revoked_at"] is not None:
        raise NotFound(Subject.TOKEN)
    require_self(ctx.actor, token["username"])
    return [NewEvent(TokenRevoked(token_id=command.token_id, username=token["username"]), version=2)]
