"""Methods about the instance."""

from typing import Any

from app.dialects.jsonrpc.dialect import Call
from app.dialects.jsonrpc.instance import describe_addresses, describe_server
from app.dialects.jsonrpc.methods import Reference
from app.dialects.rhodecode.methods import methods


@methods.add("get_server_info", "inspect-instance")
async def get_server_info(call: Call) -> dict[str, Any]:
    return describe_server()


@methods.add("get_ip", "inspect-instance")
@methods.add("show_ip", "inspect-instance")
async def get_ip(call: Call, userid: Reference = None) -> dict[str, Any]:
    return await describe_addresses(call, userid)
