"""Creating and deleting repositories."""

from dataclasses import dataclass
from typing import Any

from app.actor import Actor
from app.core import access
from app.core.access import Level
from app.core.commands import Outcome
from app.core.instance_policy import InstancePolicy
from app.core.paths import build_address, is_valid_name
from app.core.projects import CreateProject, DeleteProject
from app.database import Row
from app.dialects.jsonrpc.dialect import Call
from app.dialects.jsonrpc.errors import RpcError
from app.dialects.jsonrpc.groups import find_owner
from app.dialects.jsonrpc.methods import Reference
from app.errors import Conflict, Disabled, Invalid, Subject
from app.http.commands import was_carried_out
from app.http.keys import SETTINGS
from app.queries import groups, projects

LANDING = frozenset({"rev:tip", "tip"})  # what is served: the newest commit


@dataclass(frozen=True, kw_only=True)
class NewRepository:
    """The arguments of `create_repo` that both dialects have."""

    repo_name: str  # the whole path
    repo_type: str = "git"
    owner: Reference = None
    description: str = ""
    private: bool = False
    clone_uri: str = ""
    landing_rev: str = "rev:tip"
    enable_statistics: bool = False
    enable_downloads: bool = False
    copy_permissions: bool = False

    @property
    def parent(self) -> str | None:
        """What the path has before its last slash; None without a slash."""
        parent, slash, _ = self.repo_name.rpartition("/")
        return parent if slash else None

    @property
    def is_supported(self) -> bool:
        """Whether the forge can do everything that the arguments ask for."""
        other = self.clone_uri or self.enable_statistics or self.enable_downloads or self.copy_permissions
        return self.repo_type == "git" and self.landing_rev in LANDING and not other


class ParentRefused(Exception):
    """A repository cannot be created in this group, or in none. `exists` says whether there is such a group."""

    def __init__(self, *, exists: bool) -> None:
        super().__init__(exists)
        self.exists = exists


async def create_repository(call: Call, new: NewRepository, *, supported: bool = True) -> Outcome:
    """Create a repository; a worker makes it on disk. Raises RpcError and ParentRefused.

    `supported` is False if the forge cannot do what one of the dialect's own arguments asks for.
    """
    policy = InstancePolicy.from_settings(call.request.config_dict[SETTINGS])
    failed = RpcError(f"failed to create repository `{new.repo_name}`")
    owner, namespace = await _choose_place(call, policy, new)
    name = new.repo_name.rpartition("/")[2]
    await _require_free(call, name, namespace, new, failed)
    if not (supported and new.is_supported and is_valid_name(name)):
        raise failed
    command = CreateProject(
        name=name,
        namespace=namespace,
        description=new.description or name,
        private=new.private,
        default_branch=call.request.config_dict[SETTINGS].default_branch,
        owner=owner,
    )
    try:
        return await call.execute(command)
    except Conflict as refused:
        if refused.subject is Subject.PROJECT:
            await _require_free(call, name, namespace, new, failed)
        raise failed from None
    except Invalid as refused:
        if refused.subject is Subject.NAMESPACE:
            raise ParentRefused(exists=True) from None
        raise failed from None
    except Disabled:
        raise failed from None


async def _choose_place(call: Call, policy: InstancePolicy, new: NewRepository) -> tuple[str, str | None]:
    """Return the owner and the namespace of a new repository. Raises RpcError and ParentRefused."""
    if not policy.new_projects:
        raise ParentRefused(exists=True)
    if new.parent is not None and not await _is_namespace(call, policy, new.parent):
        raise ParentRefused(exists=False)
    if new.owner is not None and call.actor.admin:
        # Where this owner may have repositories is decided by the command.
        owner = await find_owner(call, new.owner)
        return owner, policy.choose_namespace(Actor(owner), new.parent, private=False)
    namespace = policy.choose_namespace(call.actor, new.parent, private=False)
    if not policy.allows_namespace(call.actor, namespace, private=new.private):
        raise ParentRefused(exists=True)
    return await find_owner(call, new.owner), namespace


async def _is_namespace(call: Call, policy: InstancePolicy, name: str) -> bool:
    return name in policy.namespaces or await groups.is_taken(call.db, name)


async def _require_free(call: Call, name: str, namespace: str | None, new: NewRepository, hidden: RpcError) -> None:
    """Raise RpcError if there is such a repository already: `hidden` if the caller may not see it."""
    if was_carried_out(call.request):
        return
    taken = await projects.list_namesakes(call.db, build_address(name, namespace), namespace, name)
    if any(access.level(call.actor, project) >= Level.READ for project in taken):
        raise RpcError(f"repo `{new.repo_name}` already exist")
    if taken:
        raise hidden


async def delete_repository(call: Call, project: Row, forks: str, with_forks: RpcError) -> dict[str, Any]:
    """Delete a repository. With `detach` its forks stay; otherwise `with_forks` is raised if there are any."""
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
