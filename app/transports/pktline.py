"""pkt-lines and the ref update commands that begin a push (gitprotocol-pack, "Reference Update")."""

import asyncio
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass

from aiohttp import StreamReader

MAX_COMMAND_BYTES = 4 << 20  # bytes of all commands of a push: 100,000 refs of ordinary length
MAX_CAPABILITIES = 8192  # bytes
MAX_LINE = 65_516  # bytes of a pkt-line without its length field
FLUSH = b"0000"
SHALLOW = b"shallow "

MALFORMED = "Malformed push request."
TOO_MANY_REFS = "This push updates too many refs; push fewer at a time."
UNSUPPORTED = "Malformed ref update; signed pushes are not supported."


class MalformedPush(Exception):
    """The beginning of the push is malformed or not supported. The message is shown to the user."""


def encode_line(text: bytes) -> bytes:
    return b"%04x%s" % (len(text) + 4, text)


def decode_lines(data: bytes) -> Iterator[bytes]:
    """Yield the pkt-lines up to the flush packet, without their length fields. Raises ValueError."""
    at = 0
    while (length := data[at : at + 4]) != FLUSH:
        size = int(length, 16)
        if size < 4 or at + size > len(data):
            raise ValueError("not a pkt-line")
        yield data[at + 4 : at + size]
        at += size


def decode_packets(data: bytes | bytearray) -> Iterator[bytes]:
    """Yield the pkt-lines, without their length fields and without the special packets, whose length is below 4.

    Raises ValueError.
    """
    at = 0
    while at < len(data):
        size = max(int(data[at : at + 4], 16), 4)
        if at + size > len(data):
            raise ValueError("not a pkt-line")
        if size > 4:
            yield bytes(data[at + 4 : at + size])
        at += size


def is_whole(data: bytes | bytearray) -> bool:
    """Return whether the data consists of complete packets."""
    with suppress(ValueError):
        for _ in decode_packets(data):
            pass
        return len(data) > 0
    return False


@dataclass(frozen=True)
class RefCommand:
    """A ref and the object names it is to move from and to; all zeros if the ref does not exist."""

    old: bytes
    new: bytes
    ref: bytes


@dataclass(frozen=True)
class PushCommands:
    """The ref commands of a push, the bytes as sent, and the client's capabilities."""

    sent: bytes
    ref_commands: tuple[RefCommand, ...]
    shallow: tuple[bytes, ...]
    capabilities: tuple[bytes, ...]

    @property
    def refs(self) -> frozenset[bytes]:
        return frozenset(command.ref for command in self.ref_commands)

    def without(self, refs: Collection[bytes]) -> "PushCommands":
        """Return the same push without the commands for these refs."""
        remaining = tuple(command for command in self.ref_commands if command.ref not in refs)
        lines = [b"%s %s %s" % (command.old, command.new, command.ref) for command in remaining]
        if lines:
            lines[0] += b"\0" + b" ".join(self.capabilities)
        sent = b"".join(encode_line(line) for line in (*self.shallow, *lines)) + FLUSH
        return PushCommands(sent, remaining, self.shallow, self.capabilities)


async def read_commands(content: StreamReader) -> PushCommands:
    """Read the commands and the flush packet after them; the pack follows. Raises MalformedPush."""
    sent = bytearray()
    ref_commands: list[RefCommand] = []
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
                raise MalformedPush(TOO_MANY_REFS if size > 0 else MALFORMED)
            line = await content.readexactly(size)
        except (ValueError, asyncio.IncompleteReadError):
            raise MalformedPush(MALFORMED) from None
        sent += line
        if line.startswith(SHALLOW):
            shallow.append(line)
            continue
        command, _, more_capabilities = line.partition(b"\0")
        ref_commands.append(_parse_command(command.rstrip(b"\n")))
        capabilities += more_capabilities.split()
    if sum(len(capability) + 1 for capability in capabilities) > MAX_CAPABILITIES:
        raise MalformedPush(MALFORMED)
    return PushCommands(bytes(sent), tuple(ref_commands), tuple(shallow), tuple(capabilities))


def _parse_command(text: bytes) -> RefCommand:
    """Parse `old new ref`. Raises MalformedPush.

    Signed pushes are not advertised in the capabilities and not supported: the commands are repeated in their
    certificate, where they may be split into lines differently.
    """
    parts = text.split(b" ", 2)
    if len(parts) != 3 or not all(len(part) in (40, 64) for part in parts[:2]):
        raise MalformedPush(UNSUPPORTED)
    return RefCommand(*parts)
