"""The event feed: as pages, as a long poll, as a stream, one by one, and its digest."""

import time
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from app.actor import Actor
from app.core.access import require
from app.database import Row
from app.dialects.native import read
from app.dialects.native.problems import ProblemError
from app.dialects.native.routes import NativeRoutes, identify
from app.dialects.native.streams import STREAM, stream
from app.errors import NotFound, Subject
from app.feed import pages
from app.http.keys import DATABASE, SETTINGS, TAIL
from app.http.responses import json_reply
from app.http.waiting import while_connected
from app.queries.feed import ENDS, ENDS_AND_PROJECT, FeedFilter

routes = NativeRoutes()
CLOUDEVENT = "application/cloudevents+json"
MAX_SEQ = 2**62
MAX_DIGEST_SPAN = 1_000_000  # numbers that one digest may be about


@dataclass(frozen=True)
class FeedRequest:
    """Which events, and after which number."""

    wanted: FeedFilter
    after: int
    head: int


def _parse_feed_request(actor: Actor, ends: Row, values: dict[str, str]) -> FeedRequest:
    """`ends` are those of the log, with the project if one is named."""
    oldest, head = ends["oldest"], ends["newest"]
    after = head if values.get("after") == "now" else read.read_integer(values, "after", oldest - 1, 0, MAX_SEQ)
    if after < oldest - 1:
        raise ProblemError(410, "gone", f"The oldest event that is kept is {oldest}.")
    project_id = None
    if "project" in values:
        if ends["project_id"] is None:
            raise NotFound(Subject.PROJECT)
        require(actor, "read-project", ends)
        project_id = ends["project_id"]
    types = [name for name in values.get("types", "").split(",") if name] or None
    return FeedRequest(FeedFilter(types=types, project_id=project_id, actor=values.get("actor")), after, head)


def lookup(request: web.Request) -> tuple[Any, ...]:
    """The ends of the log, with the project that `?project=` names, if it does."""
    if "project" in request.query:
        return ENDS_AND_PROJECT, *read.lookup_project(request)[1:]
    return (ENDS,)


@routes.call("GET", "/events", "read-events", lookup=lookup)
async def list_events(request: web.Request, actor: Actor, ends: Row | None) -> web.StreamResponse:
    assert ends is not None  # noqa: S101 - the log has its ends
    if STREAM in request.headers.get("Accept", ""):
        return await _stream(request, actor, ends)
    values = read.read_query(request, "after", "limit", "wait", "types", "project", "actor")
    limit = read.read_integer(values, "limit", 100, 1, 1000)
    deadline = time.monotonic() + read.read_integer(values, "wait", 0, 0, 55)
    asked = _parse_feed_request(actor, ends, values)
    db, tail = request.config_dict[DATABASE], request.config_dict[TAIL]
    looked, head = asked.after, asked.head
    with while_connected(request):
        while True:
            found = await pages.read_page(db, actor, looked, head, limit, asked.wanted)
            looked = found.next
            if found.rows or time.monotonic() >= deadline:
                break
            if looked >= head:
                come, looked = await tail.wait_past(looked, deadline - time.monotonic(), asked.wanted)
                head = max(head, tail.head)
                if not come:
                    break
                actor = await identify(request)  # the token may have been revoked meanwhile
    return json_reply(
        {"events": [pages.render_event(row, actor) for row in found.rows], "next": looked, "head": max(head, looked)}
    )


async def _stream(request: web.Request, actor: Actor, ends: Row) -> web.StreamResponse:
    values = read.read_query(request, "after", "types", "project", "actor")
    if last := request.headers.get("Last-Event-ID"):
        values["after"] = last  # a client that comes back knows better than its address
    asked = _parse_feed_request(actor, ends, values)
    return await stream(request, asked.wanted, asked.after)


@routes.call("GET", "/events/digest", "read-events", lookup=lambda _: (ENDS,))
async def digest(request: web.Request, actor: Actor, ends: Row | None) -> web.Response:
    assert ends is not None  # noqa: S101 - the log has its ends
    values = read.read_query(request, "from", "to")
    oldest, head = ends["oldest"], ends["newest"]
    first = read.read_integer(values, "from", oldest, oldest, max(head, oldest))
    last = read.read_integer(values, "to", head, first, min(max(head, first), first + MAX_DIGEST_SPAN - 1))
    count, sha256 = await pages.compute_digest(request.config_dict[DATABASE], actor, first, min(last, head))
    return json_reply({"from": first, "to": last, "count": count, "sha256": sha256})


@routes.call("GET", "/events/{seq:[0-9]+}", "read-events")
async def read_event(request: web.Request, actor: Actor) -> web.Response:
    read.read_query(request)
    text = request.match_info["seq"]
    seq = int(text) if len(text) <= read.MAX_DIGITS else MAX_SEQ
    if not 0 < seq < MAX_SEQ:
        raise NotFound(Subject.EVENT)
    found = await pages.read_page(request.config_dict[DATABASE], actor, seq - 1, seq, 1, FeedFilter())
    if not found.rows:
        raise NotFound(Subject.EVENT)
    event = pages.render_event(found.rows[0], actor)
    if CLOUDEVENT in request.headers.get("Accept", ""):
        return json_reply(pages.render_cloudevent(event, request.config_dict[SETTINGS].url), media=CLOUDEVENT)
    return json_reply(event)
