"""What people may ask about users and tokens, and when the answer is yes."""

import re
from dataclasses import asdict, dataclass

from app.core.access import ACLS, PROJECT_ACLS, require, require_admin, require_self
from app.core.commands import Command, Deciding, handles
from app.core.paths import PAGES
from app.database import Database
from app.errors import Conflict, Invalid, NotFound
from app.queries import projects, users
from events.record import Next
from events.users import TokenIssued, TokenRevoked, UserCreated

USERNAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]{0,63}\Z")
EMAIL = re.compile(r"[^@\s\x00-\x1f]+@[^@\s\x00-\x1f]+\.[^@\s\x00-\x1f]+\Z")


async def assignee_named(db: Database, name: str | None) -> str | None:
    """The username of somebody given by username or e-mail address; nobody for a blank. Raises Invalid."""
    if not name:
        return None
    found = await users.named(db, name)
    if found is None:
        raise Invalid("assignee", f'No user "{name}" found')
    return found


@dataclass(frozen=True, kw_only=True)
class CreateUser(Command):
    username: str
    fullname: str
    email: str
    admin: bool = False


@handles(CreateUser)
async def create_user(deciding: Deciding, user: CreateUser) -> list[Next]:
    require_admin(deciding.actor)
    if not USERNAME.match(user.username) or user.username.startswith("."):
        raise Invalid(
            "username",
            "A username has 1 to 64 of the characters A-Z a-z 0-9 _ . - and starts with none of . -",
        )
    if user.username.lower() in PAGES:  # a private project lives below its owner's name
        raise Invalid("username", "This name has another meaning at the beginning of an address.")
    # The length comes first: the expression takes time that grows with its square.
    if len(user.email) > 254 or not user.email.isprintable() or not EMAIL.match(user.email):
        raise Invalid("email", "This is not an e-mail address.")
    if not user.fullname.strip() or len(user.fullname) > 255 or not user.fullname.isprintable():
        raise Invalid("fullname", "A full name has 1 to 255 printable characters.")
    taken = await users.taken(deciding.db, user.username, user.email)
    if taken:
        raise Conflict(taken, f"This {taken} is taken.")
    return [Next(UserCreated(**asdict(user)))]


@dataclass(frozen=True, kw_only=True)
class IssueToken(Command):
    token_id: str
    username: str
    prefix: str
    description: str
    acls: list[str] | None
    token_project: int | None
    expires_at: str | None


@handles(IssueToken)
async def issue_token(deciding: Deciding, token: IssueToken) -> list[Next]:
    require_self(deciding.actor, token.username)
    if await users.find(deciding.db, token.username) is None:
        raise NotFound("user")
    unknown = sorted(set(token.acls or ()) - ACLS)
    if unknown:
        raise Invalid("acls", "There is no such ACL: " + ", ".join(unknown))
    return [Next(TokenIssued(**asdict(token)))]


@dataclass(frozen=True, kw_only=True)
class IssueProjectToken(Command):
    """A token for one project, which speaks for whoever asks for it.

    Unlike other tokens it may be asked for with a limited one: whoever may hand out access to the project with it can
    hand out this too.
    """

    project_id: int
    token_id: str
    prefix: str
    description: str
    acls: list[str]
    expires_at: str


@handles(IssueProjectToken)
async def issue_project_token(deciding: Deciding, wish: IssueProjectToken) -> list[Next]:
    project = await projects.by_id(deciding.db, wish.project_id)
    require(deciding.actor, "manage-project-tokens", project)
    if not wish.acls or not PROJECT_ACLS.issuperset(wish.acls):
        raise Invalid("acls", "Not a valid choice")
    issued = TokenIssued(
        token_id=wish.token_id,
        username=deciding.actor.username,
        prefix=wish.prefix,
        description=wish.description,
        acls=wish.acls,
        token_project=wish.project_id,
        expires_at=wish.expires_at,
    )
    return [Next(issued)]


@dataclass(frozen=True, kw_only=True)
class RevokeToken(Command):
    token_id: str


@handles(RevokeToken)
async def revoke_token(deciding: Deciding, wish: RevokeToken) -> list[Next]:
    token = await users.token(deciding.db, wish.token_id)
    if token is None or token["revoked_at"] is not None:
        raise NotFound("token")
    require_self(deciding.actor, token["username"])
    return [Next(TokenRevoked(token_id=wish.token_id, username=token["username"]), version=2)]
