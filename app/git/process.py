"""The git program: the only place that starts it. Arguments are typed, a shell is never involved."""

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
from app.git.text import decode

# Nothing outside the repository may change what git does, and nobody is there to be asked for a password.
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
    "transfer.hideRefs": "refs/internal",
    "uploadpack.allowFilter": "true",
    "uploadpack.allowAnySHA1InWant": "false",
    "core.logAllRefUpdates": "false",
}
SETPRIV = shutil.which("setpriv")


def tie_to_parent(signal_name: str) -> list[str]:
    """What to start a program with so that it gets this signal when the thread that started it has ended."""
    return [SETPRIV, "--pdeathsig", signal_name] if SETPRIV else []


# A git whose parent was killed moves no refs behind the back of whoever reconciles.
KILLED_WITH_PARENT = tie_to_parent("KILL")
SERVICES = frozenset({"upload-pack", "receive-pack"})
DEFAULT_TIMEOUT = 60.0  # seconds that one run may keep its caller waiting
CHUNK = 1 << 16
MAX_STDERR = 4096  # of what git says about a failure

Progress = Callable[[str, int], None]  # hears a stage and its percent
PROGRESS = re.compile(rb"(?:remote: )?([A-Z][a-z]+ [a-z]+): +(\d{1,3})% \(")
STAGES = {
    b"Counting objects": "count",
    b"Compressing objects": "compress",
    b"Receiving objects": "receive",
    b"Unpacking objects": "receive",  # so git calls it when they are few
    b"Resolving deltas": "resolve",
}
LINE_END = re.compile(rb"[\r\n]")
SILENCE_SECONDS = 1.0  # seconds


def build_command(*arguments: str, config: Mapping[str, str] | None = None) -> list[str]:
    """The argument vector; configuration comes before the subcommand, where no user value ever stands."""
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
) -> AsyncIterator[asyncio.subprocess.Process]:
    """upload-pack or receive-pack over pipes; its whole process group ends with the block.

    `variables` are for the hooks.
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
        limit=1 << 18,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()


def run(
    repo_path: Path,
    *arguments: str,
    stdin: bytes = b"",
    deadline: float = DEFAULT_TIMEOUT,
    config: Mapping[str, str] | None = None,
    alternate: Path | None = None,
    progress: Progress | None = None,
    most: int | None = None,
) -> bytes:
    """The output of git in the repository at `place`; for answers of a few lines, since all of it is kept.

    `borrow` is another repository whose objects may be read as well, for this run only. `progress` hears how far git is
    when `--progress` is among the arguments, and in silence hears it again each second; an exception of its own ends
    git and comes out. Raises GitFailed with git's words, TimedOut, TooLarge when more than `most` bytes come, and
    NoRepository when there is no such place.
    """
    heard = progress is not None or most is not None
    with _start(repo_path, arguments, config, alternate, stdin, heard=heard) as (git, words):
        try:
            if heard:
                output = _communicate(git, words, deadline, progress, most)
            else:
                output, _ = git.communicate(timeout=deadline)
        except subprocess.TimeoutExpired:
            raise TimedOut(arguments[0]) from None
        _check(git, arguments[0], words)
    return bytes(output)


class _ProgressReader:
    """Tells of the steps among git's words, and keeps the other words, up to the limit."""

    def __init__(self, words: IO[bytes], progress: Progress | None) -> None:
        self._words = words
        self._progress = progress
        self._latest: tuple[str, int] | None = None
        self._line = b""

    def feed(self, piece: bytes) -> None:
        *lines, line = LINE_END.split(self._line + piece)
        for whole in lines:
            self._take(whole)
        self._line = line[:MAX_STDERR]

    def end(self) -> None:
        self._take(self._line)

    def silence(self) -> None:
        """Tell again how far it is, so that whoever has heard enough can say so."""
        if self._progress and self._latest:
            self._progress(*self._latest)

    def _take(self, line: bytes) -> None:
        if step := PROGRESS.match(line):
            if self._progress and (stage := STAGES.get(step[1])):
                self._latest = stage, min(int(step[2]), 100)
                self._progress(*self._latest)
        elif line and self._words.tell() < MAX_STDERR:
            self._words.write(line + b"\n")


