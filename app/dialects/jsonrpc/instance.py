"""Describe the instance to administrators."""

import asyncio
import platform
from functools import cache
from importlib.metadata import distributions, version
from typing import Any

import pygit2

from app.dialects.jsonrpc.dialect import Call
from app.dialects.jsonrpc.methods import Reference
from app.dialects.jsonrpc.references import find_user
from app.http.addresses import client_address


@cache
def _list_modules() -> list[list[str]]:
    found = {(each.name, each.version) for each in distributions()}
    return [list(each) for each in sorted(found, key=lambda each: each[0].lower())]


async def describe_server() -> dict[str, Any]:
    """Describe the server to an administrator, without its paths and its database."""
    modules, own = await asyncio.to_thread(_list_modules), version("polyforge")
    return {
        "modules": modules,
        "py_modules": modules,
        "py_version": platform.python_version(),
        "platform": platform.platform(),
        "rhodecode_version": own,
        "kallithea_version": own,
        "git_version": pygit2.LIBGIT2_VERSION,
    }


async def describe_addresses(call: Call, userid: Reference) -> dict[str, Any]:
    """Return the address that the request comes from. Users are not limited to addresses."""
    await find_user(call.db, call.actor.username if userid is None else userid)
    return {"server_ip_addr": client_address(call.request), "user_ips": []}
