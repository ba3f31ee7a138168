"""What a Jenkins server says about a build."""

from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import orjson

from app.outgoing.client import Client
from app.outgoing.failures import Failure, OutgoingError

FIELDS = "building,result,url,actions[causes[note]]"  # all that is asked for; the whole answer has no limit
MAX_DIGITS = 9


@dataclass(frozen=True)
class Build:
    """`result` is Jenkins' word, None while it has none. `request` is the number that the build was started with."""

    building: bool
    result: str | None
    url: str
    request: int | None


async def fetch_build(client: Client, server: str, job: str, number: int) -> Build | None:
    """Ask a server for a build; None if it has none. Raises OutgoingError."""
    path = "".join(f"/job/{quote(part, safe='')}" for part in job.split("/") if part)
    url = f"{server.rstrip('/')}{path}/{number}/api/json?tree={quote(FIELDS, safe='')}"
    answer = await client.send("GET", url)
    if answer.status == 404:
        return None
    if answer.status != 200:
        raise OutgoingError(Failure.REJECTED)
    build = _parse_build(answer.body)
    if build is None:
        raise OutgoingError(Failure.MALFORMED)
    return build


def _parse_build(body: bytes) -> Build | None:
    try:
        found = orjson.loads(body)
        notes = [cause.get("note") for action in found["actions"] for cause in (action or {}).get("causes") or ()]
        building, result, url = found["building"], found["result"], found["url"]
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
        return None
    if not isinstance(url, str) or not isinstance(result, str | None):
        return None
    numbers = [int(note) for note in notes if _is_number(note)]
    return Build(building is True, result, url, numbers[-1] if numbers else None)


def _is_number(note: Any) -> bool:
    text = str(note)
    return text.isascii() and text.isdigit() and len(text) <= MAX_DIGITS
