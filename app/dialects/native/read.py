"""Reading native requests: JSON bodies and query parameters, where whatever is unknown is named."""

import base64
import binascii
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from aiohttp import web

from app.core import paths
from app.dialects.native.problems import ProblemError, invalid_request
from app.errors import NotFound
from app.http.requests import read_json_object

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MAX_DIGITS = 20  # digits, leading zeros included


async def read_body(request: web.Request, fields: Mapping[str, type], required: tuple[str, ...]) -> dict[str, Any]:
    """The JSON object of the request, every field of its type; null is absent. There are no query parameters."""
    found = await read_object(request)
    errors = [(pointer(name), "There is no such field.") for name in found if name not in fields]
    values = {name: value for name, value in found.items() if value is not None and name in fields}
    for name, value in values.items():
        if not isinstance(value, fields[name]) or (fields[name] is int and isinstance(value, bool)):
            errors.append((f"/{name}", f"This has to be a {fields[name].__name__}."))
        elif isinstance(value, list) and not all(isinstance(each, str) for each in value):
            errors.append((f"/{name}", "This has to be a list of texts."))
        elif any("\x00" in each for each in (value if isinstance(value, list) else [value]) if isinstance(each, str)):
            errors.append((f"/{name}", "NUL cannot be stored."))
    errors += [(f"/{name}", "This field is required.") for name in required if name not in values]
    if errors:
        raise invalid_request(*errors)
    return values


async def require_no_input(request: web.Request) -> None:
    """The request says nothing beyond its path: its body is empty, or an object of no fields."""
    if request.can_read_body and await request.read():
        await read_body(request, {}, ())
    read_query(request)


async def read_object(request: web.Request) -> dict[str, Any]:
    """The JSON object of the request, whatever is in it. There are no query parameters."""
    read_query(request)
    try:
        return await read_json_object(request)
    except (ValueError, web.RequestPayloadError):
        raise ProblemError(400, "bad-request", "The body is not a JSON object.") from None


def pointer(name: str) -> str:
    """Where in the body, as RFC 6901 writes it."""
    return "/" + name.replace("~", "~0").replace("/", "~1")


def read_query(request: web.Request, *known: str) -> dict[str, str]:
    """The query parameters, each known and given once at most."""
    for name in request.query:
        if name not in known:
            raise invalid_request((f"?{name}", "There is no such parameter."))
        if len(request.query.getall(name)) > 1:
            raise invalid_request((f"?{name}", "This parameter is taken once."))
        if "\x00" in request.query[name]:
            raise invalid_request((f"?{name}", "NUL cannot be stored."))
    return dict(request.query)


def project_address(request: web.Request) -> str:
    """Of the project that `?project=` names; of none when it cannot be the name of any."""
    text = request.query.get("project", "")
    return paths.address_from_path(text) if text.isprintable() else ""


def read_integer(values: Mapping[str, str], name: str, default: int, low: int, high: int) -> int:
    text = values.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) <= MAX_DIGITS) or not low <= int(text) <= high:
        raise invalid_request((f"?{name}", f"This has to be a whole number from {low} to {high}."))
    return int(text)


def parse_uuid(text: str) -> UUID:
    """An id in the path; what is no UUID names nothing."""
    try:
        return UUID(text)
    except ValueError:
        raise NotFound("id") from None


def parse_cursor(values: Mapping[str, str]) -> UUID:
    """Where the previous page ended, as we said it then."""
    text = values.get("cursor")
    if text is None:
        return UUID(int=0)
    try:
        return UUID(bytes=base64.urlsafe_b64decode(text + "=="))
    except (ValueError, binascii.Error):
        raise invalid_request(("?cursor", "This is not a cursor of ours.")) from None


def parse_dated_cursor(values: Mapping[str, str]) -> tuple[datetime, UUID] | None:
    """The same for what is listed by age."""
    text = values.get("cursor")
    if text is None:
        return None
    try:
        raw = base64.urlsafe_b64decode(text + "==")
        return EPOCH + timedelta(microseconds=int.from_bytes(raw[:8])), UUID(bytes=raw[8:])
    except (ValueError, OverflowError, binascii.Error):
        raise invalid_request(("?cursor", "This is not a cursor of ours.")) from None


def format_dated_cursor(at: datetime, last: UUID) -> str:
    age = (at - EPOCH) // timedelta(microseconds=1)
    return base64.urlsafe_b64encode(age.to_bytes(8) + last.bytes).decode().rstrip("=")


def format_cursor(last: UUID) -> str:
    return base64.urlsafe_b64encode(last.bytes).decode().rstrip("=")


def link_header(request: web.Request, cursor: str | None) -> dict[str, str]:
    """The header that names the page that follows, if one does."""
    return {"Link": f'<{request.url.update_query(cursor=cursor)}>; rel="next"'} if cursor else {}


def format_moment(at: datetime | None) -> str | None:
    """RFC 3339 in UTC with milliseconds."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z") if at else None
