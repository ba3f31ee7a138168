"""Writing to disk in such a way that a power cut takes nothing back.

A file is on disk after its own content and the folders that lead to its name have been synced (fsync(2)).
"""

import ctypes
import os
import tempfile
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

MANY = 64  # paths, from which on the whole file system is synced at once
OWNER_ONLY = 0o700
PRIVATE_FILE = 0o600
THREADS = 8  # that sync files, which is waiting
_threads = ThreadPoolExecutor(THREADS, "sync")
_libc = ctypes.CDLL(None, use_errno=True)
_enabled: dict[object, bool] = {}


@contextmanager
def syncing(*, enabled: bool) -> Iterator[None]:
    """Wait for the disk during the block, or do not. Of several such blocks the one that was entered last counts."""
    block = object()
    _enabled[block] = enabled
    try:
        yield
    finally:
        del _enabled[block]


def is_syncing() -> bool:
    return next(reversed(_enabled.values()), True)


def sync(paths: Iterable[Path]) -> None:
    """Wait until these files and folders are on disk; those that do not exist any more are left out.

    A folder is the names in it, not the content of its files. Raises OSError if the disk fails.
    """
    paths = list(dict.fromkeys(paths))
    if not is_syncing():
        return
    if len(paths) > MANY:
        _sync_file_system(paths[0])
        return
    # All at once: the file system then writes its journal once for many of them.
    for _ in _threads.map(_sync_one, paths) if len(paths) > 1 else map(_sync_one, paths):
        pass


def sync_tree(folder: Path) -> None:
    """Wait until everything in a folder is on disk. Files with several links are left out: they were synced where they
    were linked first.
    """
    if not is_syncing():
        return
    paths = []
    for parent, _, names in os.walk(folder):
        files = (Path(parent, name) for name in names)
        paths += [*(file for file in files if file.lstat().st_nlink == 1), Path(parent)]
    sync(paths)


def make_folders(folder: Path, mode: int = OWNER_ONLY) -> None:
    """Create a folder with its parents, unless they exist. `mode` is that of the folder alone, as in `Path.mkdir`."""
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    folder.mkdir(mode=mode, parents=True, exist_ok=True)
    sync(each.parent for each in missing)


def write_file(path: Path, content: bytes, *, replace: bool = True) -> None:
    """Write a file as a whole, readable by its owner only, and wait until it is on disk under its name.

    A file that is replaced keeps its owner; without `replace` one that is there already stays as it is.
    """
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name[:20]}-", dir=path.parent)  # PRIVATE_FILE
    staged = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            if is_syncing():
                os.fsync(file.fileno())
        if replace:
            _keep_owner(path, staged)
            staged.replace(path)
        else:
            with suppress(FileExistsError):  # another process was first
                os.link(staged, path)
    finally:
        staged.unlink(missing_ok=True)
    sync([path.parent])


def _keep_owner(path: Path, staged: Path) -> None:
    with suppress(FileNotFoundError):
        owner = path.stat()
        if (owner.st_uid, owner.st_gid) != (os.geteuid(), os.getegid()):
            os.chown(staged, owner.st_uid, owner.st_gid)  # written by root, read by the forge's user


def _sync_one(path: Path) -> None:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_file_system(path: Path) -> None:
    """Sync the file system that this path is on, with everything that others have written there."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if _libc.syncfs(descriptor):
            error = ctypes.get_errno()
            raise OSError(error, os.strerror(error), str(path))
    finally:
        os.close(descriptor)
