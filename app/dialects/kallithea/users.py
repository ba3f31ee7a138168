"""Methods about users."""

from typing import Any

from app.dialects.jsonrpc import users as shared
from app.dialects.jsonrpc.dialect import Call
from app.dialects.jsonrpc.users import NewUser
from app.dialects.kallithea.methods import methods


@methods.add("create_user", "create-user")
async def create_user(call: Call, new: NewUser, ldap_dn: str = "") -> dict[str, Any]:
    return await shared.create_user(call, new, supported=not ldap_dn)
