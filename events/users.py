"""What can happen to a user and to the tokens that speak for one."""

from dataclasses import dataclass

from events.event import Event


@dataclass(frozen=True, kw_only=True)
class UserCreated(Event, type="user.created", stream="user-{username}"):
    username: str
    fullname: str
    email: str
    admin: bool


@dataclass(frozen=True, kw_only=True)
class TokenIssued(Event, type="token.issued", stream="token-{token_id}"):
    """The secret itself is never in the log: `prefix` is what its owner recognises it by."""

    token_id: str
    username: str
    prefix: str
    description: str
    acls: list[str] | None
    token_project: int | None
    expires_at: str | None


@dataclass(frozen=True, kw_only=True)
class TokenRevoked(Event, type="token.revoked", stream="token-{token_id}"):
    token_id: str
    username: str
