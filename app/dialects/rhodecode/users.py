"""Methods about users."""

from typing import Any

from app.dialects.jsonrpc import users as shared
from app.dialects.jsonrpc.dialect import Call
from app.dialects.jsonrpc.users import NewUser
from app.dialects.rhodecode.methods import methods


@methods.add("create_user", "create-user")
async def create_user(call: Call, new: NewUser, force_password_change: bool = False) -> dict[str, Any]:
    return await shared.create_user(call, new, supported=not force_password_change)
