"""Readers of input: query strings, forms and JSON, with Pagure's booleans, pages and lists of words."""

import re
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

import orjson
from aiohttp import web

from app.core.urls import URL
from app.dialects.pagure.errors import ApiError, invalid_request
from app.http.requests import BODY_ERRORS, FORMS, is_storable, parse_json, read_form_fields
from app.queries.paging import Page

REQUIRED = "This field is required."
NOT_A_CHOICE = "Not a valid choice"
INVALID = "Invalid input."
TOO_LONG = "Field cannot be longer than 255 characters."
TRUE_FLAGS = ("1", "true", "t", "y")
FALSE_FIELDS = ("", "0", "false", "False")
FALSE_WAITS = ("", "0", "false", "f", "n", "no")
MAX_PAGE = 10**18  # greater page numbers are as empty, and soon too large for JSON integers


class Fields(dict[str, list[str]]):
    """The fields of a body, each a list of texts.

    What cannot be one, such as an object in JSON, is an error where that field is asked for, and is ignored otherwise.
    """

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.unreadable: dict[str, ApiError] = {}

    def require_readable(self, names: Collection[str] | None = None) -> None:
        """Raise ApiError if one of these fields is unreadable; without names, if any is."""
        for name, error in self.unreadable.items():
            if names is None or name in names:
                raise error

    def get(self, name: str, default: Any = None) -> Any:
        self.require_readable((name,))
        return super().get(name, default)

    def __getitem__(self, name: str) -> list[str]:
        self.require_readable((name,))
        return super().__getitem__(name)

    def __contains__(self, name: object) -> bool:
        self.require_readable((str(name),))
        return super().__contains__(name)


@dataclass
class Form:
    """The fields of a body, its files, and the errors found so far."""

    fields: Fields
    errors: dict[str, list[str]] = field(default_factory=dict)
    files: dict[str, web.FileField] = field(default_factory=dict)

    def first(self, name: str) -> str | None:
        values = self.fields.get(name)
        return values[0] if values else None

    def complain(self, name: str, message: str) -> None:
        self.errors.setdefault(name, []).append(message)

    def required(self, name: str) -> str:
        """Return a text that is not blank; otherwise note an error and return an empty text."""
        value = self.first(name)
        if value is None or not value.strip():
            self.complain(name, REQUIRED)
            return ""
        return value

    def optional(self, name: str) -> str | None:
        """Return the trimmed text, or None if it is blank or absent."""
        return (self.first(name) or "").strip() or None

    def all(self, name: str) -> list[str]:
        """Return the values of a repeated field: trimmed, without blanks and duplicates."""
        return list(dict.fromkeys(value.strip() for value in self.fields.get(name, []) if value.strip()))

    def choice(self, name: str, choices: Collection[str]) -> str | None:
        """Return one of the choices, or None if the field is blank; note an error for another value."""
        value = self.optional(name)
        if value is not None and value not in choices:
            self.complain(name, NOT_A_CHOICE)
        return value

    def flag(self, name: str) -> bool:
        """Return whether the field is one of TRUE_FLAGS."""
        return (self.first(name) or "").strip().lower() in TRUE_FLAGS

    def boolean(self, name: str) -> bool:
        """Return Pagure's form boolean: any value that is not in FALSE_FIELDS is true."""
        value = self.first(name)
        return value is not None and value not in FALSE_FIELDS

    def url(self, name: str) -> str | None:
        value = self.optional(name)
        if value and not URL.match(value):
            self.complain(name, INVALID)
        return value

    def words(self, name: str) -> list[str]:
        """Return the words of a comma-separated list: trimmed, without blanks."""
        return [word.strip() for word in (self.first(name) or "").split(",") if word.strip()]

    def wait(self) -> bool:
        """Return whether to wait for the end of the task: true unless the field is one of FALSE_WAITS."""
        value = self.first("wait")
        return value is None or value.strip().lower() not in FALSE_WAITS

    def check(self) -> None:
        """Raise ApiError if there are errors."""
        if self.errors:
            raise invalid_request(self.errors)


