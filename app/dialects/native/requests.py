"""Readers of native requests: JSON bodies and query parameters. Unknown names are refused."""

from collections.abc import Collection, Mapping
from typing import Any
from uuid import UUID

from aiohttp import web

from app.actor import Actor
from app.core import paths
from app.core.access import require
from app.database import Row
from app.dialects.native.problems import ProblemError, invalid_request
from app.errors import NotFound, Subject
from app.http.keys import DATABASE
from app.http.projects import MAX_DIGITS, lookup_by_path
from app.http.requests import read_json_object
from app.queries import projects

MAX_SEQ = 2**62  # greater than any event number
TYPE_NAMES = {str: "a string", int: "an integer", bool: "true or false", list: "a list of strings", dict: "an object"}


async def read_body(request: web.Request, fields: Mapping[str, type], required: tuple[str, ...]) -> dict[str, Any]:
    """Read a JSON object with these fields and no query parameters. Fields that are null are left out."""
    body = await read_object(request)
    errors = find_unknown_fields(body, fields)
    values = {name: value for name, value in body.items() if value is not None and name in fields}
    for name, value in values.items():
        texts = [each for each in (value if isinstance(value, list) else [value]) if isinstance(each, str)]
        if not _has_type(value, fields[name]):
            errors.append((f"/{name}", f"`{name}` must be {TYPE_NAMES[fields[name]]}."))
        elif any("\x00" in text for text in texts):
            errors.append((f"/{name}", f"`{name}` must not contain NUL characters."))
    errors += [(f"/{name}", f"`{name}` is required.") for name in required if name not in values]
    if errors:
        raise invalid_request(*errors)
    return values


def _has_type(value: Any, kind: type) -> bool:
    if isinstance(value, bool):
        return kind is bool  # Python's booleans are integers, JSON's are not
    if isinstance(value, list):
        return kind is list and all(isinstance(each, str) for each in value)
    return isinstance(value, kind)


def find_unknown_fields(body: Mapping[str, Any], fields: Collection[str]) -> list[tuple[str, str]]:
    """Return an error for each field of the body that is not one of these."""
    return [(format_pointer(name), "Unknown field.") for name in body if name not in fields]


async def require_no_input(request: web.Request) -> None:
    """Raise ProblemError unless there are no query parameters and the body is empty or an empty object."""
    if request.can_read_body and await request.read():
        await read_body(request, {}, ())
    read_query(request)


async def read_object(request: web.Request) -> dict[str, Any]:
    """Read any JSON object. Raises ProblemError for another body, or for query parameters."""
    read_query(request)
    try:
        return await read_json_object(request)
    except (ValueError, web.RequestPayloadError):
        raise ProblemError(400, "bad-request", "The body must be a JSON object.") from None


def format_pointer(name: str) -> str:
    """Format the JSON pointer (RFC 6901) to a field of the body."""
    return "/" + name.replace("~", "~0").replace("/", "~1")


def read_query(request: web.Request, *names: str) -> dict[str, str]:
    """Read the query parameters, each one of `names` and given once at most. Raises ProblemError."""
    for name in request.query:
        if name not in names:
            raise invalid_request((f"?{name}", "Unknown parameter."))
        if len(request.query.getall(name)) > 1:
            raise invalid_request((f"?{name}", f"Give `{name}` once."))
        if "\x00" in request.query[name]:
            raise invalid_request((f"?{name}", f"`{name}` must not contain NUL characters."))
    return dict(request.query)


def lookup_project(request: web.Request) -> tuple[Any, ...]:
    """Build the lookup of the project that `?project=` names, if there is one."""
    return lookup_by_path(request.query["project"]) if "project" in request.query else (None,)


async def find_project(request: web.Request, actor: Actor, body: Mapping[str, Any]) -> Row | None:
    """Find the project that the field `project` names, if it is given. Raises NotFound if the actor may not see it."""
    if "project" not in body:
        return None
    project = await projects.by_address(request.config_dict[DATABASE], paths.address_from_path(body["project"]))
    require(actor, "read-project", project)
    return project


def read_integer(values: Mapping[str, str], name: str, default: int, low: int, high: int) -> int:
    """Read a number from `low` to `high`. Raises ProblemError."""
    text = values.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) <= MAX_DIGITS) or not low <= int(text) <= high:
        raise invalid_request((f"?{name}", f"`{name}` must be a number from {low:,} to {high:,}."))
    return int(text)


def read_choice(values: Mapping[str, str], name: str, choices: Collection[str]) -> str | None:
    """Read one of the choices; None if the parameter is not given. Raises ProblemError."""
    value = values.get(name)
    if value is not None and value not in choices:
        raise invalid_request((f"?{name}", f"`{name}` must be one of {', '.join(choices)}."))
    return value


def parse_uuid(text: str) -> UUID:
    """Parse an id in the path. Raises NotFound if it is not a UUID."""
    try:
        return UUID(text)
    except ValueError:
        raise NotFound(Subject.ID) from None
