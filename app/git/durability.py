"""What of a repository has to be on disk before a change of it is acknowledged.

Git and libgit2 sync the content of objects and refs before they give them their names. The names themselves, which are
in folders, they leave to the operating system; the forge syncs those before the change gets into the log.
"""

import os
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import pygit2

from app.config import Settings
from app.disk import durable

# In a repository: all its folders of objects that have not changed since this file was touched are on disk.
MARK = "polyforge-synced"
SLACK = 2.0  # seconds by which the clock of a file system may be behind
NOTHING = {"core.fsync": "none"}  # for repositories that are synced as a whole
# Loose objects are written out one by one, and the disk's cache is flushed once for all that one process writes.
BATCH, EACH, OFF = "batch", "each", "off"
CONFIG = {
    BATCH: {"core.fsync": "all", "core.fsyncMethod": "batch"},
    EACH: {"core.fsync": "all", "core.fsyncMethod": "fsync"},
    OFF: NOTHING,
}
# All that `all` means but refs, which the hook syncs between writing them and giving them their names.
ALL_BUT_REFS = {"core.fsync": "objects,derived-metadata,index"}
HOOKS = Path(__file__).with_name("hooks") / "refs"


@contextmanager
def syncing_as_set(settings: Settings) -> Iterator[None]:
    """Sync what this program writes as the settings say."""
    try:
        with durable.syncing(enabled=settings.fsync != OFF):
            _configure_libgit2()
            yield
    finally:
        _configure_libgit2()


def config_for_many_refs() -> Mapping[str, str]:
    """Return the configuration for a transaction of many refs, which are then synced together, not one by one."""
    return {**ALL_BUT_REFS, "core.hooksPath": str(HOOKS)} if durable.is_syncing() else {}


def sync_changes(repo_path: Path, refs: Iterable[str]) -> None:
    """Wait until the names of these refs and of all objects are on disk. Raises OSError if the disk fails."""
    if not durable.is_syncing():
        return
    begun, mark = time.time(), repo_path / MARK
    folders = [folder for ref in refs for folder in _list_parents(repo_path, ref)]
    durable.sync([*_list_changed(repo_path / "objects", _read_mark(mark, begun)), *folders, repo_path])
    with suppress(FileNotFoundError):  # the repository was removed
        mark.touch(mode=durable.PRIVATE_FILE)
        os.utime(mark, (begun - SLACK, begun - SLACK))


def sync_new(staging: Path) -> None:
    """Wait until everything in a new repository is on disk, all but its own name."""
    durable.sync_tree(staging)


def sync_place(repo_path: Path) -> None:
    """Wait until the name of a repository is on disk."""
    durable.sync([repo_path.parent, repo_path.parent.parent])


def _configure_libgit2() -> None:
    pygit2.option(pygit2.enums.Option.ENABLE_FSYNC_GITDIR, durable.is_syncing())


def _list_parents(repo_path: Path, ref: str) -> Iterator[Path]:
    """List the folders that lead to a ref, which may have been removed with it."""
    parts = ref.split("/")
    for depth in range(1, len(parts)):
        yield repo_path.joinpath(*parts[:depth])


def _read_mark(mark: Path, now: float) -> float:
    """Return the time of the mark; one in the future says nothing, since the clock has been set back."""
    with suppress(FileNotFoundError):
        if (found := mark.stat().st_mtime) <= now:
            return found
    return 0.0


def _list_changed(objects: Path, since: float) -> Iterator[Path]:
    """List the folders of objects in which names were added or removed since then."""
    yield objects
    with suppress(FileNotFoundError), os.scandir(objects) as entries:  # the repository may be removed at any time
        for entry in entries:
            # So may an empty folder, or a temporary one of git.
            with suppress(FileNotFoundError):
                if entry.is_dir(follow_symlinks=False) and entry.stat(follow_symlinks=False).st_mtime >= since:
                    yield Path(entry.path)


_configure_libgit2()
