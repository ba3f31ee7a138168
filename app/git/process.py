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
from collections.abc import AsyncIterator, Callable, Generator, Iterator, Mapping, Set
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import IO

from app.git import durability, limits
from app.git.errors import GitFailed, NoRepository, TimedOut, TooLarge
from app.git.leftovers import writing
from app.git.limits import Work
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
    **limits.ENVIRONMENT,
}
CONFIG = {
    **limits.CONFIG,
    "safe.directory": "*",
    "core.hooksPath": os.devnull,
    "gc.auto": "0",
    "protocol.allow": "never",
    "receive.fsckObjects": "true",
    "receive.autogc": "false",
    "receive.advertisePushOptions": "true",
    "receive.denyDeleteCurrent": "refuse",  # as by default, but without advice for the owner of the server
    "transfer.hideRefs": "refs/internal",
    "uploadpack.allowFilter": "true",
    "uploadpack.allowAnySHA1InWant": "false",
    "core.logAllRefUpdates": "false",
}
ACCEPTED_FAULTS = {Work.PUSH: "receive.fsck.", Work.MIRROR: "fetch.fsck."}  # where git looks for them
SETPRIV = shutil.which("setpriv")


def tie_to_parent(signal_name: str) -> list[str]:
    """Return a command prefix by which a program gets this signal when the thread that started it ends."""
    return [SETPRIV, "--pdeathsig", signal_name] if SETPRIV else []


# A git process must not outlive a killed parent: it would move refs while another process reconciles them.
KILLED_WITH_PARENT = tie_to_parent("KILL")
WRITING = frozenset({Work.CHANGE, Work.PUSH, Work.MIRROR})
SERVICES = {"upload-pack": Work.FETCH, "receive-pack": Work.PUSH}
SHORT_ANSWER = 64 << 20  # bytes of output that `run` holds in memory at most
OUT_OF_MEMORY = re.compile(rb"out of memory|cannot allocate memory|unable to create thread", re.IGNORECASE)
SUCCESS = frozenset({0})
OUT_OF_CPU_TIME = frozenset({-signal.SIGXCPU, 128 + signal.SIGXCPU})  # of git itself, or of a program that it has run
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


def build_command(*arguments: str, work: Work, config: Mapping[str, str] | None = None) -> list[str]:
    """Build the argument vector. Configuration precedes the subcommand, so no user value can end up there."""
    settings = [f"--config-env={name}={_variable(name)}" for name in _configure(work, config)]
    return [*KILLED_WITH_PARENT, *limits.limiting_command(work), "git", *settings, *arguments]


def build_environment(work: Work, config: Mapping[str, str] | None = None, **extra: str) -> dict[str, str]:
    values = {_variable(name): value for name, value in _configure(work, config).items()}
    return {**ENVIRONMENT, **values, **extra}


