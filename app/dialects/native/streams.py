"""The event feed as a stream of server-sent events (WHATWG HTML, section 9.2)."""

import asyncio
import time
from contextlib import suppress

from aiohttp import web

from app.core.credentials import BadToken
from app.database import UNAVAILABLE
from app.dialects.native.routes import identify
from app.errors import Refused
from app.feed import pages
from app.http.keys import DATABASE, REQUEST_ID, RESPONSE_STARTED, TAIL
from app.http.waiting import while_connected
from app.queries.feed import FeedFilter

STREAM = "text/event-stream"
HEADERS = {
    "Content-Type": STREAM,
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",  # otherwise a proxy buffers the stream
    "X-Content-Type-Options": "nosniff",
}
RETRY = b"retry: 2000\n\n"  # milliseconds until a disconnected client reconnects
HEARTBEAT_INTERVAL = 15.0  # seconds
SEND_TIMEOUT = 10.0  # seconds; a slower reader is disconnected
BATCH_SIZE = 100


async def stream_events(request: web.Request, feed_filter: FeedFilter, after: int) -> web.StreamResponse:
    """Stream the events after `after` that pass the filter and that the reader may see, until either side ends it.

    The database is queried only when an event passes the filter. A `bookmark` is sent now and then with the position
    in the log, so that a reconnecting reader does not start again with events that were not for it.
    """
    response = web.StreamResponse(headers={**HEADERS, "X-Request-Id": request[REQUEST_ID]})
    with while_connected(request):
        request[RESPONSE_STARTED] = True
        await response.prepare(request)
        await _send(request, response, RETRY)
        # These end the stream, for instance when the token is revoked; the reader may reconnect.
        with suppress(BadToken, Refused, *UNAVAILABLE):
            await _follow(request, response, feed_filter, after)
    return response


async def _follow(request: web.Request, response: web.StreamResponse, feed_filter: FeedFilter, after: int) -> None:
    db, tail = request.config_dict[DATABASE], request.config_dict[TAIL]
    position = sent_position = after
    next_heartbeat = time.monotonic() + HEARTBEAT_INTERVAL
    while not tail.closing:
        actor = await identify(request)
        while position < tail.head:
            page = await pages.read_page(db, actor, position, tail.head, BATCH_SIZE, feed_filter)
            position = page.next
            if page.rows:
                await _send(
                    request, response, b"".join(pages.render_sse(pages.render_event(row, actor)) for row in page.rows)
                )
                sent_position, next_heartbeat = position, time.monotonic() + HEARTBEAT_INTERVAL
        arrived, position = await tail.wait_past(position, next_heartbeat - time.monotonic(), feed_filter)
        if not arrived and not tail.closing:
            await _send(request, response, _render_bookmark(position) if position > sent_position else b":\n\n")
            sent_position, next_heartbeat = position, time.monotonic() + HEARTBEAT_INTERVAL


def _render_bookmark(position: int) -> bytes:
    return b'id: %d\nevent: bookmark\ndata: {"next":%d}\n\n' % (position, position)


async def _send(request: web.Request, response: web.StreamResponse, message: bytes) -> None:
    """Send a message. A reader that takes too long is disconnected; it may resume from its last event id."""
    try:
        async with asyncio.timeout(SEND_TIMEOUT):
            await response.write(message)
    except TimeoutError:
        if request.transport is not None:
            request.transport.abort()
        raise ConnectionResetError("The reader is too slow.") from None
