"""What can happen to a subscription. Neither its address nor its secret is ever part of it."""

from dataclasses import dataclass
from typing import Any

from events.event import Event


@dataclass(frozen=True, kw_only=True)
class SubscriptionCreated(Event, type="subscription.created", stream="subscription-{subscription_id}"):
    """Somebody wants events sent to them, those of a project or all that they may read.

    A project's web hooks begin and end with its option instead (`ProjectConfigured`).
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
    Event, type="subscription.changed", stream="subscription-{subscription_id}", outlives_project=True
):
    """`changed` holds what is different now: types, format, ordered, host, status, reason. `username` None: a project's
    web hook.
    """

    subscription_id: str
    username: str | None
    project_id: int | None
    changed: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class SubscriptionDeleted(
    Event, type="subscription.deleted", stream="subscription-{subscription_id}", outlives_project=True
):
    """Nothing is sent any more, nor shown of what was."""

    subscription_id: str
    username: str
    project_id: int | None
