"""Cursors of listings and links to other pages."""

import base64
import binascii
from datetime import UTC, datetime, timedelta
from uuid import UUID

from aiohttp import web
from yarl import URL

from app.http.keys import SETTINGS

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
FIRST = UUID(int=0)


class InvalidCursor(ValueError):
    """The text is not a cursor of a listing."""


def format_cursor(last: UUID) -> str:
    """Encode the last id of a page, for listings ordered by id."""
    return base64.urlsafe_b64encode(last.bytes).decode().rstrip("=")


def parse_cursor(text: str | None) -> UUID:
    """Return the id after which the page begins. Raises InvalidCursor."""
    if text is None:
        return FIRST
    try:
        return UUID(bytes=base64.urlsafe_b64decode(text + "=="))
    except (ValueError, binascii.Error):
        raise InvalidCursor(text) from None


def format_dated_cursor(at: datetime, last: UUID) -> str:
    """Encode the last time and id of a page, for listings ordered by time and then by id."""
    microseconds = (at - EPOCH) // timedelta(microseconds=1)
    return base64.urlsafe_b64encode(microseconds.to_bytes(8) + last.bytes).decode().rstrip("=")


def parse_dated_cursor(text: str | None) -> tuple[datetime, UUID] | None:
    """Return the time and id after which the page begins; None for the first page. Raises InvalidCursor."""
    if text is None:
        return None
    try:
        raw = base64.urlsafe_b64decode(text + "==")
        return EPOCH + timedelta(microseconds=int.from_bytes(raw[:8])), UUID(bytes=raw[8:])
    except (ValueError, OverflowError, binascii.Error):
        raise InvalidCursor(text) from None


def next_link(request: web.Request, cursor: str | None) -> dict[str, str]:
    """Build the Link header (RFC 8288) to the next page, if there is one."""
    if not cursor:
        return {}
    address = _public_origin(request) + str(request.rel_url.update_query(cursor=cursor))
    return {"Link": f'<{address}>; rel="next"'}


def page_address(request: web.Request, query: list[tuple[str, str]]) -> str:
    """Return the public URL of this listing with another query string."""
    return str(URL(f"{_public_origin(request)}{request.rel_url.raw_path}", encoded=True).with_query(query))


def _public_origin(request: web.Request) -> str:
    """Return the public URL of the settings; if there is none, what the client has asked for."""
    settings = request.config_dict[SETTINGS]
    return settings.url if settings.public_url else f"{request.scheme}://{request.host}"
