"""What killed processes leave in a repository: quarantines of pushes, and packs and objects that were being written.

Nothing of that has become a part of the repository, and git never removes it.
"""

import fcntl
import os
import shutil
import struct
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from app.git.errors import NoRepository

# The file that git processes lock, any number of them, for as long as they may write to the repository. It is a lock of
# an open file (F_OFD_SETLK), which processes inherit; so it ends with the last of them, however that ends.
WRITERS = "polyforge-writers"
FLOCK = "hhqqi4x"  # struct flock: type, whence, start, length, process
# Below `objects`; only git makes the first ones, while libgit2 writes objects in processes that hold no such lock.
QUARANTINES = ("tmp_objdir-*", "incoming-*")
PATTERNS = ("tmp_*", "incoming-*", "pack/tmp_*", "pack/.tmp-*")


@dataclass(frozen=True)
class Removed:
    """How many files and folders were removed, and their size in bytes."""

    count: int = 0
    size: int = 0

    def __add__(self, other: "Removed") -> "Removed":
        return Removed(self.count + other.count, self.size + other.size)


@contextmanager
def writing(repo_path: Path) -> Iterator[int]:
    """Yield a descriptor for a git process to inherit, by which it is known as one that writes to the repository.

    Raises NoRepository if that does not exist.
    """
    try:
        descriptor = os.open(repo_path / WRITERS, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except (FileNotFoundError, NotADirectoryError):
        raise NoRepository(repo_path.name) from None
    try:
        fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, struct.pack(FLOCK, fcntl.F_RDLCK, os.SEEK_SET, 0, 0, 0))
        yield descriptor
    finally:
        os.close(descriptor)


def has_writers(repo_path: Path) -> bool:
    """Return whether a git process that may write to the repository is running. Asks only, and locks nothing."""
    try:
        descriptor = os.open(repo_path / WRITERS, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        asked = struct.pack(FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
        found = struct.unpack(FLOCK, fcntl.fcntl(descriptor, fcntl.F_OFD_GETLK, asked))
    finally:
        os.close(descriptor)
    return bool(found[0] != fcntl.F_UNLCK)


def remove_quarantines(repo_path: Path) -> Removed:
    """Remove the quarantines of killed pushes, however young, unless a process may still be writing."""
    return remove_leftovers(repo_path, 0, QUARANTINES)


def remove_leftovers(repo_path: Path, age: float, patterns: Sequence[str] = PATTERNS) -> Removed:
    """Remove what has not changed for `age` seconds, unless a process may still be writing it.

    What is old by now cannot belong to a process that starts later; so it is enough to look for processes afterwards.
    """
    stale = [path for path in _list_unfinished(repo_path, patterns) if _last_change(path) <= time.time() - age]
    if not stale or has_writers(repo_path):
        return Removed()
    return sum((_remove(path) for path in stale), Removed())


def list_repositories(root: Path) -> Iterator[Path]:
    yield from root.glob("*/*.git")


def _list_unfinished(repo_path: Path, patterns: Sequence[str]) -> list[Path]:
    return [path for pattern in patterns for path in (repo_path / "objects").glob(pattern)]


def _list_all(path: Path) -> Iterator[Path]:
    """List a file, or a folder with all that is in it."""
    yield path
    for folder, folders, files in os.walk(path):
        yield from (Path(folder, name) for name in (*folders, *files))


def _last_change(path: Path) -> float:
    """Return the time of the last change of a file or of anything in a folder; now, if it changes meanwhile."""
    with suppress(FileNotFoundError):
        return max(each.lstat().st_mtime for each in _list_all(path))
    return time.time()


def _remove(path: Path) -> Removed:
    size = 0
    for each in _list_all(path):
        with suppress(FileNotFoundError):
            size += each.lstat().st_size
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
    return Removed(1, size)
