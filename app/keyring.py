"""The keys that seal secrets in the database. They are kept outside of it, so a dump alone opens nothing."""

from collections.abc import Sequence
from pathlib import Path

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from app.disk import durable

SEPARATOR = "\0"  # between the context and the value; PostgreSQL stores no text that contains it
GROUP_AND_OTHERS = 0o077


class KeyringError(RuntimeError):
    """The keys do not open what they should; the message names no secret."""


class UnusableKeys(KeyringError):
    """There are no keys: they are missing, malformed or cannot be read."""


class Keyring:
    """Seals and opens texts with Fernet keys, the newest first.

    The keys are those given, or the lines of the file. The file is read again when it has changed, so that running
    processes take part in a rotation; one that has been read may disappear.
    """

    def __init__(self, file: Path, given: Sequence[str] = ()) -> None:
        self.file = file
        self.given = bool(given)
        self._stamp: tuple[int, int, int] | None = None
        self._fernets = _parse_keys(given, "POLYFORGE_SECRETS_KEYS") if given else []

    def seal(self, value: str, context: str) -> str:
        """Encrypt a text with the newest key. It can be opened in the same context only."""
        return self._load()[0].encrypt(f"{context}{SEPARATOR}{value}".encode()).decode()

    def open(self, sealed: str, context: str) -> str:
        """Decrypt a text. Raises KeyringError if no key fits, or if it was sealed in another context."""
        try:
            text = MultiFernet(self._load()).decrypt(sealed).decode()
        except InvalidToken:
            raise KeyringError(f"No key opens the secret of {context}.") from None
        found, _, value = text.partition(SEPARATOR)
        if found != context:
            raise KeyringError(f"The secret of {context} was sealed for something else.")
        return value

    def is_current(self, sealed: str) -> bool:
        """Whether the newest key sealed this text."""
        try:
            self._load()[0].decrypt(sealed)
        except InvalidToken:
            return False
        return True

    def exists(self) -> bool:
        """Whether there are keys. Raises UnusableKeys if that cannot be found out."""
        try:
            return self.given or bool(self.file.stat())
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError as error:
            raise self._describe(error) from None

    def is_exposed(self) -> bool:
        """Whether others than its owner may read the file."""
        return not self.given and bool(self.file.stat().st_mode & GROUP_AND_OTHERS)

    def create(self) -> None:
        """Write a file with a fresh key, unless there is one already. Raises OSError."""
        durable.make_folders(self.file.parent, mode=0o777)
        _write(self.file, [Fernet.generate_key().decode()], replace=False)

    def add_key(self) -> None:
        """Put a fresh key before those in the file. It seals from now on, the others still open."""
        _write(self.file, [Fernet.generate_key().decode(), *self._read_lines()], replace=True)

    def drop_keys(self, kept: int) -> None:
        """Remove all but the newest keys from the file."""
        _write(self.file, self._read_lines()[:kept], replace=True)

    def count_keys(self) -> int:
        return len(self._load())

    def _describe(self, error: OSError) -> UnusableKeys:
        return UnusableKeys(
            f"{self.file} cannot be read: {error.strerror}. It holds the keys that open the secrets in the database; "
            "`polyforge migrate` creates it for an empty database."
        )

    def _read_lines(self) -> list[str]:
        return self.file.read_bytes().decode(errors="replace").split()

    def _load(self) -> list[Fernet]:
        """Return the keys, read again if the file has changed. Raises KeyringError."""
        if self.given:
            return self._fernets
        try:
            status = self.file.stat()
            stamp = (status.st_ino, status.st_mtime_ns, status.st_size)
            if stamp != self._stamp:
                self._fernets, self._stamp = _parse_keys(self._read_lines(), str(self.file)), stamp
        except OSError as error:
            if not self._fernets:
                raise self._describe(error) from None
        return self._fernets


def _parse_keys(keys: Sequence[str], source: str) -> list[Fernet]:
    try:
        parsed = [Fernet(key) for key in keys]
    except ValueError:
        parsed = []
    if not parsed:
        raise UnusableKeys(f"{source} must hold keys of 32 bytes in URL-safe base64.")
    return parsed


def _write(file: Path, keys: Sequence[str], *, replace: bool) -> None:
    durable.write_file(file, "".join(f"{key}\n" for key in keys).encode(), replace=replace)
