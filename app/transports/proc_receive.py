"""The forge's side of git's `proc-receive` hook (githooks(5)): git passes on the ref changes of a push, after it has
unpacked and checked the objects, and reports to the client what it is told of each.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

from app.git.ref_changes import RefChange
from app.transports.pktline import FLUSH, encode_line

CAPABILITIES = b"version=1\0push-options atomic"
# Changes the refs, with the push options; returns a word for each ref that was not changed.
Move = Callable[[list[RefChange], list[str]], Awaitable[dict[str, str]]]


class HookConversation:
    """The pipes between a receive-pack and the forge, and the task that answers its hook.

    `descriptors` are the ends that git inherits, `variables` tell the hook which they are.
    """

    def __init__(self, move: Move) -> None:
        self._move = move
        self._read_end, changes = os.pipe()
        report, self._write_end = os.pipe()
        self.descriptors: tuple[int, ...] = (changes, report)
        self.variables = {"POLYFORGE_CHANGES": str(changes), "POLYFORGE_REPORT": str(report)}
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Answer the hook in the background. Call this once git has inherited its descriptors."""
        self._close_descriptors()
        self._task = asyncio.create_task(self._answer())

    async def finished(self) -> None:
        """Wait until the hook has its answer, or git has ended without one. Raises what moving the refs raised."""
        assert self._task is not None  # noqa: S101 - start comes first
        await self._task

    def _close_descriptors(self) -> None:
        for descriptor in self.descriptors:
            os.close(descriptor)
        self.descriptors = ()

    async def close(self) -> None:
        self._close_descriptors()
        if self._task is None:
            os.close(self._read_end)
            os.close(self._write_end)
            return
        self._task.cancel()
        await asyncio.wait([self._task])

    async def _answer(self) -> None:
        loop, reader = asyncio.get_running_loop(), asyncio.StreamReader()
        incoming, _ = await loop.connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(self._read_end, "rb", buffering=0)
        )
        try:
            # git ends without running the hook if the objects are bad.
            with suppress(asyncio.IncompleteReadError, BrokenPipeError):
                await self._converse(reader)
        finally:
            incoming.close()
            os.close(self._write_end)

    async def _converse(self, reader: asyncio.StreamReader) -> None:
        offered = await _read_section(reader)
        await self._write(encode_line(CAPABILITIES) + FLUSH)
        changes = [_parse_change(line) for line in await _read_section(reader)]
        with_options = b"push-options" in offered[0].partition(b"\0")[2].split()
        options = [line.decode(errors="replace") for line in await _read_section(reader)] if with_options else []
        faults = await self._move(changes, options)
        lines = [
            b"ng %s %s" % (ref.encode(errors="surrogateescape"), faults[ref].encode())
            if ref in faults
            else b"ok %s" % ref.encode(errors="surrogateescape")
            for ref in (change.ref for change in changes)
        ]
        await self._write(b"".join(map(encode_line, lines)) + FLUSH)

    async def _write(self, data: bytes) -> None:
        """Write to the pipe in a thread, since the report on many refs is longer than the pipe's buffer."""

        def write() -> None:
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(self._write_end, rest) :]

        await asyncio.to_thread(write)


async def _read_section(reader: asyncio.StreamReader) -> list[bytes]:
    """Read the lines up to the next flush packet."""
    lines = []
    while (length := await reader.readexactly(4)) != FLUSH:
        lines.append((await reader.readexactly(int(length, 16) - 4)).rstrip(b"\n"))
    return lines


def _parse_change(line: bytes) -> RefChange:
    old, new, ref = line.split(b" ", 2)
    return RefChange(ref.decode(errors="surrogateescape"), old.decode(), new.decode())


@asynccontextmanager
async def answer_hook(move: Move) -> AsyncIterator[HookConversation]:
    """Open the pipes for one receive-pack; they are closed at the end of the block."""
    conversation = HookConversation(move)
    try:
        yield conversation
    finally:
        await conversation.close()
