"""What people may ask about groups, and when the answer is yes."""

import re
from dataclasses import asdict, dataclass

from app.core.commands import Command, Deciding, handles
from app.core.paths import PAGES
from app.database import Row
from app.errors import Conflict, Forbidden, Invalid, NotFound
from app.queries import groups, users
from events.groups import GroupCreated, MemberAdded, MemberRemoved
from events.record import Next

NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]{0,63}\Z")
TYPES = ("user", "admin")


@dataclass(frozen=True, kw_only=True)
class CreateGroup(Command):
    group_name: str
    display_name: str
    description: str | None = None
    group_type: str = "user"


@handles(CreateGroup)
async def create_group(deciding: Deciding, wish: CreateGroup) -> list[Next]:
    actor = deciding.actor
    if actor.anonymous or (wish.group_type == "admin" and not actor.admin):
        raise Forbidden("create-group")
    if not NAME.match(wish.group_name) or wish.group_name.lower() in PAGES:
        raise Invalid(
            "name", "A group's name has 1 to 64 of the characters A-Z a-z 0-9 _ . - and starts with no . or -"
        )
    if wish.group_type not in TYPES:
        raise Invalid("type", "Not a valid choice")
    if await groups.taken(deciding.db, wish.group_name):
        raise Conflict("group", "This name is taken.")
    return [Next(GroupCreated(**asdict(wish), creator=actor.username))]


@dataclass(frozen=True, kw_only=True)
class AddMember(Command):
    group_name: str
    username: str


@handles(AddMember)
async def add_member(deciding: Deciding, wish: AddMember) -> list[Next]:
    group = await _known(deciding, wish)
    actor = deciding.actor
    if not (actor.admin or actor.username in (*group["members"], group["creator"])):
        raise Forbidden("manage-members", "You are not allowed to add user to this group")
    if wish.username in group["members"]:
        return []
    return [Next(MemberAdded(group_name=group["group_name"], username=wish.username), None)]


@dataclass(frozen=True, kw_only=True)
class RemoveMember(Command):
    group_name: str
    username: str


@handles(RemoveMember)
async def remove_member(deciding: Deciding, wish: RemoveMember) -> list[Next]:
    group = await _known(deciding, wish)
    actor = deciding.actor
    if not (actor.admin or actor.username in group["members"]):
        raise Forbidden("manage-members", "You are not allowed to remove user from this group")
    if wish.username == group["creator"]:
        raise Invalid("member", "The creator of a group cannot be removed")
    if wish.username not in group["members"]:
        raise NotFound("member", f"User `{wish.username}` could not be found in the group `{group['group_name']}`")
    return [Next(MemberRemoved(group_name=group["group_name"], username=wish.username), None)]


async def _known(deciding: Deciding, wish: AddMember | RemoveMember) -> Row:
    """The group that is to gain or lose somebody, where there are both."""
    group = await groups.find(deciding.db, wish.group_name)
    if group is None:
        raise NotFound("group")
    if await users.find(deciding.db, wish.username) is None:
        raise NotFound("member", f"No user `{wish.username}` found")
    return group
