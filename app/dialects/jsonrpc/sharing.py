"""Granting and revoking permissions on repositories."""

from typing import Any

from app.core.access import require
from app.core.sharing import GrantAccess, RevokeAccess
from app.database import Row
from app.dialects.jsonrpc.dialect import Call
from app.dialects.jsonrpc.errors import RpcError
from app.errors import Invalid, Subject

FAMILY = "repository."
LEVELS = {"read": "ticket", "write": "commit", "admin": "admin"}
WORDS = {"user": "user", "group": "user group"}


def read_permission(perm: str) -> str | None:
    """Read the name of a permission on repositories, as the level to grant; None for none at all. Raises RpcError."""
    family, _, name = perm.rpartition(".")
    if name not in (*LEVELS, "none") or family not in ("repository", "group", "usergroup"):
        raise RpcError(f"permission `{perm}` does not exist")
    if family + "." != FAMILY:
        raise RpcError(f"permission `{perm}` is invalid, should start with {FAMILY}")
    return LEVELS.get(name)


def require_manager(call: Call, project: Row) -> None:
    """Raise Forbidden before anything else is looked up, as RhodeCode does, for who may not grant permissions."""
    require(call.actor, "manage-access", project)


async def grant(call: Call, project: Row, party: str, name: str, perm: str) -> dict[str, Any]:
    """Give a user or a group a permission in place of the one that they have, or take it away if it is none."""
    level = read_permission(perm)
    if level is None:
        await _take(call, project, party, name)
    else:
        await call.execute(GrantAccess(project_id=project["project_id"], party=party, name=name, level=level))
    message = f"Granted perm: `{perm}` for {WORDS[party]}: `{name}` in repo: `{project['path']}`"
    return {"msg": message, "success": True}


async def revoke(call: Call, project: Row, party: str, name: str) -> dict[str, Any]:
    """Take a user's or a group's permission away; without one nothing changes."""
    await _take(call, project, party, name)
    return {"msg": f"Revoked perm for {WORDS[party]}: `{name}` in repo: `{project['path']}`", "success": True}


async def _take(call: Call, project: Row, party: str, name: str) -> None:
    try:
        await call.execute(RevokeAccess(project_id=project["project_id"], party=party, name=name))
    except Invalid as refused:
        if refused.subject is not Subject.ACCESS:
            raise
