"""Events of groups of users."""

from dataclasses import dataclass

from events.event import Event


@dataclass(frozen=True, kw_only=True)
class GroupCreated(Event, event_type="group.created", stream="group-{group_name}"):
    """A group was created. Its creator is its first member."""

    group_name: str
    display_name: str
    description: str | None
    group_type: str
    creator: str


@dataclass(frozen=True, kw_only=True)
class MemberAdded(Event, event_type="group.member-added", stream="group-{group_name}/{username}"):
    group_name: str
    username: str


@dataclass(frozen=True, kw_only=True)
class MemberRemoved(Event, event_type="group.member-removed", stream="group-{group_name}/{username}"):
    group_name: str
    username: str
