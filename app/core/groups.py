"""Commands on groups and the rules for them."""

import re
from dataclasses import asdict, dataclass

from app.actor import Actor
from app.core.access import require_admin
from app.core.commands import Command, CommandContext, handles
from app.core.paths import RESERVED_ROOTS
from app.database import Row
from app.errors import Conflict, Forbidden, Invalid, NotFound, Subject
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
    creator: str | None = None  # whom an administrator creates the group for; None: themselves


@handles(CreateGroup)
async def create_group(ctx: CommandContext, command: CreateGroup) -> list[NewEvent]:
    actor = ctx.actor
    if actor.anonymous:
        raise Forbidden(Subject.ACTION, action="create-group")
    ctx.policy.require_new_groups(actor)
    if command.group_type == "admin" and not actor.admin:
        raise Forbidden(Subject.ADMIN_GROUP)
    if not NAME.match(command.group_name) or command.group_name.lower() in RESERVED_ROOTS:
        raise Invalid(Subject.GROUP_NAME, "name")
    if command.group_type not in GROUP_TYPES:
        raise Invalid(Subject.CHOICE, "type", choices=GROUP_TYPES)
    if await groups.is_taken(ctx.db, command.group_name):
        raise Conflict(Subject.TAKEN, "name", name=command.group_name)
    creator = command.creator or actor.username
    if creator != actor.username:
        require_admin(actor)
        if await users.find(ctx.db, creator) is None:
            raise NotFound(Subject.USER, name=creator)
    return [NewEvent(GroupCreated(**{**asdict(command), "creator": creator}))]


def may_manage_members(actor: Actor, *, creator: str, member: bool) -> bool:
    """Whether the actor may add and remove members of a group: its creator, its members and administrators may."""
    return actor.admin or member or actor.username == creator


@dataclass(frozen=True, kw_only=True)
class AddMember(Command):
    group_name: str
    username: str


@handles(AddMember)
async def add_member(ctx: CommandContext, command: AddMember) -> list[NewEvent]:
    group = await _find_group_and_user(ctx, command)
    actor = ctx.actor
    if not _manages(actor, group):
        raise Forbidden(Subject.ADD_MEMBER)
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
    if not _manages(actor, group):
        raise Forbidden(Subject.REMOVE_MEMBER)
    if command.username == group["creator"]:
        raise Invalid(Subject.GROUP_CREATOR, "username")
    if command.username not in group["members"]:
        raise NotFound(Subject.MEMBER, username=command.username, group=group["group_name"])
    return [NewEvent(MemberRemoved(group_name=group["group_name"], username=command.username), None)]


def _manages(actor: Actor, group: Row) -> bool:
    return may_manage_members(actor, creator=group["creator"], member=actor.username in group["members"])


async def _find_group_and_user(ctx: CommandContext, command: AddMember | RemoveMember) -> Row:
    """The group whose members change. Raises NotFound if the group or the user does not exist."""
    group = await groups.find(ctx.db, command.group_name)
    if group is None:
        raise NotFound(Subject.GROUP)
    if await users.find(ctx.db, command.username) is None:
        raise NotFound(Subject.MEMBER_USER, username=command.username)
    return group
