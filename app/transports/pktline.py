"""How a push begins: a pkt-line for each ref it wants to move, `old new name` (gitprotocol-pack, Reference Update)."""

import asyncio
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from aiohttp import StreamReader

LIMIT = 4 << 20  # bytes of all commands; a hundred thousand refs of ordinary length
CAPABILITIES_LIMIT = 8192
LONGEST = 65_516  # bytes of a pkt-line, without its length
FLUSH = b"0000"
SHALLOW = b"shallow "


class Unreadable(Exception):
    """What the client sent is no beginning of a push, or one that is not taken. The message is for its user."""


def line(text: bytes) -> bytes:
    return b"%04x%s" % (len(text) + 4, text)


def lines(data: bytes) -> Iterator[bytes]:
    """The pkt-lines up to the flush, without their lengths. Raises ValueError."""
    at = 0
    while (length := data[at : at + 4]) != FLUSH:
        size = int(length, 16)
        if size < 4 or at + size > len(data):
            raise ValueError("no pkt-line")
        yield data[at + 4 : at + size]
        at += size


@dataclass(frozen=True)
class Command:
    """A ref that is to lead from one object to another; forty zeros mean that it is not there."""

    old: bytes
    new: bytes
    ref: bytes


@dataclass(frozen=True)
class Commands:
    """The commands as they came, what each of them asks for, and what the client can do."""

    sent: bytes
    asked: tuple[Command, ...]
    shallow: tuple[bytes, ...]
    capabilities: tuple[bytes, ...]

    @property
    def refs(self) -> frozenset[bytes]:
        return frozenset(command.ref for command in self.asked)

    def without(self, refs: Collection[bytes]) -> "Commands":
        """The same push, had it not asked for these refs."""
        asked = tuple(command for command in self.asked if command.ref not in refs)
        texts = [b"%s %s %s" % (command.old, command.new, command.ref) for command in asked]
        if texts:
            texts[0] += b"\0" + b" ".join(self.capabilities)
        sent = b"".join(line(text) for text in (*self.shallow, *texts)) + FLUSH
        return Commands(sent, asked, self.shallow, self.capabilities)


async def read_commands(content: StreamReader) -> Commands:
    """Read up to the flush after the commands; what follows is the pack. Raises Unreadable."""
    sent = bytearray()
    asked: list[Command] = []
    shallow: list[bytes] = []
    capabilities: list[bytes] = []
    while True:
        try:
            length = await content.readexactly(4)
            sent += length
            if length == FLUSH:
                break
            size = int(length, 16) - 4
            if size <= 0 or len(sent) + size > LIMIT:
                raise Unreadable("This push names too many refs." if size > 0 else "This is not a push.")
            text = await content.readexactly(size)
        except (ValueError, asyncio.IncompleteReadError):
            raise Unreadable("This is not a push.") from None
        sent += text
        if text.startswith(SHALLOW):
            shallow.append(text)
            continue
        wish, _, able = text.partition(b"\0")
        asked.append(_command(wish.rstrip(b"\n")))
        capabilities += able.split()
    if sum(len(each) + 1 for each in capabilities) > CAPABILITIES_LIMIT:
        raise Unreadable("This is not a push.")
    return Commands(bytes(sent), tuple(asked), tuple(shallow), tuple(capabilities))


def _command(text: bytes) -> Command:
    """A signed push repeats the commands in its certificate, where they may be cut into other lines: it is not offered
    in the capabilities, and not taken.
    """
    parts = text.split(b" ", 2)
    if len(parts) != 3 or not all(len(part) in (40, 64) for part in parts[:2]):
        raise Unreadable("Only plain pushes are taken here.")
    return Command(*parts)