def _communicate(
    git: "subprocess.Popen[bytes]", words: IO[bytes], deadline: float, progress: Progress | None, most: int | None
) -> bytes:
    """The output of git, whose other words are told or kept as they come. Raises TimeoutExpired and TooLarge."""
    assert git.stdout is not None  # noqa: S101 - asked for pipes
    assert git.stderr is not None  # noqa: S101
    ends = time.monotonic() + deadline
    output, reader = bytearray(), _ProgressReader(words, progress)
    with selectors.DefaultSelector() as ready:
        ready.register(git.stdout, selectors.EVENT_READ, output.extend)
        ready.register(git.stderr, selectors.EVENT_READ, reader.feed)
        while ready.get_map():
            # Asked each time: somebody who never falls silent is not to be waited for longer than others.
            if (left := ends - time.monotonic()) <= 0:
                raise subprocess.TimeoutExpired(git.args, deadline)
            spoken = ready.select(min(left, SILENCE_SECONDS))
            for key, _ in spoken:
                if piece := os.read(key.fd, CHUNK):
                    key.data(piece)
                else:
                    ready.unregister(key.fileobj)
            if not spoken:
                reader.silence()
            if most is not None and len(output) > most:
                raise TooLarge("answer")
    reader.end()
    git.wait(max(ends - time.monotonic(), 1))
    return bytes(output)


def stream(
    repo_path: Path,
    *arguments: str,
    deadline: float = DEFAULT_TIMEOUT,
    config: Mapping[str, str] | None = None,
    alternate: Path | None = None,
) -> Generator[bytes, None, None]:
    """The output of git piece by piece, as it comes. Git ends with the iterator, also when that is left early.

    The deadline counts the time spent waiting for git, not the time the reader takes. Raises as `run` does.
    """
    with _start(repo_path, arguments, config, alternate) as (git, words), selectors.DefaultSelector() as ready:
        assert git.stdout is not None  # noqa: S101 - asked for a pipe
        ready.register(git.stdout, selectors.EVENT_READ)
        while True:
            before = time.monotonic()
            if not ready.select(max(deadline, 0)):
                raise TimedOut(arguments[0])
            piece = os.read(git.stdout.fileno(), CHUNK)
            deadline -= time.monotonic() - before
            if not piece:
                break
            yield piece
        git.wait(max(deadline, 1))
        _check(git, arguments[0], words)


def split_records(pieces: Iterator[bytes], separator: bytes = b"\n") -> Iterator[bytes]:
    """The lines of a stream, without their ends."""
    rest = b""
    for piece in pieces:
        *whole, rest = (rest + piece).split(separator)
        yield from whole
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
    heard: bool = False,
) -> Iterator[tuple["subprocess.Popen[bytes]", IO[bytes]]]:
    """Git and the file its words of failure go to: nobody has to read that at the same time, unless they are `heard`,
    which is through a pipe.
    """
    borrowed = {"GIT_ALTERNATE_OBJECT_DIRECTORIES": _quote(alternate / "objects")} if alternate else {}
    with tempfile.TemporaryFile() as words, tempfile.TemporaryFile() as asked:
        asked.write(stdin)
        asked.seek(0)
        try:
            git = subprocess.Popen(
                build_command(f"--git-dir={repo_path}", *arguments, config=config),
                stdin=asked,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE if heard else words,
                cwd=repo_path,
                env=build_environment(config, **borrowed),
                start_new_session=True,
            )
        except (FileNotFoundError, NotADirectoryError):
            raise NoRepository(repo_path.name) from None
        with git:
            try:
                yield git, words
            finally:
                if git.poll() is None:
                    with suppress(ProcessLookupError):
                        os.killpg(git.pid, signal.SIGKILL)


def _check(git: "subprocess.Popen[bytes]", what: str, words: IO[bytes]) -> None:
    if git.returncode:
        words.seek(0)
        raise GitFailed(f"git {what}: {decode(words.read(MAX_STDERR)).strip()}")


def _quote(path: Path) -> str:
    """As lists of object directories want a path that may hold a colon."""
    return '"' + str(path).replace("\\", "\\\\").replace('"', '\\"') + '"'
