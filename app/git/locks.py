"""The lock of a repository's refs: one process at a time moves them and records that it did.

It is an advisory lock of the kernel (`flock`), held by the process that moves refs and by the git processes that it
starts. So it is free again at the very moment when all of them have ended, however they ended, and no lease has to run
out first. A process that is stopped keeps it, and moves nothing behind another one's back when it goes on.

Whoever holds it knows that every `*.lock` file of a ref in the repository was left behind by a process that is gone.
"""

import fcntl
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from itertools import chain, repeat
from pathlib import Path
from types import TracebackType

from app.git.errors import NoRepository, TimedOut

FILE = "polyforge-refs"
TIMEOUT = 20.0  # seconds to wait for the lock
PAUSES = (0.002, 0.005, 0.01, 0.02, 0.05)  # seconds between attempts; the last one is repeated
_held: ContextVar[dict[Path, int]] = ContextVar("held_ref_locks")


def inherited_descriptors() -> tuple[int, ...]:
    """Return the descriptors that a git process must inherit, so that it holds the locks of the process."""
    return tuple(_held.get({}).values())


def is_held(repo_path: Path) -> bool:
    """Return whether the present task or thread holds the lock of this repository."""
    return repo_path in _held.get({})


class RefLock:
    """The lock of one repository. Raises NoRepository if that does not exist."""

    def __init__(self, repo_path: Path) -> None:
        self.repo_path = repo_path
        try:
            self._descriptor = os.open(repo_path / FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except (FileNotFoundError, NotADirectoryError):
            raise NoRepository(repo_path.name) from None

    def __enter__(self) -> "RefLock":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._descriptor)

    def try_acquire(self) -> bool:
        """Acquire the lock, or return False if another process has it."""
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Let the git processes that are started in the block, which has acquired the lock, hold it too."""
        token = _held.set({**_held.get({}), self.repo_path: self._descriptor})
        try:
            yield
        finally:
            _held.reset(token)


@contextmanager
def ref_lock(repo_path: Path, *refs: str) -> Iterator[None]:
    """Hold the lock for the length of a block that moves these refs, waiting for it in this thread unless it is held
    already. Lock files of git that were left behind are removed first.

    Raises TimedOut after TIMEOUT seconds.
    """
    if is_held(repo_path):
        remove_stale_locks(repo_path, refs)
        yield
        return
    with RefLock(repo_path) as lock:
        pauses = attempt_pauses()
        while not lock.try_acquire():
            time.sleep(next(pauses))
        with lock.hold():
            remove_stale_locks(repo_path, refs)
            yield


def attempt_pauses() -> Iterator[float]:
    """Yield the pauses between attempts to acquire a lock. Raises TimedOut when they have taken TIMEOUT seconds."""
    ends_at = time.monotonic() + TIMEOUT
    for pause in chain(PAUSES, repeat(PAUSES[-1])):
        if time.monotonic() > ends_at:
            raise TimedOut("refs")
        yield pause


def remove_stale_locks(repo_path: Path, refs: Iterable[str] | None = None) -> list[str]:
    """Remove the lock files of these refs (None: of all), of HEAD and of the packed refs; return their names.

    Only for those who hold the lock: a git that was killed leaves its lock files behind, and no other one is running.
    """
    if refs is None:
        refs = [str(file.relative_to(repo_path))[: -len(".lock")] for file in (repo_path / "refs").rglob("*.lock")]
    names = [f"{name}.lock" for name in (*refs, "HEAD", "packed-refs")] + ["packed-refs.new"]
    removed = []
    for name in names:
        with suppress(FileNotFoundError, NotADirectoryError):
            (repo_path / name).unlink()
            removed.append(name)
    return removed
