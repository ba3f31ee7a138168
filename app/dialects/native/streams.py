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
from app.http.keys import DATABASE, REQUEST_ID, TAIL
from app.http.waiting import while_connected
from app.queries.feed import FeedFilter

STREAM = "text/event-stream"
HEADERS = {
    "Content-Type": STREAM,
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",  # or a proxy keeps what should be sent at once
    "X-Content-Type-Options": "nosniff",
}
RETRY = b"retry: 2000\n\n"  # milliseconds until a client that was cut off comes back
HEARTBEAT_INTERVAL = 15.0  # seconds of silence
SEND_TIMEOUT = 10.0  # seconds that a reader may take for what is on its way before it is cut off
BATCH_SIZE = 100


async def stream(request: web.Request, wanted: FeedFilter, after: int) -> web.StreamResponse:
    """Every event that is wanted and that the reader may see, from `after` on, until one of both sides ends.

    While nothing wanted happens, no statement is made. Now and then `bookmark` says how far has been looked, so that a
    reader who comes back need not begin with what was not for them.
    """
    response = web.StreamResponse(headers={**HEADERS, "X-Request-Id": request[REQUEST_ID]})
    with while_connected(request):
        await response.prepare(request)
        await _send(request, response, RETRY)
        # A token that is revoked meanwhile hears no more; what goes wrong here ends the stream, and they come back.
        with suppress(BadToken, Refused, *UNAVAILABLE):
            await _follow(request, response, wanted, after)
    return response


async def _follow(request: web.Request, response: web.StreamResponse, wanted: FeedFilter, after: int) -> None:
    db, tail = request.config_dict[DATABASE], request.config_dict[TAIL]
    looked = told = after
    silent_until = time.monotonic() + HEARTBEAT_INTERVAL
    while not tail.closing:
        actor = await identify(request)
        while looked < tail.head:
            found = await pages.read_page(db, actor, looked, tail.head, BATCH_SIZE, wanted)
            looked = found.next
            if found.rows:
                await _send(
                    request, response, b"".join(pages.render_sse(pages.render_event(row, actor)) for row in found.rows)
                )
                told, silent_until = looked, time.monotonic() + HEARTBEAT_INTERVAL
        come, looked = await tail.wait_past(looked, silent_until - time.monotonic(), wanted)
        if not come and not tail.closing:
            await _send(request, response, _bookmark(looked) if looked > told else b":\n\n")
            told, silent_until = looked, time.monotonic() + HEARTBEAT_INTERVAL


def _bookmark(looked: int) -> bytes:
    return b'id: %d\nevent: bookmark\ndata: {"next":%d}\n\n' % (looked, looked)


async def _send(request: web.Request, response: web.StreamResponse, message: bytes) -> None:
    """On its way; a reader who takes too long is cut off, and may come back for the rest by its last id."""
    try:
        async with asyncio.timeout(SEND_TIMEOUT):
            await response.write(message)
    except TimeoutError:
        if request.transport is not None:
            request.transport.abort()
        raise ConnectionResetError("The reader is too slow.") from None
