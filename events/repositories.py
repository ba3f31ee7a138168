"""Events of a project's git repository: refs, commits, mirrors."""

from dataclasses import dataclass, field

from events.event import Event


@dataclass(frozen=True, kw_only=True)
class RepositoryCreated(Event, event_type="repository.created", stream="project-{project_id}/repository"):
    """The repository is on disk. `refs` are its initial refs, each `[ref, object, commit]`; only a fork, a mirror or a
    README brings any.
    """

    project_id: int
    path: str
    head: str
    refs: list[list[str]]


@dataclass(frozen=True, kw_only=True)
class RefUpdated(Event, event_type="ref.updated", stream="ref-{project_id}/{ref}", batched=True):
    """A ref moved from `old` to `new`; forty zeros stand for a ref that was created or deleted. `pull_request` is the
    number of the pull request whose merge moved it, `options` are the options of the push (`git push -o`).
    """

    project_id: int
    ref: str
    old: str
    new: str
    commit: str
    pull_request: int | None = None
    options: list[str] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class MirrorChanged(Event, event_type="mirror.changed", stream="project-{project_id}/mirror"):
    """Updating a mirror started to fail, fails for another reason, or works again. `failure` is a class of failure,
    never text from the remote side; null means that it works.
    """

    project_id: int
    failure: str | None


@dataclass(frozen=True, kw_only=True)
class MirrorPullRequested(Event, event_type="mirror.pull-requested", stream="project-{project_id}/mirror-pulls"):
    """A user with the right to do so asked to update a mirror at once; a worker carries it out."""

    project_id: int


@dataclass(frozen=True, kw_only=True)
class MirrorPulled(Event, event_type="mirror.pulled", stream="project-{project_id}/mirror-pulls"):
    """The requested update of a mirror is done. Events of the refs that moved come before this one."""

    project_id: int


@dataclass(frozen=True, kw_only=True)
class CommitsLanded(Event, event_type="commits.landed", stream="project-{project_id}/commits"):
    """Commits arrived on a project's default branch. Each is `[commit, username]`, the newest first; `username` is the
    user with the author's e-mail address, or null. Of a very large push only the newest commits are listed.
    """

    project_id: int
    ref: str
    commits: list[list[str | None]]


@dataclass(frozen=True, kw_only=True)
class HeadMoved(Event, event_type="head.moved", stream="ref-{project_id}/HEAD"):
    """The default branch changed. `old` and `new` are branch names without `refs/heads/`."""

    project_id: int
    old: str
    new: str
