"""Files attached to issues, on disk.

A file is stored in a directory derived from the project id, under the hash of its content and a sanitized name. So no
name can lead outside the directory, and a file that is uploaded twice is stored once.
"""

import hashlib
import os
import re
import shutil
import unicodedata
import uuid
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

STORED_NAME = re.compile(r"[0-9a-f]{64}-[A-Za-z0-9_.-]{1,100}\Z")
MAX_NAME_LENGTH = 100  # characters of the sanitized name
OWNER_ONLY = 0o700


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
    """Store a file atomically."""
    stored = f"{hashlib.sha256(content).hexdigest()}-{safe_name(name)}"
    path = directory(root, project_id) / stored
    if path.exists():
        return StoredFile(stored, fresh=False)
    path.parent.mkdir(parents=True, exist_ok=True, mode=OWNER_ONLY)
    staging_file = path.with_name(f".{uuid.uuid4().hex}")
    try:
        with staging_file.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        staging_file.rename(path)
    finally:
        staging_file.unlink(missing_ok=True)
    return StoredFile(stored, fresh=True)


def read(root: Path, project_id: int, stored: str) -> bytes | None:
    """Read a stored file; None if it does not exist."""
    if STORED_NAME.match(stored):
        with suppress(FileNotFoundError):
            return (directory(root, project_id) / stored).read_bytes()
    return None


def delete(root: Path, project_id: int, stored: str) -> None:
    (directory(root, project_id) / stored).unlink(missing_ok=True)


def delete_all(root: Path, project_id: int) -> None:
    """Delete all files of a project. Idempotent."""
    with suppress(FileNotFoundError):
        shutil.rmtree(directory(root, project_id))
