"""What can happen to the git repository of a project."""

from dataclasses import dataclass

from events.event import Event


@dataclass(frozen=True, kw_only=True)
class RepositoryCreated(Event, type="repository.created", stream="project-{project_id}/repository"):
    """The repository is on disk. `refs` are `[ref, object, commit]`, as a fork or README made them."""

    project_id: int
    path: str
    head: str
    refs: list[list[str]]


@dataclass(frozen=True, kw_only=True)
class RefUpdated(Event, type="ref.updated", stream="ref-{project_id}/{ref}"):
    """A ref moved from `old` to `new`; forty zeros mean that it was not or no longer is there. `pull_request` is the
    number of the one whose merge moved it.
    """

    project_id: int
    ref: str
    old: str
    new: str
    commit: str
    pull_request: int | None = None


@dataclass(frozen=True, kw_only=True)
class MirrorChanged(Event, type="mirror.changed", stream="project-{project_id}/mirror"):
    """A mirror cannot be brought up to what it mirrors any more, or for another reason, or can again: `failure` is a
    class, never what the other side said, or null.
    """

    project_id: int
    failure: str | None


@dataclass(frozen=True, kw_only=True)
class MirrorPullRequested(Event, type="mirror.pull-requested", stream="project-{project_id}/mirror-pulls"):
    """Somebody who may wants a mirror to be brought up to what it mirrors at once."""

    project_id: int


@dataclass(frozen=True, kw_only=True)
class MirrorPulled(Event, type="mirror.pulled", stream="project-{project_id}/mirror-pulls"):
    """It is as somebody has asked for; what moved has been told before."""

    project_id: int


@dataclass(frozen=True, kw_only=True)
class CommitsLanded(Event, type="commits.landed", stream="project-{project_id}/commits"):
    """Commits came to a project's default branch, the newest first: each is `[commit, username]`, the username of
    whoever has the author's e-mail address, or null. Of many thousands only the newest are told.
    """

    project_id: int
    ref: str
    commits: list[list[str | None]]


@dataclass(frozen=True, kw_only=True)
class HeadMoved(Event, type="head.moved", stream="ref-{project_id}/HEAD"):
    """Another branch is the default one; both are names without `refs/heads/`."""

    project_id: int
    old: str
    new: str
