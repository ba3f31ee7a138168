"""A fingerprint of all refs of a repository that costs no reading of objects: names, sizes and times of the files."""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

SINGLE_FILES = ("HEAD", "packed-refs")


def fingerprint_refs(repo_path: Path) -> bytes | None:
    """Return a hash that changes whenever a ref does; None if the directory is missing."""
    if not repo_path.is_dir():
        return None
    digest = hashlib.sha256()
    for name in sorted(_list_files(repo_path)):
        try:
            found = os.lstat(os.fsencode(repo_path) + b"/" + name)
        except FileNotFoundError:
            continue
        digest.update(b"%s %d %d %d\0" % (name, found.st_mtime_ns, found.st_size, found.st_ino))
    return digest.digest()


def _list_files(repo_path: Path) -> Iterator[bytes]:
    yield from (name.encode() for name in SINGLE_FILES)
    root = os.fsencode(repo_path)
    for folder, _, names in os.walk(root + b"/refs"):
        yield from (os.path.relpath(folder, root) + b"/" + name for name in names)
