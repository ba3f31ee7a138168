"""Find the project that a request names, with the actor who asks."""

from aiohttp import web

from app.errors import NotFound

MAX_NUMBER = 2**31 - 1
MAX_DIGITS = 20  # digits, leading zeros included


def path_segment(request: web.Request, name: str) -> str | None:
    """A part of the path, as typed. What decodes to something no name can be is not found."""
    value = request.match_info.get(name)
    if value is not None and ("/" in value or not value.isprintable()):
        raise NotFound("project")
    return value


def parse_number(text: str) -> int | None:
    """A number in the path; None for what cannot be the number of anything."""
    if not (text.isascii() and text.isdigit() and len(text) <= MAX_DIGITS):
        return None
    value = int(text)
    return value if 0 < value <= MAX_NUMBER else None
