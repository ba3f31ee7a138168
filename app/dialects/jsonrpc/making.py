"""Creating and deleting repositories."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from app.core.instance_policy import InstancePolicy
from app.core.paths import is_valid_name
from app.core.projects import CreateProject, DeleteProject
from app.database import Row
from app.dialects.jsonrpc.dialect import Call
from app.dialects.jsonrpc.errors import RpcError
from app.dialects.jsonrpc.groups import find_owner
from app.dialects.jsonrpc.methods import Reference
from app.errors import Conflict, Disabled, Invalid, Subject
from app.http.keys import SETTINGS
from app.queries import groups, projects

LANDING = frozenset({"rev:tip", "tip"})  # what is served: the newest commit


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """A repository to create. `parent` is what its path has before the last slash; None without a slash. `supported`
    says that nothing was asked for that the forge does not do.
    """

    path: str
    parent: str | None
    name: str
    owner: Reference
    description: str
    private: bool
    supported: bool


class ParentRefused(Exception):
    """A repository cannot be created in this group, or in none. `exists` says whether there is such a group."""

    def __init__(self, *, exists: bool) -> None:
        super().__init__(exists)
        self.exists = exists


def split_path(path: str) -> tuple[str | None, str]:
    parent, slash, name = path.rpartition("/")
    return (parent if slash else None), name


async def create_repository(call: Call, wanted: Wanted) -> UUID:
    """Create a repository; a worker makes it on disk. Returns the id of the task. Raises RpcError and ParentRefused."""
    policy = InstancePolicy.from_settings(call.request.config_dict[SETTINGS])
    failed = RpcError(f"failed to create repository `{wanted.path}`")
    if not policy.new_projects:
        raise ParentRefused(exists=True)
    namespace = policy.choose_namespace(call.actor, wanted.parent, private=False)
    named = wanted.owner is not None and call.actor.admin
    if wanted.parent == "":
        raise ParentRefused(exists=False)
    if not named and not policy.allows_namespace(call.actor, namespace, private=wanted.private):
        raise ParentRefused(exists=await groups.is_taken(call.db, namespace or ""))
    owner = await find_owner(call, wanted.owner)
    if not wanted.supported or not is_valid_name(wanted.name):
        raise failed
    command = CreateProject(
        name=wanted.name,
        namespace=namespace,
        description=wanted.description or wanted.name,
        private=wanted.private,
        default_branch=call.request.config_dict[SETTINGS].default_branch,
        owner=owner,
    )
    try:
        return (await call.execute(command)).command_id
    except Conflict as refused:
        if refused.subject is Subject.PROJECT:
            raise RpcError(f"repo `{wanted.path}` already exist") from None
        raise failed from None
    except Invalid as refused:
        if refused.subject is Subject.NAMESPACE:
            raise ParentRefused(exists=await groups.is_taken(call.db, namespace or "")) from None
        raise failed from None
    except Disabled:
        raise failed from None


async def delete_repository(call: Call, project: Row, forks: str, with_forks: RpcError) -> dict[str, Any]:
    """Delete a repository. Its forks stay if they are to be detached; otherwise `with_forks` is raised for them."""
    path = project["path"]
    count = await projects.count_forks(call.db, project["project_id"])
    if count and forks != "detach":
        raise with_forks
    try:
        await call.execute(DeleteProject(project_id=project["project_id"]))
    except (Conflict, Disabled):
        raise RpcError(f"failed to delete repository `{path}`") from None
    suffix = f" Detached {count} forks" if forks == "detach" else ""
    return {"msg": f"Deleted repository `{path}`{suffix}", "success": True}
