"""The folders in the data directory: they are created at start, and health checks write to them."""

import os
import uuid
from contextlib import suppress
from pathlib import Path

from app.config import SettingError, Settings
from app.disk import durable

PROBE_PREFIX = ".probe-"
PROBE_BYTES = 4096  # too many for a file system to store them in the inode, where no space is needed


def list_folders(settings: Settings) -> dict[str, Path]:
    """Return the folders that contain data of users, by their names in health checks."""
    return {"repositories": settings.repositories, "attachments": settings.attachments}


def make_folders(settings: Settings) -> None:
    """Create the folders that are missing. Raises SettingError if that is not possible."""
    for folder in list_folders(settings).values():
        try:
            durable.make_folders(folder)
        except OSError as error:
            raise SettingError(f"POLYFORGE_DATA: cannot create {folder}: {error.strerror}.") from None


def probe_folder(folder: Path) -> str | None:
    """Write a file into the folder and remove it. Returns what is wrong, or None."""
    path = folder / f"{PROBE_PREFIX}{uuid.uuid4().hex}"
    try:
        with open(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
            file.write(bytes(PROBE_BYTES))
    except OSError as error:
        return f"{folder} is not writable ({error.strerror})"
    finally:
        with suppress(OSError):
            path.unlink()
    return None
