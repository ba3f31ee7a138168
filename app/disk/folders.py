"""The folders below the data directory: made at start, and written to when somebody asks whether they can be used."""

import os
import uuid
from contextlib import suppress
from pathlib import Path

from app.config import SettingError, Settings
from app.disk import durable

PROBE_PREFIX = ".probe-"
PROBE_BYTES = 4096  # more than a file system keeps beside the name of a file


def list_folders(settings: Settings) -> dict[str, Path]:
    """Return the folders that hold what must not be lost, by their names in health checks."""
    return {"repositories": settings.repositories, "attachments": settings.attachments}


def make_folders(settings: Settings) -> None:
    """Make all folders that are missing. Raises SettingError if that is not possible."""
    for folder in list_folders(settings).values():
        try:
            durable.make_folders(folder)
        except OSError as error:
            raise SettingError(f"POLYFORGE_DATA: cannot make {folder}: {error.strerror}.") from None


def probe_folder(folder: Path) -> str | None:
    """Write a file into the folder and remove it; return what is wrong, or None."""
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
