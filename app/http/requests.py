"""Readers of request bodies and forms, and the check for text that the database can store."""

import re
import zlib
from codecs import BOM_UTF8
from typing import Any
from urllib.parse import parse_qsl

import orjson
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

MAX_FIELDS = 1000
FORMS = ("application/x-www-form-urlencoded", "multipart/form-data")
UNSTORABLE = re.compile("[\x00\ud800-\udfff]")

# Raised while reading a malformed body: its bytes, its charset, its parts or their headers.
BODY_ERRORS = (
    ValueError,
    LookupError,
    AssertionError,
    RuntimeError,
    HttpProcessingError,
    zlib.error,
    web.RequestPayloadError,
)
MAX_BODY = 4 << 20  # bytes; the git routes stream and have a limit of their own


def parse_json(body: bytes) -> Any:
    """Parse JSON, which may begin with a byte order mark. Raises orjson.JSONDecodeError."""
    return orjson.loads(body.removeprefix(BOM_UTF8))


async def read_json_object(request: web.Request) -> dict[str, Any]:
    """Read the body as a JSON object. Raises ValueError if it is anything else."""
    body = parse_json(await request.read())
    if not isinstance(body, dict):
        raise ValueError("not an object")
    return body


def is_storable(text: str) -> bool:
    """Whether PostgreSQL can store the text: it has no NUL and no lone surrogates."""
    return UNSTORABLE.search(text) is None


async def read_form_fields(request: web.Request) -> tuple[list[tuple[str, str]], dict[str, web.FileField]]:
    """Read the text fields of a form, in order, and its files. Raises BODY_ERRORS for a malformed form."""
    if request.content_type == "multipart/form-data":
        fields = (await request.post()).items()
        texts = [(name, value) for name, value in fields if isinstance(value, str)]
        return texts, {name: value for name, value in fields if isinstance(value, web.FileField)}
    charset = request.charset or "utf-8"
    # aiohttp would replace undecodable bytes; here they are an error.
    text = (await request.read()).removeprefix(BOM_UTF8).rstrip().decode(charset)
    return parse_qsl(text, keep_blank_values=True, encoding=charset, errors="strict", max_num_fields=MAX_FIELDS), {}
