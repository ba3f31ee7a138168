"""Look up the project that a request names, and parse the parts of its path."""

from typing import Any

from aiohttp import web

from app.core import paths
from app.errors import NotFound, Subject
from app.queries import projects

MAX_NUMBER = 2**31 - 1
MAX_DIGITS = 20  # leading zeros included


def lookup_by_address(address: str) -> tuple[Any, ...]:
    """Build the lookup of a project by its address (core/paths.py)."""
    return projects.BY_ADDRESS, address


def lookup_by_path(path: str) -> tuple[Any, ...]:
    """Build the lookup of a project by a path as users write it; an unprintable path finds nothing."""
    return lookup_by_address(paths.address_from_path(path) if path.isprintable() else "")


def path_segment(request: web.Request, name: str) -> str | None:
    """Return a segment of the path. Raises NotFound for one that cannot be a name once it is decoded."""
    value = request.match_info.get(name)
    if value is not None and ("/" in value or not value.isprintable()):
        raise NotFound(Subject.PROJECT)
    return value


def parse_number(text: str) -> int | None:
    """Parse the number of an issue, a pull request or a comment; None for a text that is not one."""
    if not (text.isascii() and text.isdigit() and len(text) <= MAX_DIGITS):
        return None
    value = int(text)
    return value if 0 < value <= MAX_NUMBER else None
