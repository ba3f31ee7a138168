"""The files that settings name: the user that the forge runs as has to be able to read them."""

import os
import pwd
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from app.config import SettingError, Settings

# Parameters of URLs that name a file, as asyncpg and redis-py know them.
DATABASE_FILES = ("sslrootcert", "sslcert", "sslkey", "sslcrl", "passfile")
QUEUE_FILES = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")


def require_readable_files(settings: Settings) -> None:
    """Raise SettingError if this process may not read a file that a setting names, or if there is no such file.

    The key file may be missing, since `migrate` and the first start create it.
    """
    for setting, path in _list_files(settings):
        try:
            _open(path)
        except FileNotFoundError:
            if path != settings.key_file:
                raise SettingError(f"{setting}: there is no file {path}.") from None
        except PermissionError as error:
            raise SettingError(
                f"{setting}: the forge runs as the user {_find_user_name()}, who may not read {path} "
                f"({error.strerror}). Let this user own the file, and pass through the folders above it."
            ) from None
        except OSError as error:
            raise SettingError(f"{setting}: cannot read {path}: {error.strerror}.") from None


def _list_files(settings: Settings) -> Iterator[tuple[str, Path]]:
    """Yield each file with the name of its setting. The file of the administrator's token is read before."""
    if not settings.given_keys:
        yield "POLYFORGE_SECRETS_KEY_FILE", settings.key_file
    for setting, url, names in (
        ("POLYFORGE_DATABASE_URL", settings.database_url, DATABASE_FILES),
        ("POLYFORGE_REDIS_URL", settings.redis_url, QUEUE_FILES),
    ):
        parameters = parse_qs(urlsplit(url or "").query)
        for name in names:
            if name in parameters:
                yield f"{setting} ({name})", Path(parameters[name][-1])


def _open(path: Path) -> None:
    """Open a file and close it, without waiting for a writer if it is a pipe. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise IsADirectoryError(None, "it is a folder")
    finally:
        os.close(descriptor)


def _find_user_name() -> str:
    with suppress(KeyError):
        return pwd.getpwuid(os.geteuid()).pw_name
    return f"#{os.geteuid()}"
