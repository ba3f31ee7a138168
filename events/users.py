"""Events of users and their API tokens."""

from dataclasses import dataclass

from events.event import Event


@dataclass(frozen=True, kw_only=True)
class UserCreated(Event, event_type="user.created", stream="user-{username}"):
    username: str
    fullname: str
    email: str
    admin: bool


@dataclass(frozen=True, kw_only=True)
class TokenIssued(Event, event_type="token.issued", stream="token-{token_id}"):
    """An API token was issued. The secret is never in the log; `prefix` lets the owner recognise the token."""

    token_id: str
    username: str
    prefix: str
    description: str
    acls: list[str] | None
    token_project: int | None
    expires_at: str | None


@dataclass(frozen=True, kw_only=True)
class TokenRevoked(Event, event_type="token.revoked", stream="token-{token_id}"):
    token_id: str
    username: str
