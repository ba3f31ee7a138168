"""A reader of server-sent events. Source: WHATWG HTML, section 9.2.6."""

import codecs
import io
from collections.abc import AsyncIterable, AsyncIterator
from dataclasses import dataclass

DEFAULT_RETRY = 2.0  # seconds until the next connection, unless the server sets another pause


@dataclass(frozen=True)
class Message:
    event: str
    data: str


class Stream:
    """The state of a stream across connections: where to resume it, and after how many seconds."""

    def __init__(self) -> None:
        self.last_id = ""
        self.retry = DEFAULT_RETRY

    async def read(self, chunks: AsyncIterable[bytes]) -> AsyncIterator[Message]:
        """Read the messages of one connection; an incomplete message at its end is dropped."""
        last_id, event, data = self.last_id, "", list[str]()
        async for line in _split_lines(chunks):
            name, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if not line:
                self.last_id = last_id
                if data:
                    yield Message(event or "message", "\n".join(data))
                event, data = "", []
            elif name == "event":
                event = value
            elif name == "data":
                data.append(value)
            elif name == "id" and "\0" not in value:
                last_id = value
            elif name == "retry" and value.isascii() and value.isdigit():
                self.retry = int(value) / 1000


async def _split_lines(chunks: AsyncIterable[bytes]) -> AsyncIterator[str]:
    """Yield lines with any kind of line end; an unfinished line at the end is dropped."""
    decoder = io.IncrementalNewlineDecoder(codecs.getincrementaldecoder("utf-8-sig")("replace"), translate=True)
    rest = ""
    async for chunk in chunks:
        *lines, rest = (rest + decoder.decode(chunk)).split("\n")
        for line in lines:
            yield line
