"""Show and create user groups, and change their members."""

from collections.abc import Mapping
from typing import Any

from app.core.groups import AddMember, CreateGroup, RemoveMember
from app.core.instance_policy import InstancePolicy
from app.database import Row
from app.dialects.jsonrpc import users as accounts
from app.dialects.jsonrpc.dialect import Call
from app.dialects.jsonrpc.errors import RpcError, echo
from app.dialects.jsonrpc.methods import Reference
from app.dialects.jsonrpc.references import find_group, find_user
from app.errors import Conflict, Forbidden, Invalid, NotFound, Subject
from app.http.commands import was_carried_out
from app.http.keys import SETTINGS
from app.queries import groups


def show(call: Call, row: Mapping[str, Any]) -> dict[str, Any]:
    """Render a group with its members as `users`."""
    return {
        "users_group_id": row["group_id"],
        "group_name": row["group_name"],
        "group_description": row["description"],
        "active": True,
        "owner": row["creator"],
        "owner_email": None,
        "sync": None,
        "users": [accounts.show(call, each) for each in row["accounts"]],
    }


def show_with_members(call: Call, row: Mapping[str, Any]) -> dict[str, Any]:
    """Render a group with its members under RhodeCode's key and under Kallithea's."""
    shown = show(call, row)
    return {**shown, "members": shown["users"]}


async def create_group(
    call: Call, group_name: str, description: str, owner: Reference, *, active: bool, unknown_owner: RpcError | None
) -> Row:
    """Create a group and return its row. Raises RpcError; `unknown_owner`, if given, for an unknown one."""
    failed = RpcError(f"failed to create group `{group_name}`")
    exists = RpcError(f"user group `{group_name}` already exist")
    InstancePolicy.from_settings(call.request.config_dict[SETTINGS]).require_new_groups(call.actor)
    if not was_carried_out(call.request) and await groups.is_taken(call.db, group_name):
        raise exists
    creator = await find_owner(call, owner, unknown_owner)
    if not active:
        raise failed
    try:
        await call.execute(
            CreateGroup(
                group_name=group_name, display_name=group_name, description=description or None, creator=creator
            )
        )
    except Conflict:
        raise exists from None
    except Invalid:
        raise failed from None
    return await find_group(call.db, group_name)


async def find_owner(call: Call, owner: Reference, unknown: RpcError | None = None) -> str:
    """Return the owner of a new object: the caller, unless an administrator names another user.

    Raises RpcError; `unknown`, if given, for a user who does not exist.
    """
    if owner is None:
        return call.actor.username
    if not call.actor.admin:  # administrators with a limited token are refused by the command
        raise RpcError(f"Only {call.dialect.product} admin can specify `owner` param")
    try:
        return str((await find_user(call.db, owner))["username"])
    except RpcError as error:
        raise unknown or error from None


async def add_member(call: Call, usergroupid: Reference, userid: Reference) -> dict[str, Any]:
    username, name = await _find_both(call, usergroupid, userid)
    try:
        outcome = await call.execute(AddMember(group_name=name, username=username))
    except Forbidden as refused:
        raise _hide(refused, usergroupid) from None
    if not outcome.events:
        return {"success": False, "msg": "User is already in that group"}
    return {"success": True, "msg": f"added member `{username}` to user group `{name}`"}


async def remove_member(call: Call, usergroupid: Reference, userid: Reference) -> dict[str, Any]:
    username, name = await _find_both(call, usergroupid, userid)
    try:
        await call.execute(RemoveMember(group_name=name, username=username))
    except Forbidden as refused:
        raise _hide(refused, usergroupid) from None
    except NotFound:
        return {"success": False, "msg": "User wasn't in group"}
    except Invalid:
        raise RpcError(f"failed to remove member from user group `{name}`") from None
    return {"success": True, "msg": f"removed member `{username}` from user group `{name}`"}


async def _find_both(call: Call, usergroupid: Reference, userid: Reference) -> tuple[str, str]:
    """Return the names of the user, who is looked up first, and of the group. Raises RpcError."""
    user = await find_user(call.db, userid)
    return user["username"], (await find_group(call.db, usergroupid))["group_name"]


def _hide(refused: Forbidden, usergroupid: Reference) -> Exception:
    """Return the error for a caller who may not change the group: that of a group that does not exist."""
    if refused.subject in (Subject.ADD_MEMBER, Subject.REMOVE_MEMBER):
        return RpcError(f"user group `{echo(usergroupid)}` does not exist")
    return refused
