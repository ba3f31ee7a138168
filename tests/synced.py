"""What a power cut would leave of a folder: what was there at the start, and what has been synced since."""

import os
import threading
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from app.disk import durable

# Git and libgit2 sync the content of these themselves, which tests/git/test_durability.py checks.
SYNCED_BY_GIT = ("objects", "refs", "HEAD")


@dataclass(frozen=True)
class Name:
    """A name in a folder. `content` is that of a file that is synced by git; of others it is what has been synced."""

    inode: int
    is_folder: bool
    content: bytes | None = None


@dataclass
class SyncedFolder:
    """The names in each folder, by the folder's inode, and the content of each file, by its inode, that are on disk."""

    root: Path
    names: dict[int, dict[str, Name]] = field(default_factory=dict)
    contents: dict[int, bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.take_all()

    def take_all(self) -> None:
        for folder, _, files in os.walk(self.root):
            for file in files:
                self.take(Path(folder, file))
            self.take(Path(folder))

    def take(self, path: Path) -> None:
        """Note that a file or folder is on disk as it is now."""
        if path.is_dir():
            self.names[path.stat().st_ino] = {entry.name: self._read(entry) for entry in os.scandir(path)}
        else:
            self.contents[path.stat().st_ino] = path.read_bytes()

    def _read(self, entry: "os.DirEntry[str]") -> Name:
        if entry.is_dir():
            return Name(entry.inode(), is_folder=True)
        if set(SYNCED_BY_GIT) & set(Path(entry.path).parts):
            return Name(entry.inode(), is_folder=False, content=Path(entry.path).read_bytes())
        return Name(entry.inode(), is_folder=False)

    def restore(self, target: Path, inode: int | None = None) -> Path:
        """Write what is on disk to a new folder."""
        target.mkdir()
        for name, found in self.names.get(inode or self.root.stat().st_ino, {}).items():
            if found.is_folder:
                self.restore(target / name, found.inode)
            else:
                content = self.contents.get(found.inode, b"") if found.content is None else found.content
                (target / name).write_bytes(content)
        return target


def watch_disk(root: Path, monkeypatch: pytest.MonkeyPatch) -> SyncedFolder:
    """Note from now on what this process syncs below a folder."""
    synced, fsync, sync_file_system = SyncedFolder(root.resolve()), os.fsync, durable._sync_file_system
    taking = threading.Lock()  # files are synced by several threads

    def watched_fsync(descriptor: int) -> None:
        fsync(descriptor)
        path = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
        if path.is_relative_to(synced.root) and path.exists():
            with taking:
                synced.take(path)

    def watched_sync_file_system(path: Path) -> None:
        sync_file_system(path)
        with taking:
            synced.take_all()

    monkeypatch.setattr(os, "fsync", watched_fsync)
    monkeypatch.setattr(durable, "_sync_file_system", watched_sync_file_system)
    return synced
