"""Server-sent events are parsed as in the standard, however they are split into chunks."""

import asyncio
from collections.abc import AsyncIterator

from hypothesis import given
from hypothesis import strategies as st

from app.cli.sse import Message, Stream

STREAM = (
    "\ufeffretry: 2500\n\n: nothing but a comment\n\n"
    "id: 1\nevent: issue.opened\ndata: {}\n\n"
    "data:no blank\rdata:  two blanks\r\rid: 2\r\ndata\r\n\r\n"
    "event: forgotten, for it has no data\n\ndata: grüße\nid: x\0\ncolor: red\nretry: soon\n\n"
    "id: 3\ndata: this one never ends\n"
).encode()
MESSAGES = [
    Message("issue.opened", "{}"),
    Message("message", "no blank\n two blanks"),
    Message("message", ""),
    Message("message", "grüße"),
]


@given(st.sets(st.integers(1, len(STREAM) - 1)))
def test_messages_do_not_depend_on_how_the_stream_is_split(cuts: set[int]) -> None:
    async def split() -> AsyncIterator[bytes]:
        for begin, end in zip([0, *sorted(cuts)], [*sorted(cuts), len(STREAM)], strict=True):
            yield STREAM[begin:end]

    async def read() -> None:
        stream = Stream()
        assert [message async for message in stream.read(split())] == MESSAGES
        assert (stream.last_id, stream.retry) == ("2", 2.5)

    asyncio.run(read())
