"""The event feed: list and long poll."""

import time

from aiohttp import web

from app import feed
from app.core import paths
from app.core.access import require
from app.dialects.native import read
from app.dialects.native.problems import identified
from app.queries import projects
from app.queries.feed import FeedFilter, head
from app.tail import Tail
from app.web import DATABASE, TAIL, Routes, reply

routes = Routes()


@routes.add("GET", "/events", "read-events")
async def list_events(request: web.Request) -> web.Response:
    actor = await identified(request)
    values = read.query(request, "after", "limit", "wait", "types", "project", "actor")
    db, tail = request.config_dict[DATABASE], request.config_dict[TAIL]
    limit = read.integer(values, "limit", 100, 1, 1000)
    deadline = time.monotonic() + read.integer(values, "wait", 0, 0, 55)
    after = await head(db) if values.get("after") == "now" else read.integer(values, "after", 0, 0, 2**62)
    project_id = None
    if "project" in values:
        project = await projects.by_address(db, paths.address_of(values["project"]))
        require(actor, "read-project", project)
        project_id = project["project_id"]
    types = [name for name in values.get("types", "").split(",") if name] or None
    wanted = FeedFilter(types=types, project_id=project_id, actor=values.get("actor"))
    looked = after
    while True:
        found = await feed.page(db, actor, looked, limit, wanted)
        looked = found.next
        if found.rows or not await _more(tail, found, deadline):
            break
        actor = await identified(request)  # the token may have been revoked meanwhile
    return reply({"events": [feed.shown(row, actor) for row in found.rows], "next": looked, "head": found.head})


async def _more(tail: Tail, found: feed.FeedPage, deadline: float) -> bool:
    """Wait for something to look at; False when the time is up first."""
    left = deadline - time.monotonic()
    return left > 0 if found.next < found.head else await tail.past(found.next, left)
