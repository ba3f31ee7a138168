"""Events of projects, their settings, access and plugins."""

from dataclasses import dataclass, field
from typing import Any

from events.event import Event


@dataclass(frozen=True, kw_only=True)
class ProjectCreated(Event, event_type="project.created", stream="project-{project_id}"):
    """A project was created; a worker makes its repository. `mirrored_from` is the source URL of a mirror."""

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
class ProjectForked(Event, event_type="project.forked", stream="project-{project_id}"):
    """A project was forked from another; a worker copies the repository."""

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
class ProjectDiscarded(Event, event_type="project.discarded", stream="project-{project_id}/repository"):
    """The repository could not be made, so the project was removed and its name is free again. `reason` and `params`
    are those of the failed task (events/tasks.py).
    """

    project_id: int
    path: str
    reason: str
    params: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class ProjectDeleted(Event, event_type="project.deleted", stream="project-{project_id}"):
    """A project was deleted with everything in it; a worker removes the repository. `snapshot` is its row before that,
    with the fields that are needed to show it and to decide who might read it; None in old events.
    """

    project_id: int
    path: str
    snapshot: dict[str, Any] | None = None


@dataclass(frozen=True, kw_only=True)
class ProjectConfigured(Event, event_type="project.configured", stream="project-{project_id}"):
    """Settings changed. `settings` maps each changed one to its new value."""

    project_id: int
    settings: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class ProjectTransferred(Event, event_type="project.transferred", stream="project-{project_id}"):
    """The project has a new owner. `retained`: the previous owner stays an administrator."""

    project_id: int
    owner: str
    previous: str
    retained: bool


@dataclass(frozen=True, kw_only=True)
class UsersBlocked(Event, event_type="project.users-blocked", stream="project-{project_id}"):
    """The block list was replaced. `usernames` is the whole new list."""

    project_id: int
    usernames: list[str]


@dataclass(frozen=True, kw_only=True)
class AccessGranted(Event, event_type="access.granted", stream="access-{project_id}/{party}/{name}"):
    """A user or a group was given this level in place of any earlier one. `branches` are a collaborator's globs."""

    project_id: int
    party: str
    name: str
    level: str
    branches: str | None


@dataclass(frozen=True, kw_only=True)
class AccessRevoked(Event, event_type="access.revoked", stream="access-{project_id}/{party}/{name}"):
    project_id: int
    party: str
    name: str


@dataclass(frozen=True, kw_only=True)
class AccessRefreshed(Event, event_type="access.refreshed", stream="access-{project_id}"):
    """A user asked to refresh the grants; the task of this command is finished at once."""

    project_id: int
    path: str


@dataclass(frozen=True, kw_only=True)
class WatchChanged(Event, event_type="watch.changed", stream="watch-{project_id}/{username}"):
    """A user chose which notifications to get; None for both returns to the default, which depends on their access."""

    project_id: int
    username: str
    issues: bool | None
    commits: bool | None


@dataclass(frozen=True, kw_only=True)
class PluginInstalled(Event, event_type="plugin.installed", stream="project-{project_id}"):
    """A plugin was installed or reconfigured. `secrets` names the fields whose values are kept out of the log."""

    project_id: int
    plugin: str
    fields: dict[str, Any]
    secrets: list[str]


@dataclass(frozen=True, kw_only=True)
class PluginRemoved(Event, event_type="plugin.removed", stream="project-{project_id}"):
    project_id: int
    plugin: str


@dataclass(frozen=True, kw_only=True)
class TrackerConfigured(Event, event_type="tracker.configured", stream="project-{project_id}"):
    """The tracker's milestones, priorities, close statuses or custom fields changed. A key that is absent from
    `changed` keeps its value.
    """

    project_id: int
    changed: dict[str, Any]
