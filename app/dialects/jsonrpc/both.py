"""The methods that are the same in both dialects."""

from functools import partial
from typing import Any

from app.database import Row
from app.dialects.jsonrpc import groups, repositories, users
from app.dialects.jsonrpc.answers import render_in_thread
from app.dialects.jsonrpc.dialect import Call
from app.dialects.jsonrpc.instance import describe_addresses, describe_server
from app.dialects.jsonrpc.methods import Methods, Reference
from app.queries import groups as group_rows
from app.queries import users as accounts

both = Methods()


@both.add("get_server_info", "inspect-instance")
async def get_server_info(call: Call) -> dict[str, Any]:
    return await describe_server()


@both.add("get_ip", "inspect-instance")
@both.add("show_ip", "inspect-instance")
async def get_ip(call: Call, userid: Reference = None) -> dict[str, Any]:
    """Show the address under the key that servers send and under that of Kallithea's manual."""
    shown = await describe_addresses(call, userid)
    return {**shown, "ip_addr_server": shown["server_ip_addr"]}


@both.add("get_user", "read-account")
async def get_user(call: Call, userid: Reference = None) -> dict[str, Any]:
    return await users.show_with_permissions(call, await users.find_own_user(call, userid))


@both.add("get_users", "inspect-instance")
async def get_users(call: Call) -> list[dict[str, Any]]:
    return await render_in_thread(partial(users.show, call), await accounts.list_accounts(call.db))


@both.add("get_user_groups", "read-group")
async def get_user_groups(call: Call) -> list[dict[str, Any]]:
    return await render_in_thread(partial(groups.show_with_members, call), await group_rows.list_with_accounts(call.db))


@both.add("add_user_to_user_group", "manage-members")
async def add_user_to_user_group(call: Call, usergroupid: Reference, userid: Reference) -> dict[str, Any]:
    return await groups.add_member(call, usergroupid, userid)


@both.add("remove_user_from_user_group", "manage-members")
async def remove_user_from_user_group(call: Call, usergroupid: Reference, userid: Reference) -> dict[str, Any]:
    return await groups.remove_member(call, usergroupid, userid)


@both.add("get_repos", "list-repositories")
async def get_repos(call: Call) -> list[dict[str, Any]]:
    return await repositories.show_all(call)


@both.add("invalidate_cache", "refresh-project")
async def invalidate_cache(call: Call, repoid: Row) -> dict[str, Any]:
    """Do nothing: what is cached belongs to a version of the refs."""
    path = repoid["path"]
    return {"msg": f"Cache for repository `{call.args['repoid']}` was invalidated", "repository": path}
