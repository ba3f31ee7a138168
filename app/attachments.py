"""Files that people attach to issues, on disk. Plain synchronous functions over a path; no database.

They lie in a directory that comes from the project's id, under the hash of what is in them and a harmless name, so no
name can lead outside and the same file sent twice is there once.
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
MAX_NAME_LENGTH = 100  # characters of a file's own name
OWNER_ONLY = 0o700


@dataclass(frozen=True)
class StoredFile:
    """What the file is called; `fresh` says that it was not there before."""

    name: str
    fresh: bool


def directory(root: Path, project_id: int) -> Path:
    return root / f"{project_id % 256:02x}" / str(project_id)


def safe_name(name: str) -> str:
    """What is left of a file's name for addresses and Markdown: its last characters, if it is long."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    plain = "_".join(plain.replace("/", " ").replace("\\", " ").split())
    return re.sub(r"[^A-Za-z0-9_.-]", "", plain)[-MAX_NAME_LENGTH:].strip("._-") or "file"


def store(root: Path, project_id: int, name: str, content: bytes) -> StoredFile:
    """Store it whole or not at all."""
    stored = f"{hashlib.sha256(content).hexdigest()}-{safe_name(name)}"
    path = directory(root, project_id) / stored
    if path.exists():
        return StoredFile(stored, fresh=False)
    path.parent.mkdir(parents=True, exist_ok=True, mode=OWNER_ONLY)
    staging_dir = path.with_name(f".{uuid.uuid4().hex}")
    try:
        with staging_dir.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        staging_dir.rename(path)
    finally:
        staging_dir.unlink(missing_ok=True)
    return StoredFile(stored, fresh=True)


def read(root: Path, project_id: int, stored: str) -> bytes | None:
    """What is in it; None if there is no such file."""
    if STORED_NAME.match(stored):
        with suppress(FileNotFoundError):
            return (directory(root, project_id) / stored).read_bytes()
    return None


def delete(root: Path, project_id: int, stored: str) -> None:
    (directory(root, project_id) / stored).unlink(missing_ok=True)


def delete_all(root: Path, project_id: int) -> None:
    """All files of a project. Doing it again finds it done."""
    with suppress(FileNotFoundError):
        shutil.rmtree(directory(root, project_id))
