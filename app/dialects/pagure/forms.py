"""How Pagure reads input: query, values, form and data; its booleans, pages and word lists."""

import re
from collections.abc import Collection
from dataclasses import dataclass, field

import orjson
from aiohttp import web

from app.core.urls import URL
from app.dialects.pagure.errors import ApiError, invalid_request
from app.http.requests import BODY_ERRORS, FORMS, is_storable, read_form_fields
from app.queries.paging import Page

REQUIRED = "This field is required."
NOT_A_CHOICE = "Not a valid choice"
INVALID = "Invalid input."
TOO_LONG = "Field cannot be longer than 255 characters."
TRUE_FLAGS = ("1", "true", "t", "y")
FALSE_FIELDS = ("", "0", "false", "False")
FALSE_WAITS = ("", "0", "false", "f", "n", "no")
MAX_PAGE = 10**18  # a page beyond it is as empty, and JSON's integers end soon after


@dataclass
class Form:
    """The fields of a body, each a list of texts, and what is wrong with them so far."""

    fields: dict[str, list[str]]
    errors: dict[str, list[str]] = field(default_factory=dict)
    files: dict[str, web.FileField] = field(default_factory=dict)

    def first(self, name: str) -> str | None:
        values = self.fields.get(name)
        return values[0] if values else None

    def complain(self, name: str, message: str) -> None:
        self.errors.setdefault(name, []).append(message)

    def required(self, name: str) -> str:
        """A text that is not blank."""
        value = self.first(name)
        if value is None or not value.strip():
            self.complain(name, REQUIRED)
            return ""
        return value

    def optional(self, name: str) -> str | None:
        """A trimmed text, or None for nothing."""
        return (self.first(name) or "").strip() or None

    def all(self, name: str) -> list[str]:
        """Every value of a field that is repeated: trimmed, without blanks and doubles."""
        return list(dict.fromkeys(value.strip() for value in self.fields.get(name, []) if value.strip()))

    def choice(self, name: str, choices: Collection[str]) -> str | None:
        """One of these, or None for nothing."""
        value = self.optional(name)
        if value is not None and value not in choices:
            self.complain(name, NOT_A_CHOICE)
        return value

    def flag(self, name: str) -> bool:
        """True in plain words only."""
        return (self.first(name) or "").strip().lower() in TRUE_FLAGS

    def boolean(self, name: str) -> bool:
        """Pagure's form boolean: whatever is not plainly false is true."""
        value = self.first(name)
        return value is not None and value not in FALSE_FIELDS

    def url(self, name: str) -> str | None:
        value = self.optional(name)
        if value and not URL.match(value):
            self.complain(name, INVALID)
        return value

    def words(self, name: str) -> list[str]:
        """Comma separated, trimmed, without blanks."""
        return [word.strip() for word in (self.first(name) or "").split(",") if word.strip()]

    def wait(self) -> bool:
        """Whether to answer only when the work is done: the default, unless declined in any spelling."""
        value = self.first("wait")
        return value is None or value.strip().lower() not in FALSE_WAITS

    def check(self) -> None:
        if self.errors:
            raise invalid_request(self.errors)


async def read_data(request: web.Request, texts: Collection[str] = ()) -> Form:
    """As `form`, but what was sent as JSON and is none is taken for nothing; `texts` are fields that are texts in
    JSON too.
    """
    return await read_form(request, lenient=True, texts=texts)


async def read_values(request: web.Request) -> Form:
    """The query string and then the body if that is a form, so the query wins."""
    written = request.content_type in FORMS
    body = (await read_form(request)).fields if written else {}
    query = {name: request.query.getall(name) for name in Query(request).values}
    return Form({**body, **query})


async def read_form(request: web.Request, *, lenient: bool = False, texts: Collection[str] = ()) -> Form:
    """The body of a POST, as a form or as a JSON object; the query string does not count."""
    files: dict[str, web.FileField] = {}
    try:
        if request.content_type in FORMS:
            pairs, files = await read_form_fields(request)
        else:
            pairs = _parse_json(await request.read(), texts)
    except orjson.JSONDecodeError:
        if not lenient:
            raise invalid_request() from None
        pairs = []
    except BODY_ERRORS:
        raise invalid_request() from None
    fields: dict[str, list[str]] = {}
    for name, value in pairs:
        if not is_storable(name) or not is_storable(value):
            raise invalid_request({name: [INVALID]} if is_storable(name) else None)
        fields.setdefault(name, []).append(value)
    return Form(fields, files=files)


def _parse_json(body: bytes, texts: Collection[str]) -> list[tuple[str, str]]:
    """A JSON object as form fields: a list is a repeated key, numbers and booleans are their text.

    null is absent, but for `wait`, which it declines.
    """
    if not body.strip():
        return []
    found = orjson.loads(body)
    if not isinstance(found, dict):
        raise ValueError("not an object")
    pairs = []
    for name, value in found.items():
        if name in texts and not isinstance(value, str | None):
            raise ValueError("a text and nothing else")
        for each in value if isinstance(value, list) else [value]:
            if each is None:
                pairs += [(name, "")] if name == "wait" else []
                continue
            if isinstance(each, dict | list):
                raise ValueError("a field holds no structure")
            pairs.append((name, each if isinstance(each, str) else orjson.dumps(each).decode()))
    return pairs


class Query:
    """The query string."""

    def __init__(self, request: web.Request) -> None:
        self.values = request.query
        for name, value in self.values.items():
            if not is_storable(name) or not is_storable(value):
                raise invalid_request()

    def text(self, name: str) -> str | None:
        return self.values.get(name) or None

    def flag(self, name: str) -> bool | None:
        """None when absent."""
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
        """A page that is the first one unless it says otherwise in plain digits."""
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
