"""How a push begins: a pkt-line for each ref it wants to move, `old new name` (gitprotocol-pack, Reference Update)."""

import asyncio
from dataclasses import dataclass

from aiohttp import StreamReader

LIMIT = 4 << 20  # bytes of all commands; a hundred thousand refs of ordinary length
FLUSH = b"0000"


class Unreadable(Exception):
    """What the client sent is no beginning of a push, or one that is not taken. The message is for its user."""


@dataclass(frozen=True)
class Commands:
    """The commands as they came, and the refs that they name."""

    sent: bytes
    refs: frozenset[bytes]


async def read_commands(content: StreamReader) -> Commands:
    """Read up to the flush after the commands; what follows is the pack. Raises Unreadable."""
    sent = bytearray()
    refs: set[bytes] = set()
    while True:
        try:
            length = await content.readexactly(4)
            sent += length
            if length == FLUSH:
                return Commands(bytes(sent), frozenset(refs))
            size = int(length, 16) - 4
            if size <= 0 or len(sent) + size > LIMIT:
                raise Unreadable("This push names too many refs." if size > 0 else "This is not a push.")
            line = await content.readexactly(size)
        except (ValueError, asyncio.IncompleteReadError):
            raise Unreadable("This is not a push.") from None
        sent += line
        refs.add(_ref(line))


def _ref(line: bytes) -> bytes:
    """The name in a command. Shallow pushes say beforehand where their history ends, which names no ref.

    A signed push repeats the commands in its certificate, where they may be cut into other lines: it is not offered in
    the capabilities, and not taken.
    """
    text = line.partition(b"\0")[0].rstrip(b"\n")
    if text.startswith(b"shallow "):
        return b""
    parts = text.split(b" ", 2)
    if len(parts) != 3 or not all(len(part) in (40, 64) for part in parts[:2]):
        raise Unreadable("Only plain pushes are taken here.")
    return parts[2]
