"""Methods about users."""

from typing import Any

from app.dialects.jsonrpc import users as shared
from app.dialects.jsonrpc.dialect import Call
from app.dialects.jsonrpc.methods import Reference
from app.dialects.kallithea.methods import methods
from app.queries import users


@methods.add("get_user", "read-account")
async def get_user(call: Call, userid: Reference = None) -> dict[str, Any]:
    return await shared.show_with_permissions(call, await shared.find_own_user(call, userid))


@methods.add("get_users", "inspect-instance")
async def get_users(call: Call) -> list[dict[str, Any]]:
    return [shared.show(call, row) for row in await users.list_accounts(call.db)]


@methods.add("create_user", "create-user")
async def create_user(
    call: Call,
    username: str,
    email: str,
    password: str = "",
    firstname: str = "",
    lastname: str = "",
    active: bool = True,
    admin: bool = False,
    extern_type: str = "internal",
    extern_name: str = "",
    ldap_dn: str = "",
) -> dict[str, Any]:
    return await shared.create_user(
        call,
        username=username,
        email=email,
        password=password,
        firstname=firstname,
        lastname=lastname,
        admin=admin,
        supported=active and extern_type == "internal" and not (extern_name or ldap_dn),
    )