def _configure(work: Work, config: Mapping[str, str] | None) -> dict[str, str]:
    """Return the configuration of git: the forge's, the faults that may be there, and the caller's."""
    prefix, settings = ACCEPTED_FAULTS.get(work), limits.current_settings()
    faults = {f"{prefix}{fault}": "ignore" for fault in settings.git_accepted_faults if prefix}
    return {**CONFIG, **durability.CONFIG[settings.fsync], **faults, **(config or {})}


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

    `variables` are environment variables and `descriptors` open files for the hooks. Raises TimeoutError in the block
    when the time of a fetch or a push is over.
    """
    work = SERVICES[service]
    arguments = [
        service,
        "--stateless-rpc",
        *(["--http-backend-info-refs"] if advertise else []),
        str(repository),
    ]
    with _writer_descriptors(repository, work) as writers:
        process = await asyncio.create_subprocess_exec(
            *build_command(*arguments, work=work, config=config),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=build_environment(
                work, config, **({"GIT_PROTOCOL": protocol} if protocol else {}), **(variables or {})
            ),
            start_new_session=True,
            pass_fds=(*descriptors, *writers),
            limit=1 << 18,
        )
    try:
        async with asyncio.timeout(limits.limits_of(work).seconds):
            yield process
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        # `wait` also waits for the end of the pipes, and asyncio stops reading a pipe whose buffer is full.
        process._transport.close()  # type: ignore[attr-defined]
        await process.wait()


def run(
    repo_path: Path,
    *arguments: str,
    work: Work = Work.READ,
    stdin: bytes = b"",
    deadline: float | None = None,
    config: Mapping[str, str] | None = None,
    alternate: Path | None = None,
    scratch: Path | None = None,
    progress: Progress | None = None,
    accept: Set[int] = SUCCESS,
) -> bytes:
    """Run git in a repository and return its output, which is held in memory and should be short.

    The limits are those of the kind of work; a `deadline` can only be earlier. `alternate` is another repository whose
    objects can be read as well, for this run only; `scratch` is a folder that gets the objects that this run writes.
    `progress` needs the argument `--progress`; it is called at each step, and again each second in which git prints
    nothing. An exception that it raises ends git and is propagated.

    Raises GitFailed with the error output of git unless its exit code is one to `accept`, TimedOut when its time is
    over, TooLarge when it would need more memory or print more than allowed, and NoRepository when the directory does
    not exist.
    """
    deadline = _find_deadline(work, deadline)
    variables = _locate_objects(repo_path, alternate, scratch)
    if scratch is not None:
        config = {**(config or {}), **durability.NOTHING}
    with _start(repo_path, arguments, work, config, variables, stdin, pipe_stderr=progress is not None) as running:
        git, errors = running
        try:
            output = _communicate(git, errors, deadline, progress, min(limits.limits_of(work).output, SHORT_ANSWER))
        except subprocess.TimeoutExpired:
            raise TimedOut(arguments[0]) from None
        _check(git, arguments[0], errors, accept)
    return output


def _find_deadline(work: Work, deadline: float | None) -> float:
    """Return how many seconds a run may take: as many as its kind of work, or fewer if its caller says so."""
    allowed = limits.limits_of(work).seconds
    return allowed if deadline is None else min(deadline, allowed)


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
    max_output: int,
) -> bytes:
    """Read output and error output of git until both end. Raises TimeoutExpired and TooLarge."""
    assert git.stdout is not None  # noqa: S101 - asked for a pipe
    ends_at = time.monotonic() + deadline
    output, reader = bytearray(), _ProgressReader(errors, progress)
    with selectors.DefaultSelector() as selector:
        selector.register(git.stdout, selectors.EVENT_READ, output.extend)
        if git.stderr is not None:
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
            if len(output) > max_output:
                raise TooLarge("answer")
    if git.stderr is not None:
        reader.finish()
    git.wait(max(ends_at - time.monotonic(), 1))
    return bytes(output)


def stream(
    repo_path: Path,
    *arguments: str,
    work: Work = Work.READ,
    stdin: bytes = b"",
    deadline: float | None = None,
    config: Mapping[str, str] | None = None,
    alternate: Path | None = None,
) -> Generator[bytes, None, None]:
    """Run git and yield its output in chunks. Closing the iterator early ends git.

    The deadline counts the time spent waiting for git, not the time that the reader takes. Raises the same errors as
    `run`.
    """
    deadline, remaining = _find_deadline(work, deadline), limits.limits_of(work).output
    running = _start(repo_path, arguments, work, config, _locate_objects(repo_path, alternate), stdin)
    with running as (git, errors), selectors.DefaultSelector() as selector:
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
            if (remaining := remaining - len(chunk)) < 0:
                raise TooLarge(arguments[0])
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
    work: Work,
    config: Mapping[str, str] | None,
    variables: Mapping[str, str],
    stdin: bytes = b"",
    *,
    pipe_stderr: bool = False,
) -> Iterator[tuple["subprocess.Popen[bytes]", IO[bytes]]]:
    """Start git, and kill its process group at the end of the block if it still runs.

    Yields the process and a file for its error output. Git writes to that file itself, so that nothing has to be read
    while it runs; with `pipe_stderr` the caller reads a pipe instead.
    """
    with ExitStack() as stack:
        errors, stdin_file = (
            stack.enter_context(tempfile.TemporaryFile()),
            stack.enter_context(tempfile.TemporaryFile()),
        )
        writers = stack.enter_context(_writer_descriptors(repo_path, work))
        stdin_file.write(stdin)
        stdin_file.seek(0)
        try:
            git = subprocess.Popen(
                build_command(f"--git-dir={repo_path}", *arguments, work=work, config=config),
                stdin=stdin_file,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE if pipe_stderr else errors,
                cwd=repo_path,
                env=build_environment(work, config, **variables),
                start_new_session=True,
                pass_fds=(*inherited_descriptors(), *writers),
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


@contextmanager
def _writer_descriptors(repo_path: Path, work: Work) -> Iterator[tuple[int, ...]]:
    """Yield the descriptors that git must inherit, so that nothing it is writing is taken for a leftover."""
    if work not in WRITING:
        yield ()
        return
    with writing(repo_path) as descriptor:
        yield (descriptor,)


def _check(git: "subprocess.Popen[bytes]", subcommand: str, errors: IO[bytes], accept: Set[int] = SUCCESS) -> None:
    if git.returncode in accept:
        return
    errors.seek(0)
    said = errors.read(MAX_STDERR)
    if git.returncode in OUT_OF_CPU_TIME:
        raise TimedOut(subcommand)
    if OUT_OF_MEMORY.search(said):
        raise TooLarge(subcommand)
    raise GitFailed(f"git {subcommand}: {decode(said).strip()}")


def _locate_objects(repo_path: Path, alternate: Path | None, scratch: Path | None = None) -> dict[str, str]:
    """Return the environment variables that tell git where to read objects and, with `scratch`, where to write them."""
    others = [folder / "objects" for folder in (scratch and repo_path, alternate) if folder]
    variables = {"GIT_ALTERNATE_OBJECT_DIRECTORIES": ":".join(map(_quote, others))} if others else {}
    return {**variables, **({"GIT_OBJECT_DIRECTORY": str(scratch)} if scratch else {})}


def _quote(path: Path) -> str:
    """Quote a path for a colon-separated list of object directories."""
    return '"' + str(path).replace("\\", "\\\\").replace('"', '\\"') + '"'
