"""Events of webhook subscriptions. They never contain the URL or the secret."""

from dataclasses import dataclass
from typing import Any

from events.event import Event


@dataclass(frozen=True, kw_only=True)
class SubscriptionCreated(Event, event_type="subscription.created", stream="subscription-{subscription_id}"):
    """A user subscribed to the events of a project, or to all events that they may read.

    A project's web hooks are created and ended by the project's setting instead (`ProjectConfigured`).
    """

    subscription_id: str
    username: str
    token_id: str | None
    project_id: int | None
    types: list[str] | None
    format: str
    ordered: bool
    host: str
    status: str


@dataclass(frozen=True, kw_only=True)
class SubscriptionChanged(
    Event, event_type="subscription.changed", stream="subscription-{subscription_id}", outlives_project=True
):
    """Fields of a subscription changed. `changed` maps each of them to its new value: types, format, ordered, host,
    status, reason. `username` is None for a project's web hook.
    """

    subscription_id: str
    username: str | None
    project_id: int | None
    changed: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class SubscriptionDeleted(
    Event, event_type="subscription.deleted", stream="subscription-{subscription_id}", outlives_project=True
):
    """A subscription was deleted; nothing is sent any more and its deliveries are no longer shown."""

    subscription_id: str
    username: str
    project_id: int | None
