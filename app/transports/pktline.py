"""How a push begins: a pkt-line for each ref it wants to move, `old new name` (gitprotocol-pack, Reference Update)."""

import asyncio
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from aiohttp import StreamReader

MAX_COMMAND_BYTES = 4 << 20  # bytes of all commands; a hundred thousand refs of ordinary length
MAX_CAPABILITIES = 8192
MAX_LINE = 65_516  # bytes of a pkt-line, without its length
FLUSH = b"0000"
SHALLOW = b"shallow "


class MalformedPush(Exception):
    """What the client sent is no beginning of a push, or one that is not taken. The message is for its user."""


def encode_line(text: bytes) -> bytes:
    return b"%04x%s" % (len(text) + 4, text)


def decode_lines(data: bytes) -> Iterator[bytes]:
    """The pkt-lines up to the flush, without their lengths. Raises ValueError."""
    at = 0
    while (length := data[at : at + 4]) != FLUSH:
        size = int(length, 16)
        if size < 4 or at + size > len(data):
            raise ValueError("no pkt-line")
        yield data[at + 4 : at + size]
        at += size


@dataclass(frozen=True)
class RefCommand:
    """A ref that is to lead from one object to another; forty zeros mean that it is not there."""

    old: bytes
    new: bytes
    ref: bytes


@dataclass(frozen=True)
class PushCommands:
    """The commands as they came, what each of them asks for, and what the client can do."""

    sent: bytes
    ref_commands: tuple[RefCommand, ...]
    shallow: tuple[bytes, ...]
    capabilities: tuple[bytes, ...]

    @property
    def refs(self) -> frozenset[bytes]:
        return frozenset(command.ref for command in self.ref_commands)

    def without(self, refs: Collection[bytes]) -> "PushCommands":
        """The same push, had it not asked for these refs."""
        asked = tuple(command for command in self.ref_commands if command.ref not in refs)
        texts = [b"%s %s %s" % (command.old, command.new, command.ref) for command in asked]
        if texts:
            texts[0] += b"\0" + b" ".join(self.capabilities)
        sent = b"".join(encode_line(text) for text in (*self.shallow, *texts)) + FLUSH
        return PushCommands(sent, asked, self.shallow, self.capabilities)


async def read_commands(content: StreamReader) -> PushCommands:
    """Read up to the flush after the commands; what follows is the pack. Raises Unreadable."""
    sent = bytearray()
    asked: list[RefCommand] = []
    shallow: list[bytes] = []
    capabilities: list[bytes] = []
    while True:
        try:
            length = await content.readexactly(4)
            sent += length
            if length == FLUSH:
                break
            size = int(length, 16) - 4
            if size <= 0 or len(sent) + size > MAX_COMMAND_BYTES:
                raise MalformedPush("This push names too many refs." if size > 0 else "This is not a push.")
            text = await content.readexactly(size)
        except (ValueError, asyncio.IncompleteReadError):
            raise MalformedPush("This is not a push.") from None
        sent += text
        if text.startswith(SHALLOW):
            shallow.append(text)
            continue
        command, _, able = text.partition(b"\0")
        asked.append(_parse_command(command.rstrip(b"\n")))
        capabilities += able.split()
    if sum(len(each) + 1 for each in capabilities) > MAX_CAPABILITIES:
        raise MalformedPush("This is not a push.")
    return PushCommands(bytes(sent), tuple(asked), tuple(shallow), tuple(capabilities))


def _parse_command(text: bytes) -> RefCommand:
    """A signed push repeats the commands in its certificate, where they may be cut into other lines: it is not offered
    in the capabilities, and not taken.
    """
    parts = text.split(b" ", 2)
    if len(parts) != 3 or not all(len(part) in (40, 64) for part in parts[:2]):
        raise MalformedPush("Only plain pushes are taken here.")
    return RefCommand(*parts)
