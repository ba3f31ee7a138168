"""A model of the forge: its rules once more, in plain Python."""

from dataclasses import dataclass, field
from typing import Any

PEOPLE = ("alice", "bob", "carol")
ADMIN, NOBODY, OWNER = "admin", "", "the owner"
EVERYBODY = (*PEOPLE, ADMIN, NOBODY)
READ, TICKET, COMMIT, ADMINISTER, OWN = 1, 2, 4, 5, 6
LEVELS = {"ticket": TICKET, "commit": COMMIT, "admin": ADMINISTER}


@dataclass
class Issue:
    author: str
    title: str
    private: bool
    tags: set[str]
    assignee: str | None = None
    milestone: str | None = None
    status: str = "Open"
    comments: int = 0  # without notifications
    fields: dict[str, str] = field(default_factory=dict)
    depends: set[int] = field(default_factory=set)
    boards: dict[str, str] = field(default_factory=dict)  # and its status on each


@dataclass
class Pull:
    author: str
    title: str
    assignee: str | None = None
    status: str = "Open"
    comments: int = 0


@dataclass
class Project:
    path: str
    owner: str
    private: bool
    parent: str | None = None
    forker: str | None = None
    grants: dict[tuple[str, str], str] = field(default_factory=dict)
    blocked: set[str] = field(default_factory=set)
    watches: dict[str, list[str]] = field(default_factory=dict)
    tags: set[str] = field(default_factory=set)
    plugins: set[str] = field(default_factory=set)
    boards: dict[str, str] = field(default_factory=dict)  # and their tags
    statuses: dict[str, dict[str, Any]] = field(default_factory=dict)
    head: str = "main"
    branches: set[str] = field(default_factory=set)
    issues: dict[int, Issue] = field(default_factory=dict)
    pulls: dict[int, Pull] = field(default_factory=dict)
    tracker: bool = True
    read_only: bool = False
    requests: bool = True
    open_metadata: bool = False

    @property
    def numbers(self) -> int:
        return len(self.issues) + len(self.pulls)

    def depends_on(self, number: int, other: int) -> bool:
        """Whether the issue is the other one or depends on it."""
        return number == other or any(self.depends_on(each, other) for each in self.issues[number].depends)


@dataclass
class Model:
    """Projects by path, groups with their members, and users."""

    projects: dict[str, Project] = field(default_factory=dict)
    groups: dict[str, set[str]] = field(default_factory=dict)
    creators: dict[str, str] = field(default_factory=dict)
    users: set[str] = field(default_factory=lambda: {*PEOPLE, ADMIN})

    def level(self, name: str, project: Project) -> int:
        if name and name in (ADMIN, project.owner):
            return OWN
        held = [0 if project.private else READ]
        for (party, holder), level in project.grants.items():
            if name and (name == holder if party == "user" else name in self.groups[holder]):
                held.append(LEVELS[level])
        return max(held)

    def may_read(self, name: str, project: Project) -> bool:
        return self.level(name, project) >= READ

    def may_see_issue(self, name: str, project: Project, issue: Issue) -> bool:
        writes = self.level(name, project) >= COMMIT
        return not issue.private or writes or (name != NOBODY and name in (issue.author, issue.assignee))
