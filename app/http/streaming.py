"""Streamed responses of any size: git's output is sent as it comes, not buffered, and read outside the event loop."""

import asyncio
import codecs
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from aiohttp import web

from app.database import Row
from app.git.errors import GitError
from app.http.keys import REQUEST_ID, RESPONSE_STARTED, SETTINGS
from app.http.long_reads import hold_slot
from app.logs import log

LONG_READ_TIMEOUT = 300.0  # seconds in which a client has to take a long read, which holds one of few slots
RunInThread = Callable[..., Awaitable[Any]]  # as asyncio.to_thread
TEXT, BYTES = "text/plain; charset=utf-8", "application/octet-stream"
# Users choose what is in a file: a browser must not sniff it as a page, nor run anything in it.
SAFE_HEADERS = {"X-Content-Type-Options": "nosniff", "Content-Security-Policy": "default-src 'none'; sandbox"}


async def stream_response(
    request: web.Request,
    begin: Callable[[], Iterator[bytes]],
    *,
    media: str | None = None,
    size: int | None = None,
    headers: Mapping[str, str] | None = None,
    long_for: Row | None = None,
) -> web.StreamResponse:
    """Stream what `begin` yields. Without a `media` type, the first piece decides between text and bytes.

    `long_for` is the project of a read that may take long; it holds one of the slots of `LongReads`, or raises Busy.

    Raises GitError as long as nothing has been sent. After that, an error closes the connection, so that a truncated
    response does not look complete.
    """
    async with AsyncExitStack() as stack:
        deadline = request.config_dict[SETTINGS].git_deadline
        await stack.enter_async_context(asyncio.timeout(deadline if long_for is None else LONG_READ_TIMEOUT))
        run: RunInThread = asyncio.to_thread
        if long_for is not None:
            run = (await stack.enter_async_context(hold_slot(request, long_for))).run
        pieces = await stack.enter_async_context(iterate_in_threads(begin, run))
        first = await anext(pieces, b"")
        media = media or guess_media_type(first, whole=len(first) == size)
        response = web.StreamResponse(
            headers={
                "X-Request-Id": request[REQUEST_ID],
                **SAFE_HEADERS,
                **(headers or {}),
                "Content-Type": media,
            }
        )
        response.content_length = size
        try:
            request[RESPONSE_STARTED] = True
            await response.prepare(request)
            if request.method != "HEAD":
                await response.write(first)
                async for piece in pieces:
                    await response.write(piece)
            await response.write_eof()
        except (ConnectionError, GitError) as error:
            log.warning("stream", error=type(error).__name__)
            if request.transport is not None:
                request.transport.close()
            return web.Response(status=499)
    return response


def guess_media_type(beginning: bytes, *, whole: bool) -> str:
    """Guess text or bytes from the beginning of a file, whose last character may be cut unless it is the `whole`."""
    try:
        codecs.getincrementaldecoder("utf-8")().decode(beginning, final=whole)
    except UnicodeDecodeError:
        return BYTES
    return BYTES if b"\0" in beginning else TEXT


@asynccontextmanager
async def iterate_in_threads(
    begin: Callable[[], Iterator[bytes]], run: RunInThread = asyncio.to_thread
) -> AsyncIterator[AsyncIterator[bytes]]:
    """Run a blocking iterator in other threads, one step at a time, and close it at the end of the block."""
    source = await run(begin)
    lock = threading.Lock()

    def read_piece() -> bytes | None:
        with lock:
            return next(source, None)

    def close() -> None:
        # A step whose task has been cancelled may still be running.
        with lock:
            if isinstance(source, Generator):
                source.close()

    async def iterate_pieces() -> AsyncIterator[bytes]:
        while (piece := await run(read_piece)) is not None:
            yield piece

    try:
        yield iterate_pieces()
    finally:
        await run(close)
