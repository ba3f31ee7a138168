"""Running git. This is the only module that starts it, always with an argument vector and never through a shell."""

import asyncio
import os
import re
import selectors
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Generator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import IO

from app.git.errors import GitFailed, NoRepository, TimedOut, TooLarge
from app.git.locks import inherited_descriptors
from app.git.text import decode

# Configuration outside the repository must not influence git, and there is no terminal to ask for a password.
ENVIRONMENT = {
    "PATH": os.environ.get("PATH", "/usr/bin:/bin"),
    "HOME": "/nonexistent",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_NO_REPLACE_OBJECTS": "1",
    "LC_ALL": "C.UTF-8",
}
CONFIG = {
    "safe.directory": "*",
    "core.hooksPath": os.devnull,
    "gc.auto": "0",
    "protocol.allow": "never",
    "receive.fsckObjects": "true",
    "receive.autogc": "false",
    "receive.advertisePushOptions": "true",
    "transfer.hideRefs": "refs/internal",
    "uploadpack.allowFilter": "true",
    "uploadpack.allowAnySHA1InWant": "false",
    "core.logAllRefUpdates": "false",
}
SETPRIV = shutil.which("setpriv")


def tie_to_parent(signal_name: str) -> list[str]:
    """Return a command prefix by which a program gets this signal when the thread that started it ends."""
    return [SETPRIV, "--pdeathsig", signal_name] if SETPRIV else []


# A git process must not outlive a killed parent: it would move refs while another process reconciles them.
KILLED_WITH_PARENT = tie_to_parent("KILL")
SERVICES = frozenset({"upload-pack", "receive-pack"})
DEFAULT_TIMEOUT = 60.0  # seconds that one run may keep its caller waiting
CHUNK = 1 << 16  # bytes
MAX_STDERR = 4096  # bytes of error output that are kept

Progress = Callable[[str, int], None]  # called with a stage and a percentage
PROGRESS = re.compile(rb"(?:remote: )?([A-Z][a-z]+ [a-z]+): +(\d{1,3})% \(")
STAGES = {
    b"Counting objects": "count",
    b"Compressing objects": "compress",
    b"Receiving objects": "receive",
    b"Unpacking objects": "receive",  # the name git uses for small packs
    b"Resolving deltas": "resolve",
}
LINE_END = re.compile(rb"[\r\n]")
REPEAT_SECONDS = 1.0  # after which progress is reported again if git prints nothing


def build_command(*arguments: str, config: Mapping[str, str] | None = None) -> list[str]:
    """Build the argument vector. Configuration precedes the subcommand, so no user value can end up there."""
    settings = [f"--config-env={name}={_variable(name)}" for name in {**CONFIG, **(config or {})}]
    return [*KILLED_WITH_PARENT, "git", *settings, *arguments]


def build_environment(config: Mapping[str, str] | None = None, **extra: str) -> dict[str, str]:
    values = {_variable(name): value for name, value in {**CONFIG, **(config or {})}.items()}
    return {**ENVIRONMENT, **values, **extra}


def _variable(name: str) -> str:
    return "PF_" + name.replace(".", "_").upper()


