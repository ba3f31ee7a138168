"""The actor of a request: a user with a token, or an anonymous client."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID


@dataclass(frozen=True)
class Actor:
    """A user and the token of the request. `acls` are its scopes; None means everything the user may do.

    `token_project` is the project that the token is bound to, `token_expires_at` the time when it ends; None for any
    project and for never.
    """

    username: str
    fullname: str = ""
    admin: bool = False
    token_id: UUID | None = None
    acls: frozenset[str] | None = None
    token_project: int | None = None
    token_expires_at: datetime | None = None
    groups: frozenset[str] = frozenset()

    @property
    def anonymous(self) -> bool:
        return not self.username


NOBODY = Actor("", acls=frozenset())
