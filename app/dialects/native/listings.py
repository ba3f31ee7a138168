"""Pages of native listings: `limit` and `cursor` in the query, `next` and a Link header in the response."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

from aiohttp import web

from app.database import Row
from app.dialects.native.problems import invalid_request
from app.dialects.native.requests import read_integer
from app.http.pagination import InvalidCursor, next_link, parse_cursor, parse_dated_cursor
from app.http.responses import json_reply

DEFAULT_LIMIT = 50
MAX_LIMIT = 100

T = TypeVar("T")


def read_limit(values: Mapping[str, str]) -> int:
    """Read the size of the page. Raises ProblemError."""
    return read_integer(values, "limit", DEFAULT_LIMIT, 1, MAX_LIMIT)


def read_cursor(values: Mapping[str, str]) -> UUID:
    """Read the id after which the page begins. Raises ProblemError."""
    return _read_cursor(values, parse_cursor)


def read_dated_cursor(values: Mapping[str, str]) -> tuple[datetime, UUID] | None:
    """Read the time and id after which the page begins; None for the first page. Raises ProblemError."""
    return _read_cursor(values, parse_dated_cursor)


def _read_cursor(values: Mapping[str, str], parse: Callable[[str | None], T]) -> T:
    try:
        return parse(values.get("cursor"))
    except InvalidCursor:
        raise invalid_request(("?cursor", "Invalid cursor.")) from None


def reply_with_page(
    request: web.Request,
    name: str,
    rows: Sequence[Row],
    limit: int,
    render: Callable[[Row], Any],
    format_cursor: Callable[[Row], str],
) -> web.Response:
    """Answer a page under the key `name`. There are `limit` + 1 rows if another page follows."""
    cursor = format_cursor(rows[limit - 1]) if len(rows) > limit else None
    body = {name: [render(row) for row in rows[:limit]], "next": cursor}
    return json_reply(body, headers=next_link(request, cursor))
