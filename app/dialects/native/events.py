"""The event feed: pages, long polls, the stream, single events and digests."""

import time
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from app.actor import Actor
from app.core.access import require
from app.database import Row
from app.dialects.native import requests
from app.dialects.native.problems import ProblemError, invalid_request
from app.dialects.native.routes import NativeRoutes, identify
from app.dialects.native.streams import STREAM, stream_events
from app.errors import Invalid, NotFound, Subject
from app.feed import pages
from app.http.keys import DATABASE, SETTINGS, TAIL
from app.http.projects import MAX_DIGITS
from app.http.responses import json_reply
from app.http.tasks import MAX_WAIT
from app.http.waiting import while_connected
from app.http.wording import describe_refusal
from app.queries.feed import ENDS, ENDS_AND_PROJECT, FeedFilter
from events.event import list_unknown

routes = NativeRoutes()
CLOUDEVENT = "application/cloudevents+json"
MAX_DIGEST_SPAN = 1_000_000  # event numbers that one digest may cover


@dataclass(frozen=True)
class FeedRequest:
    """The events that a client asks for: those after a number, up to the head of the log, that pass the filter."""

    feed_filter: FeedFilter
    after: int
    head: int


def _parse_feed_request(actor: Actor, ends: Row, values: dict[str, str]) -> FeedRequest:
    """Check the parameters; `ends` are the ends of the log, with the project if the query names one."""
    oldest, head = ends["oldest"], ends["newest"]
    if values.get("after") == "now":
        after = head
    else:
        after = requests.read_integer(values, "after", oldest - 1, 0, requests.MAX_SEQ)
    if after < oldest - 1:
        raise ProblemError(410, "gone", f"Events before number {oldest} have been deleted.")
    project_id = None
    if "project" in values:
        if ends["project_id"] is None:
            raise NotFound(Subject.PROJECT)
        require(actor, "read-project", ends)
        project_id = ends["project_id"]
    types = [name for name in values.get("types", "").split(",") if name] or None
    if unknown := list_unknown(types or ()):
        sentence = describe_refusal(Invalid(Subject.EVENT_TYPE, name=unknown[0][:100]))
        raise invalid_request(("?types", sentence))
    return FeedRequest(FeedFilter(types=types, project_id=project_id, actor=values.get("actor")), after, head)


def lookup(request: web.Request) -> tuple[Any, ...]:
    """Look up the ends of the log, and the project that `?project=` names."""
    if "project" in request.query:
        return ENDS_AND_PROJECT, *requests.lookup_project(request)[1:]
    return (ENDS,)


@routes.call("GET", "/events", "read-events", lookup=lookup)
async def list_events(request: web.Request, actor: Actor, ends: Row | None) -> web.StreamResponse:
    assert ends is not None  # noqa: S101 - the statement always returns a row
    if STREAM in request.headers.get("Accept", ""):
        return await _stream(request, actor, ends)
    values = requests.read_query(request, "after", "limit", "wait", "types", "project", "actor")
    limit = requests.read_integer(values, "limit", 100, 1, 1000)
    deadline = time.monotonic() + requests.read_integer(values, "wait", 0, 0, MAX_WAIT)
    feed = _parse_feed_request(actor, ends, values)
    db, tail = request.config_dict[DATABASE], request.config_dict[TAIL]
    position, head = feed.after, feed.head
    with while_connected(request):
        while True:
            page = await pages.read_page(db, actor, position, head, limit, feed.feed_filter)
            position = page.next
            if page.rows or time.monotonic() >= deadline:
                break
            if position >= head:
                arrived, position = await tail.wait_past(position, deadline - time.monotonic(), feed.feed_filter)
                head = max(head, tail.head)
                if not arrived:
                    break
                actor = await identify(request)  # the token may have been revoked meanwhile
    events = [pages.render_event(row, actor) for row in page.rows]
    return json_reply({"events": events, "next": position, "head": max(head, position)})


async def _stream(request: web.Request, actor: Actor, ends: Row) -> web.StreamResponse:
    values = requests.read_query(request, "after", "types", "project", "actor")
    if last := request.headers.get("Last-Event-ID"):
        values["after"] = last  # a reconnecting client repeats its URL, but has read on since
    feed = _parse_feed_request(actor, ends, values)
    return await stream_events(request, feed.feed_filter, feed.after)


@routes.call("GET", "/events/digest", "read-events", lookup=lambda _: (ENDS,))
async def show_digest(request: web.Request, actor: Actor, ends: Row | None) -> web.Response:
    assert ends is not None  # noqa: S101 - the statement always returns a row
    values = requests.read_query(request, "from", "to")
    oldest, head = ends["oldest"], ends["newest"]
    first = requests.read_integer(values, "from", oldest, oldest, max(head, oldest))
    last = requests.read_integer(values, "to", head, first, min(max(head, first), first + MAX_DIGEST_SPAN - 1))
    count, sha256 = await pages.compute_digest(request.config_dict[DATABASE], actor, first, min(last, head))
    return json_reply({"from": first, "to": last, "count": count, "sha256": sha256})


@routes.call("GET", "/events/{seq:[0-9]+}", "read-events")
async def view_event(request: web.Request, actor: Actor) -> web.Response:
    requests.read_query(request)
    text = request.match_info["seq"]
    seq = int(text) if len(text) <= MAX_DIGITS else requests.MAX_SEQ
    if not 0 < seq < requests.MAX_SEQ:
        raise NotFound(Subject.EVENT)
    page = await pages.read_page(request.config_dict[DATABASE], actor, seq - 1, seq, 1, FeedFilter())
    if not page.rows:
        raise NotFound(Subject.EVENT)
    event = pages.render_event(page.rows[0], actor)
    if CLOUDEVENT in request.headers.get("Accept", ""):
        return json_reply(pages.render_cloudevent(event, request.config_dict[SETTINGS].url), media=CLOUDEVENT)
    return json_reply(event)
