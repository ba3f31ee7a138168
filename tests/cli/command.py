"""Run `polyforge` as users and scripts do: in processes, at a terminal, and over connections that break."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import orjson

from app.ops import embedded
from tests.processes import TIED

# Addresses that no program can listen on, with the beginning of the reason.
UNUSABLE_HOSTS = {
    "192.0.2.1": "192.0.2.1 is not an address of this machine",
    "nowhere.invalid": "the name nowhere.invalid has no address",
    "::g": "the name ::g has no address",
    "a..b": "the name a..b has no address",
}


class RunningCommand:
    """A running `polyforge` process."""

    def __init__(self, process: asyncio.subprocess.Process, output: asyncio.StreamReader) -> None:
        self.process = process
        self.output = output

    async def read_line(self) -> str:
        async with asyncio.timeout(20):
            line = await self.output.readline()
        return line.decode().rstrip()

    async def read_json(self) -> Any:
        line = await self.read_line()
        assert line, await self.read_error()
        return orjson.loads(line)

    async def read_error(self) -> str:
        """Read the next line of standard error."""
        assert self.process.stderr is not None
        async with asyncio.timeout(20):
            return (await self.process.stderr.readline()).decode().rstrip()

    async def wait(self, signal_number: int | None = None) -> int:
        """Wait for the exit code, after sending a signal if one is given."""
        if signal_number is not None:
            self.process.send_signal(signal_number)
        async with asyncio.timeout(20):
            return await self.process.wait()


@asynccontextmanager
async def start_command(
    *arguments: str, terminal: bool = False, error_terminal: bool = False, **environment: str
) -> AsyncIterator[RunningCommand]:
    """Start a command, whose standard output is a terminal or a pipe. `output` reads it.

    With `error_terminal`, standard error is a terminal, and `output` reads that.
    """
    known = {name: value for name, value in os.environ.items() if not name.startswith("POLYFORGE_")}
    master, slave = os.openpty() if terminal or error_terminal else (None, asyncio.subprocess.PIPE)
    process = await asyncio.create_subprocess_exec(
        *TIED, sys.executable, "-m", "app", *arguments, stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE if error_terminal else slave,
        stderr=slave if error_terminal else asyncio.subprocess.PIPE,
        limit=1 << 22, env={**known, "TERM": "xterm", "COLUMNS": "240", **environment},
    )  # fmt: skip
    try:
        if master is None:
            assert process.stdout is not None
            yield RunningCommand(process, process.stdout)
        else:
            os.close(slave)
            output, loop = asyncio.StreamReader(), asyncio.get_running_loop()
            transport, _ = await loop.connect_read_pipe(
                lambda: asyncio.StreamReaderProtocol(output), os.fdopen(master, "rb")
            )
            yield RunningCommand(process, output)
            transport.close()
    finally:
        with suppress(ProcessLookupError):
            process.send_signal(signal.SIGKILL)
        await process.communicate()


def describe_problem(problem: Any) -> str:
    """Return the line that a command prints for an error response of the native API."""
    [pointer, *_] = [f"{error['pointer']}: " for error in problem.get("errors", [])] or [""]
    return f"Error: {pointer}{problem.get('detail') or problem['title']}"


async def run_command(*arguments: str, **environment: str) -> tuple[int, list[Any], str]:
    """Run a command to its end; return its exit code, the JSON lines it printed, and its standard error."""
    async with start_command(*arguments, **environment) as command, asyncio.timeout(30):
        output, errors = await command.process.communicate()
        assert command.process.returncode is not None
        return command.process.returncode, [orjson.loads(line) for line in output.splitlines()], errors.decode()


class FlakyProxy:
    """A TCP proxy between a client and the forge that can cut connections and be stopped."""

    def __init__(self, port: int, to: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.port = port
        self.to = to
        self.connections = 0
        self.limit: int | None = None  # bytes from the forge, after which a connection is cut
        self._open: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._carry, "127.0.0.1", self.port)

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        self.cut()

    def cut(self) -> None:
        for writer in self._open:
            writer.transport.abort()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.to)
        ends = {writer, far_writer}
        self._open |= ends
        await asyncio.gather(self._copy(reader, far_writer, None), self._copy(far_reader, writer, self.limit))
        self._open -= ends

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, limit: int | None) -> None:
        with suppress(OSError):
            while (limit is None or limit > 0) and (chunk := await reader.read(limit or 1 << 16)):
                writer.write(chunk)
                await writer.drain()
                limit = None if limit is None else limit - len(chunk)
        writer.close()


@asynccontextmanager
async def run_flaky_proxy(url: str) -> AsyncIterator[FlakyProxy]:
    proxy = FlakyProxy(embedded.free_port(), int(url.rpartition(":")[2]))
    await proxy.start()
    try:
        yield proxy
    finally:
        await proxy.stop()
        await asyncio.sleep(0)
