"""What can happen to a project."""

from dataclasses import dataclass

from events.event import Event


@dataclass(frozen=True, kw_only=True)
class ProjectCreated(Event, type="project.created", decides=True):
    """A project exists; its repository is asked for by this very event."""

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

    @property
    def stream(self) -> str:
        return f"project-{self.project_id}"


@dataclass(frozen=True, kw_only=True)
class ProjectForked(Event, type="project.forked", decides=True):
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

    @property
    def stream(self) -> str:
        return f"project-{self.project_id}"


@dataclass(frozen=True, kw_only=True)
class ProjectDiscarded(Event, type="project.discarded", decides=True):
    """Its repository could not be made, so the project is taken back and its name is free."""

    project_id: int
    path: str
    reason: str

    @property
    def stream(self) -> str:
        return f"project-{self.project_id}/repository"
