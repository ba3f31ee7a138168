"""Granting and revoking permissions on repositories."""

from typing import Any

from app.core.access import require
from app.core.sharing import GrantAccess, RevokeAccess
from app.database import Row
from app.dialects.jsonrpc.dialect import Call
from app.dialects.jsonrpc.errors import RpcError, echo
from app.errors import Invalid, Subject

FAMILY = "repository."
LEVELS = {"read": "ticket", "write": "commit", "admin": "admin"}
WORDS = {"user": "user", "group": "user group"}
# Permissions that are about no object. They exist, so a grant on a repository refuses them as being of another family.
GLOBAL = frozenset({
    "hg.admin", "hg.create.none", "hg.create.repository", "hg.create.write_on_repogroup.false",
    "hg.create.write_on_repogroup.true", "hg.extern_activate.auto", "hg.extern_activate.manual", "hg.fork.none",
    "hg.fork.repository", "hg.inherit_default_perms.false", "hg.inherit_default_perms.true",
    "hg.register.auto_activate", "hg.register.manual_activate", "hg.register.none", "hg.repogroup.create.false",
    "hg.repogroup.create.true", "hg.usergroup.create.false", "hg.usergroup.create.true",
})  # fmt: skip
OF_OBJECTS = frozenset(
    f"{family}.{name}" for family in ("repository", "group", "usergroup") for name in (*LEVELS, "none")
)


def read_permission(perm: str) -> str | None:
    """Read the name of a permission on repositories, as the level to grant; None for none at all. Raises RpcError."""
    if perm not in GLOBAL | OF_OBJECTS:
        raise RpcError(f"permission `{echo(perm)}` does not exist")
    if not perm.startswith(FAMILY):
        raise RpcError(f"permission `{perm}` is invalid, should start with {FAMILY}")
    return LEVELS.get(perm.removeprefix(FAMILY))


def require_manager(call: Call, project: Row) -> None:
    """Raise Forbidden unless the caller may grant permissions, before the group is looked up."""
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
