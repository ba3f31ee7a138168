"""Build replies that every dialect shares."""

from collections.abc import Mapping
from typing import Any

import orjson
from aiohttp import web


def json_reply(
    body: Any, status: int = 200, *, headers: Mapping[str, str] | None = None, media: str = "application/json"
) -> web.Response:
    return web.Response(body=orjson.dumps(body), status=status, headers=headers, content_type=media, charset="utf-8")
