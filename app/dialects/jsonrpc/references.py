"""Find what an argument refers to, by number or by name. A string of digits is tried as a name first."""

from typing import Any

from app.core.paths import address_from_path
from app.database import Database, Row
from app.dialects.jsonrpc.errors import RpcError, echo
from app.dialects.jsonrpc.methods import MAX_DIGITS
from app.http.requests import is_storable
from app.queries import groups, projects, users


def _split(value: Any) -> tuple[str | None, int | None]:
    """Return the name and the number that a reference may mean."""
    if isinstance(value, bool):
        return None, None
    if isinstance(value, int):
        return None, value if 0 < value < 10**MAX_DIGITS else None
    if not isinstance(value, str) or not is_storable(value):
        return None, None
    return value, int(value) if value.isascii() and value.isdigit() and len(value) <= MAX_DIGITS else None


async def find_repository(db: Database, value: Any) -> Row | None:
    path, number = _split(value)
    return await projects.find_by_reference(db, None if path is None else address_from_path(path), path, number)


async def find_user(db: Database, value: Any) -> Row:
    """Find a user with the prefixes of their tokens. Raises RpcError."""
    found = await users.find_by_reference(db, *_split(value))
    if found is None:
        raise RpcError(f"user `{echo(value)}` does not exist")
    return found


async def find_group(db: Database, value: Any) -> Row:
    """Find a group with its members. Raises RpcError."""
    found = await groups.find_by_reference(db, *_split(value))
    if found is None:
        raise RpcError(f"user group `{echo(value)}` does not exist")
    return found