async def read_data(request: web.Request, texts: Collection[str] = ()) -> Form:
    """Read a form like `read_form`, but treat malformed JSON as empty. In JSON, the fields `texts` must be texts."""
    return await read_form(request, lenient=True, texts=texts)


async def read_values(request: web.Request) -> Form:
    """Read the body, if it is a form, and the query string, which takes precedence."""
    body = (await read_form(request)).fields if request.content_type in FORMS else Fields()
    body.require_readable()
    query = {name: request.query.getall(name) for name in Query(request).values}
    return Form(Fields({**body, **query}))


async def read_form(request: web.Request, *, lenient: bool = False, texts: Collection[str] = ()) -> Form:
    """Read the body, a form or a JSON object, without the query string. Raises ApiError."""
    files: dict[str, web.FileField] = {}
    fields = Fields()
    try:
        if request.content_type in FORMS:
            pairs, files = await read_form_fields(request)
        else:
            pairs = _parse_json(await request.read(), texts, fields)
    except orjson.JSONDecodeError:
        if not lenient:
            raise invalid_request() from None
        pairs = []
    except BODY_ERRORS:
        raise invalid_request() from None
    for name, value in pairs:
        if not is_storable(name):
            fields.unreadable[name] = invalid_request()
        elif not is_storable(value):
            fields.unreadable[name] = invalid_request({name: [INVALID]})
        else:
            fields.setdefault(name, []).append(value)
    return Form(fields, files=files)


def _parse_json(body: bytes, texts: Collection[str], fields: Fields) -> list[tuple[str, str]]:
    """Turn a JSON object into form fields: a list repeats its field, numbers and booleans become text.

    A field that is null is left out, except for `wait`, where null means no. What cannot become text is noted as
    unreadable in `fields`.
    """
    if not body.strip():
        return []
    parsed = parse_json(body)
    if not isinstance(parsed, dict):
        raise ValueError("not an object")
    pairs = []
    for name, value in parsed.items():
        if name in texts and not isinstance(value, str | None):
            raise ValueError("not a text")
        for each in value if isinstance(value, list) else [value]:
            if each is None:
                pairs += [(name, "")] if name == "wait" else []
            elif isinstance(each, dict | list):
                fields.unreadable[name] = invalid_request()
            else:
                pairs.append((name, each if isinstance(each, str) else orjson.dumps(each).decode()))
    return pairs


class Query:
    """The query string. Raises ApiError for text that the database cannot store."""

    def __init__(self, request: web.Request) -> None:
        self.values = request.query
        for name, value in self.values.items():
            if not is_storable(name) or not is_storable(value):
                raise invalid_request()

    def text(self, name: str) -> str | None:
        return self.values.get(name) or None

    def flag(self, name: str) -> bool | None:
        """Return whether the parameter is one of TRUE_FLAGS; None if it is absent."""
        value = self.values.get(name)
        return None if not value else value.strip().lower() in TRUE_FLAGS

    def all(self, name: str) -> list[str]:
        return self.values.getall(name, [])

    def page(self) -> Page:
        number = self._integer("page", 1)
        if number < 1:
            raise invalid_request()
        return Page(number, self.size())

    def size(self) -> int:
        size = self._integer("per_page", 20)
        if not 1 <= size <= 100:
            raise ApiError(400, "EINVALIDPERPAGEVALUE")
        return size

    def page_of(self, name: str, size: int) -> Page:
        """Return the page whose number this parameter is; the first one if it is not a number."""
        value = (self.values.get(name) or "").strip()
        number = int(value) if re.fullmatch(r"[0-9]{1,15}", value, re.ASCII) else 1
        return Page(max(1, number), size)

    def _integer(self, name: str, default: int) -> int:
        value = (self.values.get(name) or "").strip()
        if not value:
            return default
        if not re.fullmatch(r"[+-]?[0-9]{1,100}", value):
            raise invalid_request()
        return min(int(value), MAX_PAGE)
