"""Find the project that a request names, and read the numbers in its path."""

from typing import Any

from aiohttp import web

from app.core import paths
from app.errors import NotFound, Subject
from app.queries import projects

MAX_NUMBER = 2**31 - 1
MAX_DIGITS = 20  # leading zeros included


def lookup_by_address(address: str) -> tuple[Any, ...]:
    """The lookup of a route's project by its address (core/paths.py)."""
    return projects.BY_ADDRESS, address


def lookup_by_path(path: str) -> tuple[Any, ...]:
    """The lookup by a path as people write it; a text that can be no path finds nothing."""
    return lookup_by_address(paths.address_from_path(path) if path.isprintable() else "")


def path_segment(request: web.Request, name: str) -> str | None:
    """A part of the path. Raises NotFound for one that decodes to what no name can be."""
    value = request.match_info.get(name)
    if value is not None and ("/" in value or not value.isprintable()):
        raise NotFound(Subject.PROJECT)
    return value


def parse_number(text: str) -> int | None:
    """The number of an issue, a pull request or a comment; None for a text that can be none."""
    if not (text.isascii() and text.isdigit() and len(text) <= MAX_DIGITS):
        return None
    value = int(text)
    return value if 0 < value <= MAX_NUMBER else None
