"""Show users with their permissions, and create them."""

from dataclasses import dataclass
from typing import Any

from app.actor import Actor
from app.core import access
from app.core.access import Level
from app.core.credentials import find_actor, store_first_password
from app.core.groups import may_manage_members
from app.core.instance_policy import InstancePolicy
from app.core.users import CreateUser
from app.database import Row
from app.dialects.jsonrpc.answers import render_in_thread
from app.dialects.jsonrpc.dialect import Call
from app.dialects.jsonrpc.errors import RpcError
from app.dialects.jsonrpc.methods import Reference
from app.dialects.jsonrpc.references import find_user
from app.dialects.jsonrpc.render import render_user
from app.errors import Conflict, Invalid
from app.http.commands import was_carried_out
from app.http.keys import SETTINGS
from app.queries import groups, projects, users

# Users who may write to some branches only are not shown as writers.
PERMISSIONS = {
    Level.NONE: "none",
    Level.READ: "read",
    Level.TICKET: "read",
    Level.COLLABORATE: "read",
    Level.WRITE: "write",
}
MAX_PASSWORD = 1024  # characters
OTHERS_USER = "userid is not the same as your user"


async def find_own_user(call: Call, userid: Reference) -> Row:
    """Find the user of the call, or the one that `userid` names. Only administrators may name others; all other users
    may send their own number. Raises RpcError.
    """
    if userid is None:
        return await find_user(call.db, call.actor.username)
    if not access.is_administrator(call.actor):
        own = await find_user(call.db, call.actor.username)
        if isinstance(userid, bool) or str(userid) != str(own["user_id"]):
            raise RpcError(OTHERS_USER)
        return own
    return await find_user(call.db, userid)


def show(call: Call, row: Any) -> dict[str, Any]:
    return render_user(row, call.actor, call.dialect.extern_type)


async def show_with_permissions(call: Call, row: Row) -> dict[str, Any]:
    """Render a user with what they may do on everything that they may see; for the caller, with the call's token."""
    own = row["username"] == call.actor.username
    actor = call.actor if own else await find_actor(call.db, row["username"])
    repositories = await projects.list_readable(call.db, actor)
    names = await groups.list_creators(call.db)
    permitted = await render_in_thread(
        lambda each: (each["path"], f"repository.{permission_of(actor, each)}"), repositories
    )
    permissions = {
        "global": list_global(call, actor),
        "repositories": dict(permitted),
        "repositories_groups": {},
        "user_groups": {
            name: f"usergroup.{_group_permission(actor, name, creator)}" for name, creator in names.items()
        },
    }
    return {**show(call, row), "permissions": permissions, "permissions_summary": permissions}


def permission_of(actor: Actor, project: Any) -> str:
    """Return what the actor may do on a project that they may see; users whom it has blocked may only read it."""
    if access.is_blocked(actor, project):
        return "read"
    return PERMISSIONS.get(access.level(actor, project), "admin")


def _group_permission(actor: Actor, name: str, creator: str) -> str:
    may_manage = may_manage_members(actor, creator=creator, member=name in actor.groups)
    return "admin" if may_manage and not access.exceeds_binding(actor, "manage-members") else "read"


def list_global(call: Call, actor: Actor) -> list[str]:
    """List a user's permissions that are about no object."""
    if access.is_administrator(actor):
        return list(call.dialect.admin_permissions)
    policy = InstancePolicy.from_settings(call.request.config_dict[SETTINGS])
    creates = "repository" if policy.new_projects else "none"
    return [
        f"hg.create.{creates}",
        "hg.create.write_on_repogroup.true",
        "hg.extern_activate.auto",
        f"hg.fork.{creates}",
        "hg.register.none",
        "hg.repogroup.create.false",
        f"hg.usergroup.create.{'true' if policy.new_groups else 'false'}",
    ]


@dataclass(frozen=True, kw_only=True)
class NewUser:
    """The arguments of `create_user` that both dialects have. The default of `extern_type` and `extern_name` is that of
    users who log in with the forge.
    """

    username: str
    email: str
    password: str = ""
    firstname: str = ""
    lastname: str = ""
    active: bool = True
    admin: bool = False
    extern_type: str | None = None
    extern_name: str | None = None

    def is_supported(self, own: str) -> bool:
        """Whether the forge can do everything that the arguments ask for. `own` is the type of its own users."""
        return self.active and self.extern_type in (None, own) and self.extern_name in (None, "", own)


async def create_user(call: Call, new: NewUser, *, supported: bool = True) -> dict[str, Any]:
    """Create a user. `supported` is False if the forge cannot do what an argument of this dialect alone asks for.

    Raises RpcError.
    """
    failed = RpcError(f"failed to create user `{new.username}`")
    supported = supported and new.is_supported(call.dialect.extern_type)
    fullname = f"{new.firstname} {new.lastname}".strip() or new.username
    taken = None if was_carried_out(call.request) else await users.find_taken(call.db, new.username, new.email)
    if taken is not None:
        raise _describe_taken(new, taken)
    if not supported or len(new.password) > MAX_PASSWORD:
        raise failed
    try:
        email = new.email.lower()
        await call.execute(CreateUser(username=new.username, fullname=fullname, email=email, admin=new.admin))
    except Conflict as conflict:
        raise _describe_taken(new, conflict.field) from None
    except Invalid:
        raise failed from None
    if new.password:
        await store_first_password(call.db, new.username, new.password)
    return {"msg": f"created new user `{new.username}`", "user": show(call, await find_user(call.db, new.username))}


def _describe_taken(new: NewUser, field: str) -> RpcError:
    if field == "email":
        return RpcError(f"email `{new.email}` already exist")
    return RpcError(f"user `{new.username}` already exist")
