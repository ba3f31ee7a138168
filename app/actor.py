"""Who makes a request: a user, with which token, or nobody."""

from dataclasses import dataclass
from uuid import UUID


@dataclass(frozen=True)
class Actor:
    """Who asks, and with which token. `acls` None means everything the user may do."""

    username: str
    fullname: str = ""
    admin: bool = False
    token_id: UUID | None = None
    acls: frozenset[str] | None = None
    token_project: int | None = None
    groups: frozenset[str] = frozenset()

    @property
    def anonymous(self) -> bool:
        return not self.username


NOBODY = Actor("", acls=frozenset())
