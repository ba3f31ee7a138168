"""Receiving a push: git unpacks and checks its objects, and the forge moves its refs and records that.

Independent of the transport, which passes the stream that the client sends and gets the report for the client.
"""

import asyncio
from contextlib import AsyncExitStack, suppress

from aiohttp import StreamReader

from app.core.pushes import RefWriter, move_refs
from app.git import receive
from app.git.leftovers import remove_quarantines
from app.git.process import serve
from app.git.ref_changes import RefChange
from app.logs import log
from app.points import Point, reach
from app.transports import report_status
from app.transports.pktline import read_commands
from app.transports.proc_receive import answer_hook
from app.transports.push_authorization import PushDecision, authorize_push, describe_faults, describe_verdicts

CHUNK = 1 << 16  # bytes
MAX_STDERR = 4096  # bytes


class HooksNotExecutable(Exception):
    """Git would skip its hooks, which check pushes."""


class PushTooLarge(Exception):
    """The push has more bytes than the setting allows."""


async def receive_push(
    writer: RefWriter, content: StreamReader, *, protocol: str, max_bytes: int, max_refs: int
) -> bytes:
    """Receive a push and return the report for the client: progress and a line per ref.

    A ref is reported as moved only once that is in the log. Raises MalformedPush, PushTooLarge, HooksNotExecutable, and
    Conflict if another process keeps the refs locked.
    """
    if not receive.are_hooks_executable():
        log.error("hooks cannot be executed", folder=str(receive.HOOKS))
        raise HooksNotExecutable
    commands = await read_commands(content)
    decision = await authorize_push(writer.actor, writer.project, writer.repo_path, commands, max_refs)
    if decision.reasons and not decision.commands.ref_commands:
        await _discard(content, max_bytes)
        return report_status.refuse_all(commands, decision.reasons)
    await asyncio.to_thread(remove_quarantines, writer.repo_path)
    async with AsyncExitStack() as stack:
        hooks = await asyncio.to_thread(receive.HookSession, decision.requirements, atomic=decision.atomic)
        stack.push_async_callback(asyncio.to_thread, hooks.close)
        output, faults = await _run_git(writer, content, decision, hooks, protocol, max_bytes)
        verdicts = describe_verdicts(await asyncio.to_thread(hooks.verdicts), decision)
    reasons = {**faults, **verdicts, **decision.reasons}
    return report_status.amend_report(decision.commands, output, reasons)


async def _run_git(
    writer: RefWriter,
    content: StreamReader,
    decision: PushDecision,
    hooks: receive.HookSession,
    protocol: str,
    max_bytes: int,
) -> tuple[bytes, dict[bytes, str]]:
    """Run receive-pack; return its output and the reasons why refs that it handed over were not moved."""
    commands, faults = decision.commands, dict[bytes, str]()

    async def move(changes: list[RefChange], options: list[str]) -> dict[str, str]:
        reach(Point.PUSH_HANDED_OVER)
        refused = await asyncio.to_thread(hooks.verdicts)
        pending = [change for change in changes if change.ref.encode(errors="surrogateescape") not in refused]
        found = await move_refs(writer, pending, atomic=decision.atomic, options=tuple(options))
        faults.update({ref.encode(errors="surrogateescape"): words for ref, words in describe_faults(found).items()})
        not_moved = [change.ref for change in changes if change not in pending]
        return {**dict.fromkeys(not_moved, "refused"), **{ref: "failed" for ref in found}}

    config = {"receive.maxInputSize": str(max_bytes), "receive.hideRefs": "refs/pull", **hooks.config}
    async with (
        answer_hook(move) as hook,
        serve(
            "receive-pack",
            writer.repo_path,
            advertise=False,
            protocol=protocol,
            config=config,
            variables={**hooks.variables, **hook.variables},
            descriptors=hook.descriptors,
        ) as git,
    ):
        hook.start()
        reach(Point.PUSH_STARTED)
        assert git.stdout is not None and git.stderr is not None  # noqa: S101, PT018
        feed = asyncio.create_task(copy_input(content, git, commands.sent, max_bytes=max_bytes))
        output, _, _, _ = await asyncio.gather(git.stdout.read(), read_beginning(git.stderr), feed, hook.finished())
        if await git.wait():
            log.warning("receive-pack failed", code=git.returncode)
        return output, faults


async def copy_input(
    content: StreamReader, git: asyncio.subprocess.Process, beginning: bytes = b"", *, max_bytes: int
) -> None:
    """Copy what the client sends to git's standard input, and close that at the end. Raises PushTooLarge."""
    assert git.stdin is not None  # noqa: S101 - serve opens all three pipes
    size = len(beginning)
    try:
        with suppress(ConnectionError):  # git may exit before it has read everything
            git.stdin.write(beginning)
            async for chunk in content.iter_chunked(CHUNK):
                size += len(chunk)
                if size > max_bytes:
                    raise PushTooLarge
                git.stdin.write(chunk)
                await git.stdin.drain()
    finally:
        git.stdin.close()  # otherwise git waits for more input until the deadline


async def _discard(content: StreamReader, max_bytes: int) -> None:
    """Read the pack of a refused push: git's client reads the report only after it has sent everything."""
    size = 0
    async for chunk in content.iter_chunked(CHUNK):
        size += len(chunk)
        if size > max_bytes:
            raise PushTooLarge


async def read_beginning(stream: asyncio.StreamReader) -> bytes:
    """Read to the end, so that git never blocks on a full pipe, and return the first MAX_STDERR bytes."""
    beginning = b""
    while chunk := await stream.read(CHUNK):
        beginning = (beginning + chunk)[:MAX_STDERR]
    return beginning
