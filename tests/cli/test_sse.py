"""Server-sent events are read as the standard has it, in whatever pieces they arrive."""

import asyncio
from collections.abc import AsyncIterator

from hypothesis import given
from hypothesis import strategies as st

from app.cli.sse import Message, Stream

SAID = (
    "\ufeffretry: 2500\n\n: nothing but a comment\n\n"
    "id: 1\nevent: issue.opened\ndata: {}\n\n"
    "data:no blank\rdata:  two blanks\r\rid: 2\r\ndata\r\n\r\n"
    "event: forgotten, for it has no data\n\ndata: grüße\nid: x\0\ncolor: red\nretry: soon\n\n"
    "id: 3\ndata: this one never ends\n"
).encode()
HEARD = [
    Message("issue.opened", "{}"),
    Message("message", "no blank\n two blanks"),
    Message("message", ""),
    Message("message", "grüße"),
]


@given(st.sets(st.integers(1, len(SAID) - 1)))
def test_a_stream_is_the_same_in_any_pieces(cuts: set[int]) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for begin, end in zip([0, *sorted(cuts)], [*sorted(cuts), len(SAID)], strict=True):
            yield SAID[begin:end]

    async def read() -> None:
        stream = Stream()
        assert [message async for message in stream.read(pieces())] == HEARD
        assert (stream.last_id, stream.retry) == ("2", 2.5)

    asyncio.run(read())
