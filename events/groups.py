"""What can happen to a group of users."""

from dataclasses import dataclass

from events.event import Event


@dataclass(frozen=True, kw_only=True)
class GroupCreated(Event, type="group.created"):
    """Its creator is its first member."""

    group_name: str
    display_name: str
    description: str | None
    group_type: str
    creator: str

    @property
    def stream(self) -> str:
        return f"group-{self.group_name}"


@dataclass(frozen=True, kw_only=True)
class MemberAdded(Event, type="group.member-added"):
    group_name: str
    username: str

    @property
    def stream(self) -> str:
        return f"group-{self.group_name}/{self.username}"


@dataclass(frozen=True, kw_only=True)
class MemberRemoved(Event, type="group.member-removed"):
    group_name: str
    username: str

    @property
    def stream(self) -> str:
        return f"group-{self.group_name}/{self.username}"
