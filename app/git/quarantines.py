"""Quarantines: folders in which git keeps the objects of a push until they are checked.

A git that is killed leaves its quarantine behind. Every receive-pack, with all that it starts, holds a shared lock
(`flock`) on a file of the repository for as long as it runs. So a process that gets the exclusive lock knows that no
push is running there, and that every quarantine was left behind.
"""

import fcntl
import os
import shutil
import time
from contextlib import closing, suppress
from pathlib import Path

from app.git.errors import NoRepository
from app.git.locks import attempt_pauses
from app.logs import log

FILE = "polyforge-pushes"
PATTERN = "objects/tmp_objdir-*"


class PushLock:
    """An open file of the lock of one repository. Raises NoRepository if that does not exist."""

    def __init__(self, repo_path: Path) -> None:
        self.repo_path = repo_path
        try:
            self.descriptor = os.open(repo_path / FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except (FileNotFoundError, NotADirectoryError):
            raise NoRepository(repo_path.name) from None

    def close(self) -> None:
        os.close(self.descriptor)

    def hold(self) -> None:
        """Acquire the lock for a push, after removing what earlier ones have left behind; receive-pack must inherit the
        descriptor.

        Raises TimedOut if another process does not finish removing.
        """
        self.sweep()
        pauses = attempt_pauses()
        while not self._try_acquire(fcntl.LOCK_SH):
            time.sleep(next(pauses))

    def sweep(self) -> int:
        """Remove what was left behind, unless a push is running. Returns the number of quarantines."""
        left = list(self.repo_path.glob(PATTERN))
        if not left or not self._try_acquire(fcntl.LOCK_EX):
            return 0
        for folder in left:
            shutil.rmtree(folder, ignore_errors=True)
        return len(left)

    def _try_acquire(self, kind: int) -> bool:
        try:
            fcntl.flock(self.descriptor, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


def sweep_all(root: Path) -> None:
    """Remove the quarantines that were left behind in all repositories."""
    for repo_path in {folder.parents[1] for folder in root.glob(f"*/*.git/{PATTERN}")}:
        with suppress(NoRepository), closing(PushLock(repo_path)) as lock:
            if removed := lock.sweep():
                log.info("quarantines removed", repository=repo_path.name, count=removed)
