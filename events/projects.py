"""What can happen to a project."""

from dataclasses import dataclass, field
from typing import Any

from events.event import Event


@dataclass(frozen=True, kw_only=True)
class ProjectCreated(Event, type="project.created", stream="project-{project_id}"):
    """A project exists; its repository is asked for by this very event. `mirrored_from` is where a mirror gets it."""

    project_id: int
    address: str
    path: str
    owner: str
    name: str
    namespace: str | None
    description: str
    url: str | None
    avatar_email: str | None
    private: bool
    default_branch: str
    create_readme: bool
    mirrored_from: str | None = None


@dataclass(frozen=True, kw_only=True)
class ProjectForked(Event, type="project.forked", stream="project-{project_id}"):
    """A project was made from another; the copy of the repository is asked for by this event."""

    project_id: int
    parent_id: int
    ancestors: list[int]
    address: str
    path: str
    owner: str
    forker: str
    name: str
    namespace: str | None
    description: str
    private: bool
    default_branch: str
    settings: dict[str, bool]


@dataclass(frozen=True, kw_only=True)
class ProjectDiscarded(Event, type="project.discarded", stream="project-{project_id}/repository"):
    """Its repository could not be made, so the project is taken back and its name is free. `reason` and `params` are
    those of the task that failed (events/tasks.py).
    """

    project_id: int
    path: str
    reason: str
    params: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class ProjectDeleted(Event, type="project.deleted", stream="project-{project_id}"):
    """Gone with everything in it; the repository is removed by a worker."""

    project_id: int
    path: str


@dataclass(frozen=True, kw_only=True)
class ProjectConfigured(Event, type="project.configured", stream="project-{project_id}"):
    """`settings` are those that have changed, and what they are now."""

    project_id: int
    settings: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class ProjectTransferred(Event, type="project.transferred", stream="project-{project_id}"):
    """Somebody else owns it now; `retained` says that the previous owner stays its administrator."""

    project_id: int
    owner: str
    previous: str
    retained: bool


@dataclass(frozen=True, kw_only=True)
class UsersBlocked(Event, type="project.users-blocked", stream="project-{project_id}"):
    """`usernames` is the whole list from now on."""

    project_id: int
    usernames: list[str]


@dataclass(frozen=True, kw_only=True)
class AccessGranted(Event, type="access.granted", stream="access-{project_id}/{party}/{name}"):
    """A user or a group holds this level from now on, whatever was before. `branches` are a collaborator's globs."""

    project_id: int
    party: str
    name: str
    level: str
    branches: str | None


@dataclass(frozen=True, kw_only=True)
class AccessRevoked(Event, type="access.revoked", stream="access-{project_id}/{party}/{name}"):
    project_id: int
    party: str
    name: str


@dataclass(frozen=True, kw_only=True)
class AccessRefreshed(Event, type="access.refreshed", stream="access-{project_id}"):
    """Somebody asked that grants be looked at anew; the task this makes has ended already."""

    project_id: int
    path: str


@dataclass(frozen=True, kw_only=True)
class WatchChanged(Event, type="watch.changed", stream="watch-{project_id}/{username}"):
    """What somebody wants to hear of; both None means that their access decides again."""

    project_id: int
    username: str
    issues: bool | None
    commits: bool | None


@dataclass(frozen=True, kw_only=True)
class PluginInstalled(Event, type="plugin.installed", stream="project-{project_id}"):
    """The project has the plugin with these fields. `secrets` names the fields whose value is not for the log."""

    project_id: int
    plugin: str
    fields: dict[str, Any]
    secrets: list[str]


@dataclass(frozen=True, kw_only=True)
class PluginRemoved(Event, type="plugin.removed", stream="project-{project_id}"):
    project_id: int
    plugin: str


@dataclass(frozen=True, kw_only=True)
class TrackerConfigured(Event, type="tracker.configured", stream="project-{project_id}"):
    """What has changed of the tracker's words; a key that is absent stays."""

    project_id: int
    changed: dict[str, Any]
