"""What can happen to a group of users."""

from dataclasses import dataclass

from events.event import Event


@dataclass(frozen=True, kw_only=True)
class GroupCreated(Event, type="group.created", stream="group-{group_name}"):
    """Its creator is its first member."""

    group_name: str
    display_name: str
    description: str | None
    group_type: str
    creator: str


@dataclass(frozen=True, kw_only=True)
class MemberAdded(Event, type="group.member-added", stream="group-{group_name}/{username}"):
    group_name: str
    username: str


@dataclass(frozen=True, kw_only=True)
class MemberRemoved(Event, type="group.member-removed", stream="group-{group_name}/{username}"):
    group_name: str
    username: str