@asynccontextmanager
async def serve(
    service: str,
    repository: Path,
    *,
    advertise: bool,
    protocol: str = "",
    config: Mapping[str, str] | None = None,
    variables: Mapping[str, str] | None = None,
    descriptors: tuple[int, ...] = (),
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run upload-pack or receive-pack over pipes; its process group is killed at the end of the block.

    `variables` are environment variables and `descriptors` open files for the hooks.
    """
    assert service in SERVICES  # noqa: S101 - routes name the service, clients never do
    arguments = [
        service,
        "--stateless-rpc",
        *(["--http-backend-info-refs"] if advertise else []),
        str(repository),
    ]
    process = await asyncio.create_subprocess_exec(
        *build_command(*arguments, config=config),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=build_environment(config, **({"GIT_PROTOCOL": protocol} if protocol else {}), **(variables or {})),
        start_new_session=True,
        pass_fds=descriptors,
        limit=1 << 18,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        # asyncio waits for the ends of the pipes too, and stops to read one whose output nobody takes any more.
        process._transport.close()  # type: ignore[attr-defined]
        await process.wait()


def run(
    repo_path: Path,
    *arguments: str,
    stdin: bytes = b"",
    deadline: float = DEFAULT_TIMEOUT,
    config: Mapping[str, str] | None = None,
    alternate: Path | None = None,
    progress: Progress | None = None,
    max_output: int | None = None,
) -> bytes:
    """Run git in a repository and return its output, which is held in memory and should be short.

    `alternate` is another repository whose objects can be read as well, for this run only. `progress` needs the
    argument `--progress`; it is called at each step, and again each second in which git prints nothing. An exception
    that it raises ends git and is propagated. Raises GitFailed with the error output of git, TimedOut after `deadline`
    seconds, TooLarge above `max_output` bytes, and NoRepository when the directory does not exist.
    """
    monitored = progress is not None or max_output is not None
    with _start(repo_path, arguments, config, alternate, stdin, pipe_stderr=monitored) as (git, errors):
        try:
            if monitored:
                output = _communicate(git, errors, deadline, progress, max_output)
            else:
                output, _ = git.communicate(timeout=deadline)
        except subprocess.TimeoutExpired:
            raise TimedOut(arguments[0]) from None
        _check(git, arguments[0], errors)
    return bytes(output)


class _ProgressReader:
    """Reports progress lines in the error output of git, and keeps the other lines up to MAX_STDERR."""

    def __init__(self, errors: IO[bytes], progress: Progress | None) -> None:
        self._errors = errors
        self._progress = progress
        self._latest: tuple[str, int] | None = None
        self._line = b""

    def feed(self, chunk: bytes) -> None:
        *lines, rest = LINE_END.split(self._line + chunk)
        for line in lines:
            self._handle_line(line)
        self._line = rest[:MAX_STDERR]

    def finish(self) -> None:
        self._handle_line(self._line)

    def repeat(self) -> None:
        """Report the latest step again, which gives the callback an occasion to end git."""
        if self._progress and self._latest:
            self._progress(*self._latest)

    def _handle_line(self, line: bytes) -> None:
        if step := PROGRESS.match(line):
            if self._progress and (stage := STAGES.get(step[1])):
                self._latest = stage, min(int(step[2]), 100)
                self._progress(*self._latest)
        elif line and self._errors.tell() < MAX_STDERR:
            self._errors.write(line + b"\n")


def _communicate(
    git: "subprocess.Popen[bytes]",
    errors: IO[bytes],
    deadline: float,
    progress: Progress | None,
    max_output: int | None,
) -> bytes:
    """Read output and error output of git until both end. Raises TimeoutExpired and TooLarge."""
    assert git.stdout is not None  # noqa: S101 - asked for pipes
    assert git.stderr is not None  # noqa: S101
    ends_at = time.monotonic() + deadline
    output, reader = bytearray(), _ProgressReader(errors, progress)
    with selectors.DefaultSelector() as selector:
        selector.register(git.stdout, selectors.EVENT_READ, output.extend)
        selector.register(git.stderr, selectors.EVENT_READ, reader.feed)
        while selector.get_map():
            # Checked in every round, since a git that prints all the time never lets `select` time out.
            if (remaining := ends_at - time.monotonic()) <= 0:
                raise subprocess.TimeoutExpired(git.args, deadline)
            ready = selector.select(min(remaining, REPEAT_SECONDS))
            for key, _ in ready:
                if chunk := os.read(key.fd, CHUNK):
                    key.data(chunk)
                else:
                    selector.unregister(key.fileobj)
            if not ready:
                reader.repeat()
            if max_output is not None and len(output) > max_output:
                raise TooLarge("answer")
    reader.finish()
    git.wait(max(ends_at - time.monotonic(), 1))
    return bytes(output)


def stream(
    repo_path: Path,
    *arguments: str,
    deadline: float = DEFAULT_TIMEOUT,
    config: Mapping[str, str] | None = None,
    alternate: Path | None = None,
) -> Generator[bytes, None, None]:
    """Run git and yield its output in chunks. Closing the iterator early ends git.

    The deadline counts the time spent waiting for git, not the time that the reader takes. Raises the same errors as
    `run`.
    """
    with _start(repo_path, arguments, config, alternate) as (git, errors), selectors.DefaultSelector() as selector:
        assert git.stdout is not None  # noqa: S101 - asked for a pipe
        selector.register(git.stdout, selectors.EVENT_READ)
        while True:
            before = time.monotonic()
            if not selector.select(max(deadline, 0)):
                raise TimedOut(arguments[0])
            chunk = os.read(git.stdout.fileno(), CHUNK)
            deadline -= time.monotonic() - before
            if not chunk:
                break
            yield chunk
        git.wait(max(deadline, 1))
        _check(git, arguments[0], errors)


def split_records(chunks: Iterator[bytes], separator: bytes = b"\n") -> Iterator[bytes]:
    """Split a stream into records, without their separators."""
    rest = b""
    for chunk in chunks:
        *records, rest = (rest + chunk).split(separator)
        yield from records
    if rest:
        yield rest


@contextmanager
def _start(
    repo_path: Path,
    arguments: tuple[str, ...],
    config: Mapping[str, str] | None,
    alternate: Path | None,
    stdin: bytes = b"",
    *,
    pipe_stderr: bool = False,
) -> Iterator[tuple["subprocess.Popen[bytes]", IO[bytes]]]:
    """Start git, and kill its process group at the end of the block if it still runs.

    Yields the process and a file for its error output. Git writes to that file itself, so that nothing has to be read
    while it runs; with `pipe_stderr` the caller reads a pipe instead.
    """
    variables = {"GIT_ALTERNATE_OBJECT_DIRECTORIES": _quote(alternate / "objects")} if alternate else {}
    with tempfile.TemporaryFile() as errors, tempfile.TemporaryFile() as stdin_file:
        stdin_file.write(stdin)
        stdin_file.seek(0)
        try:
            git = subprocess.Popen(
                build_command(f"--git-dir={repo_path}", *arguments, config=config),
                stdin=stdin_file,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE if pipe_stderr else errors,
                cwd=repo_path,
                env=build_environment(config, **variables),
                start_new_session=True,
                pass_fds=inherited_descriptors(),
            )
        except (FileNotFoundError, NotADirectoryError):
            raise NoRepository(repo_path.name) from None
        with git:
            try:
                yield git, errors
            finally:
                if git.poll() is None:
                    with suppress(ProcessLookupError):
                        os.killpg(git.pid, signal.SIGKILL)


def _check(git: "subprocess.Popen[bytes]", subcommand: str, errors: IO[bytes]) -> None:
    if git.returncode:
        errors.seek(0)
        raise GitFailed(f"git {subcommand}: {decode(errors.read(MAX_STDERR)).strip()}")


def _quote(path: Path) -> str:
    """Quote a path for a colon-separated list of object directories."""
    return '"' + str(path).replace("\\", "\\\\").replace('"', '\\"') + '"'
