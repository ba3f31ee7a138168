"""Files attached to issues, on disk.

A file is stored in a directory derived from the project id, under the hash of its content and a sanitized name. So no
name can lead outside the directory, and a file that is uploaded twice is stored once.
"""

import hashlib
import re
import shutil
import time
import unicodedata
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from app.disk import durable

STORED_NAME = re.compile(r"[0-9a-f]{64}-[A-Za-z0-9_.-]{1,100}\Z")
MAX_NAME_LENGTH = 100  # characters of the sanitized name


@dataclass(frozen=True)
class StoredFile:
    """The name of a stored file; `fresh` says that it did not exist before."""

    name: str
    fresh: bool


def directory(root: Path, project_id: int) -> Path:
    return root / f"{project_id % 256:02x}" / str(project_id)


def safe_name(name: str) -> str:
    """Sanitize a file name for URLs and Markdown; a long one is cut at its beginning."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    plain = "_".join(plain.replace("/", " ").replace("\\", " ").split())
    return re.sub(r"[^A-Za-z0-9_.-]", "", plain)[-MAX_NAME_LENGTH:].strip("._-") or "file"


def store(root: Path, project_id: int, name: str, content: bytes) -> StoredFile:
    """Store a file atomically, and wait until it is on disk."""
    stored = f"{hashlib.sha256(content).hexdigest()}-{safe_name(name)}"
    path = directory(root, project_id) / stored
    fresh = not path.exists()
    if fresh:
        durable.make_folders(path.parent)
        durable.write_file(path, content)
    else:
        # The process that has stored it may have been killed before its name was on disk.
        durable.sync([path.parent, path.parent.parent, root])
    return StoredFile(stored, fresh=fresh)


def read(root: Path, project_id: int, stored: str) -> bytes | None:
    """Read a stored file; None if it does not exist."""
    if STORED_NAME.match(stored):
        with suppress(FileNotFoundError):
            return (directory(root, project_id) / stored).read_bytes()
    return None


def delete(root: Path, project_id: int, stored: str) -> None:
    (directory(root, project_id) / stored).unlink(missing_ok=True)


def remove_unfinished(root: Path, age: float) -> int:
    """Remove the files that killed processes were still writing `age` seconds ago; return their number."""
    removed = 0
    for file in root.glob("*/*/.*"):
        with suppress(FileNotFoundError):
            if file.stat().st_mtime < time.time() - age:
                file.unlink()
                removed += 1
    return removed


def delete_all(root: Path, project_id: int) -> None:
    """Delete all files of a project. Idempotent."""
    with suppress(FileNotFoundError):
        shutil.rmtree(directory(root, project_id))
