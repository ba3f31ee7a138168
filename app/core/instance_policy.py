"""The policy of an instance: what its settings allow users, whatever rights they have on a project.

Command handlers check the policy of their context. A dialect may check it earlier if its contract orders refusals so;
it has no rules of its own.
"""

from dataclasses import dataclass

from app.actor import Actor
from app.config import Settings
from app.errors import Disabled, Forbidden, Invalid, Subject


@dataclass(frozen=True, kw_only=True)
class InstancePolicy:
    """What an instance allows. The defaults are the strictest policy: without a given policy, a command creates and
    deletes nothing that a policy has to allow.
    """

    new_projects: bool = False
    private_projects: bool = False
    mirroring: bool = False
    new_groups: bool = False
    delete_projects: bool = False
    delete_forks: bool = False
    namespaces: frozenset[str] = frozenset()  # in which all users may create projects
    user_namespaces: bool = False  # put projects without a namespace into that of their owner

    @classmethod
    def from_settings(cls, settings: Settings) -> "InstancePolicy":
        return cls(
            new_projects=settings.new_projects,
            private_projects=settings.private_projects,
            mirroring=settings.mirroring,
            new_groups=settings.new_groups,
            delete_projects=settings.delete_projects,
            delete_forks=settings.delete_forks,
            namespaces=frozenset(settings.namespaces),
            user_namespaces=settings.user_namespaces,
        )

    def choose_namespace(self, actor: Actor, namespace: str | None, *, private: bool) -> str | None:
        """Return the namespace of a new project that is requested in this one or in none: the owner's name if it is
        private.
        """
        return actor.username if private or (self.user_namespaces and not namespace) else namespace

    def allows_namespace(self, actor: Actor, namespace: str | None, *, private: bool) -> bool:
        own = {actor.username} if private or self.user_namespaces else set()
        return not namespace or namespace in self.namespaces | actor.groups | own

    def require_new_projects(self) -> None:
        if not self.new_projects:
            raise Disabled(Subject.NEW_PROJECTS)

    def require_project(self, actor: Actor, namespace: str | None, *, private: bool, mirrored: bool) -> None:
        """Raise Disabled or Invalid unless the actor may create a project like this."""
        self.require_new_projects()
        if mirrored:
            self.require_mirroring()
        if private and not self.private_projects:
            raise Disabled(Subject.PRIVATE_PROJECTS)
        if not self.allows_namespace(actor, namespace, private=private):
            raise Invalid(Subject.NAMESPACE, "namespace", name=namespace)

    def require_mirroring(self) -> None:
        if not self.mirroring:
            raise Disabled(Subject.MIRRORING)

    def require_new_groups(self, actor: Actor) -> None:
        """Raise Forbidden unless the actor may create groups; administrators always may."""
        if not (self.new_groups or actor.admin):
            raise Forbidden(Subject.NEW_GROUPS)

    def require_deletion(self, *, fork: bool) -> None:
        if not (self.delete_forks if fork else self.delete_projects):
            raise Disabled(Subject.DELETING_PROJECTS)


STRICTEST = InstancePolicy()
