"""Reading a stream of server-sent events (WHATWG HTML, section 9.2.6)."""

import codecs
import io
from collections.abc import AsyncIterable, AsyncIterator
from dataclasses import dataclass

RETRY = 2.0  # seconds until the next connection where nothing else was said


@dataclass(frozen=True)
class Message:
    event: str
    data: str


class Stream:
    """A stream over all its connections: behind which message the next one goes on, and in how many seconds."""

    def __init__(self) -> None:
        self.last_id = ""
        self.retry = RETRY

    async def read(self, chunks: AsyncIterable[bytes]) -> AsyncIterator[Message]:
        """The messages of one connection; what is not whole at its end is none."""
        id, event, data = self.last_id, "", list[str]()
        async for line in _lines(chunks):
            name, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if not line:
                self.last_id = id
                if data:
                    yield Message(event or "message", "\n".join(data))
                event, data = "", []
            elif name == "event":
                event = value
            elif name == "data":
                data.append(value)
            elif name == "id" and "\0" not in value:
                id = value
            elif name == "retry" and value.isascii() and value.isdigit():
                self.retry = int(value) / 1000


async def _lines(chunks: AsyncIterable[bytes]) -> AsyncIterator[str]:
    """Lines however they end; what has not ended is none yet."""
    text = io.IncrementalNewlineDecoder(codecs.getincrementaldecoder("utf-8-sig")("replace"), translate=True)
    rest = ""
    async for chunk in chunks:
        *whole, rest = (rest + text.decode(chunk)).split("\n")
        for line in whole:
            yield line
