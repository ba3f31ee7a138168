"""Bytes of any size, sent as git makes them: never held here, never waited for on the loop."""

import asyncio
import codecs
import threading
from collections.abc import AsyncIterator, Callable, Generator, Iterator, Mapping
from contextlib import asynccontextmanager

from aiohttp import web

from app.git.errors import GitError
from app.http.keys import REQUEST_ID, SETTINGS
from app.logs import log

TEXT, BYTES = "text/plain; charset=utf-8", "application/octet-stream"
# Files are anybody's. A browser shall neither guess that one is a page nor let it do anything if it were.
SAFE_HEADERS = {"X-Content-Type-Options": "nosniff", "Content-Security-Policy": "default-src 'none'; sandbox"}


async def stream_response(
    request: web.Request,
    begin: Callable[[], Iterator[bytes]],
    *,
    media: str | None = None,
    size: int | None = None,
    headers: Mapping[str, str] | None = None,
) -> web.StreamResponse:
    """What `begin` yields, as text or as mere bytes if no `media` type is given.

    Raises GitError as long as nothing has been sent. What breaks later is cut off, so that half of it does not look
    like the whole.
    """
    async with asyncio.timeout(request.config_dict[SETTINGS].git_deadline), iterate_in_threads(begin) as pieces:
        first = await anext(pieces, b"")
        known = {"X-Request-Id": request[REQUEST_ID], **SAFE_HEADERS, **(headers or {})}
        response = web.StreamResponse(
            headers={**known, "Content-Type": media or guess_media_type(first, whole=len(first) == size)}
        )
        response.content_length = size
        try:
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
    """Text, if this beginning of a file is; its last character may have been cut."""
    try:
        codecs.getincrementaldecoder("utf-8")().decode(beginning, final=whole)
    except UnicodeDecodeError:
        return BYTES
    return BYTES if b"\0" in beginning else TEXT


@asynccontextmanager
async def iterate_in_threads(begin: Callable[[], Iterator[bytes]]) -> AsyncIterator[AsyncIterator[bytes]]:
    """An iterator that takes its steps in other threads, one after the other, and ends with the block."""
    source = await asyncio.to_thread(begin)
    turn = threading.Lock()

    def step() -> bytes | None:
        with turn:
            return next(source, None)

    def end() -> None:
        # A step that nobody waits for any more may still be under way.
        with turn:
            if isinstance(source, Generator):
                source.close()

    async def pieces() -> AsyncIterator[bytes]:
        while (piece := await asyncio.to_thread(step)) is not None:
            yield piece

    try:
        yield pieces()
    finally:
        await asyncio.to_thread(end)
