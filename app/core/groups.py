"""What people may ask about groups, and when the answer is yes."""

import re
from dataclasses import asdict, dataclass

from app.core.commands import Command, CommandContext, handles
from app.core.paths import RESERVED_ROOTS
from app.database import Row
from app.errors import Conflict, Forbidden, Invalid, NotFound
from app.queries import groups, users
from events.groups import GroupCreated, MemberAdded, MemberRemoved
from events.record import NewEvent

NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]{0,63}\Z")
GROUP_TYPES = ("user", "admin")


@dataclass(frozen=True, kw_only=True)
class CreateGroup(Command):
    group_name: str
    display_name: str
    description: str | None = None
    group_type: str = "user"


@handles(CreateGroup)
async def create_group(ctx: CommandContext, command: CreateGroup) -> list[NewEvent]:
    actor = ctx.actor
    if actor.anonymous or (command.group_type == "admin" and not actor.admin):
        raise Forbidden("create-group")
    if not NAME.match(command.group_name) or command.group_name.lower() in RESERVED_ROOTS:
        raise Invalid(
            "name", "A group's name has 1 to 64 of the characters A-Z a-z 0-9 _ . - and starts with no . or -"
        )
    if command.group_type not in GROUP_TYPES:
        raise Invalid("type", "Not a valid choice")
    if await groups.is_taken(ctx.db, command.group_name):
        raise Conflict("group", "This name is taken.")
    return [NewEvent(GroupCreated(**asdict(command), creator=actor.username))]


@dataclass(frozen=True, kw_only=True)
class AddMember(Command):
    group_name: str
    username: str


@handles(AddMember)
async def add_member(ctx: CommandContext, command: AddMember) -> list[NewEvent]:
    group = await _find_group_and_user(ctx, command)
    actor = ctx.actor
    if not (actor.admin or actor.username in (*group["members"], group["creator"])):
        raise Forbidden("manage-members", "You are not allowed to add user to this group")
    if command.username in group["members"]:
        return []
    return [NewEvent(MemberAdded(group_name=group["group_name"], username=command.username), None)]


@dataclass(frozen=True, kw_only=True)
class RemoveMember(Command):
    group_name: str
    username: str


@handles(RemoveMember)
async def remove_member(ctx: CommandContext, command: RemoveMember) -> list[NewEvent]:
    group = await _find_group_and_user(ctx, command)
    actor = ctx.actor
    if not (actor.admin or actor.username in group["members"]):
        raise Forbidden("manage-members", "You are not allowed to remove user from this group")
    if command.username == group["creator"]:
        raise Invalid("member", "The creator of a group cannot be removed")
    if command.username not in group["members"]:
        raise NotFound("member", f"User `{command.username}` could not be found in the group `{group['group_name']}`")
    return [NewEvent(MemberRemoved(group_name=group["group_name"], username=command.username), None)]


async def _find_group_and_user(ctx: CommandContext, command: AddMember | RemoveMember) -> Row:
    """The group that is to gain or lose somebody, where there are both."""
    group = await groups.find(ctx.db, command.group_name)
    if group is None:
        raise NotFound("group")
    if await users.find(ctx.db, command.username) is None:
        raise NotFound("member", f"No user `{command.username}` found")
    return group
