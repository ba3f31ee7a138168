"""Reading native requests: JSON bodies and query parameters, where whatever is unknown is named."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from aiohttp import web

from app.dialects.native.problems import ProblemError, invalid_request
from app.errors import NotFound, Subject
from app.http.pagination import InvalidCursor, parse_cursor, parse_dated_cursor
from app.http.projects import lookup_by_path
from app.http.requests import read_json_object

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


def lookup_project(request: web.Request) -> tuple[Any, ...]:
    """The project that `?project=` names, if it does."""
    return lookup_by_path(request.query["project"]) if "project" in request.query else (None,)


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
        raise NotFound(Subject.ID) from None


def read_cursor(values: Mapping[str, str]) -> UUID:
    """Where the previous page ended."""
    try:
        return parse_cursor(values.get("cursor"))
    except InvalidCursor:
        raise invalid_request(("?cursor", "Invalid cursor.")) from None


def read_dated_cursor(values: Mapping[str, str]) -> tuple[datetime, UUID] | None:
    """The same for what is listed by age; None for the first page."""
    try:
        return parse_dated_cursor(values.get("cursor"))
    except InvalidCursor:
        raise invalid_request(("?cursor", "Invalid cursor.")) from None
