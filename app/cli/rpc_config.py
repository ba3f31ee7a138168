"""Servers that `polyforge rpc` calls: addresses and keys from the config files of older clients, options and variables.

Two formats are read: the JSON of `kallithea-api` and `rhodecode-api`, and the INI file of RhodeCode Tools.
"""

import configparser
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from app.cli.client import RequestRefused
from app.cli.secret_options import read_option
from app.config import SettingError
from app.ops.supervise import load_settings

INSTANCES_FILE = Path("~/.rhoderc")  # with several servers, each with a name
DEFAULT_FILES = (INSTANCES_FILE, Path("~/.config/kallithea"), Path("~/.rhodecode"))
SECTION = "instance:"  # followed by a name: a section of INSTANCES_FILE


@dataclass(frozen=True)
class Server:
    url: str
    key: str = field(repr=False)


@dataclass(frozen=True)
class Entry:
    """What a config file says of a server. It may lack the address or the key."""

    url: str | None = None
    key: str | None = field(default=None, repr=False)


def choose_server(
    config: Path | None, instance: str | None, url: str | None, token_file: Path | None, data: Path | None
) -> Server:
    """Choose address and key: an option before the config file, and that before a variable. Raises SettingError.

    So the key of a file goes to the address in that file, even where variables name another forge. If the address
    comes from a variable or `--data`, only a file that was asked for is read.
    """
    variable = os.environ.get("POLYFORGE_URL")
    file = find_file(config, instance, or_default=url is None and not variable and data is None)
    entry = read_file(file, instance) if file is not None else Entry()
    address = url or entry.url or variable or load_settings(data).url
    key = _read_key(token_file) if token_file is not None else entry.key or _read_key(None)
    return Server(_require_url(address), _require_key(key))


def _read_key(token_file: Path | None) -> str | None:
    """Read a key from a file, or else from the file or the value that a variable names. Raises SettingError."""
    variable = os.environ.get("POLYFORGE_TOKEN_FILE")
    try:
        return read_option("POLYFORGE_TOKEN", token_file or (Path(variable) if variable else None))
    except RequestRefused as unreadable:
        raise SettingError(f"{unreadable}.") from None


def find_file(config: Path | None, instance: str | None, *, or_default: bool) -> Path | None:
    """Return the config file to read. With `or_default`, that is the first one that exists if none was asked for."""
    if config is not None or instance is not None:
        return config or INSTANCES_FILE.expanduser()
    found = (path.expanduser() for path in DEFAULT_FILES if or_default)
    return next((path for path in found if path.is_file()), None)


def read_file(path: Path, instance: str | None) -> Entry:
    """Read a server from a config file of either format. Raises SettingError, which shows no value of the file."""
    try:
        text = path.read_text("utf-8-sig")
    except OSError as error:
        raise SettingError(f"Cannot read {path}: {error.strerror}.") from None
    except ValueError:
        raise SettingError(f"{path} is not text in UTF-8.") from None
    if not text.lstrip().startswith("{"):
        return _read_ini(path, text, instance)
    if instance is not None:
        raise SettingError(f"{path} has one server without a name; leave out --instance-name.")
    return _read_json(path, text)


def _read_json(path: Path, text: str) -> Entry:
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        raise SettingError(f"{path} is not valid JSON.") from None
    return _build_entry(path, values, "apihost", "apikey")


def _read_ini(path: Path, text: str, instance: str | None) -> Entry:
    parser = configparser.RawConfigParser()
    try:
        parser.read_string(text)
    except configparser.Error:
        # The message of the parser quotes the line, which may contain the key.
        raise SettingError(f"{path} is neither JSON nor an INI file.") from None
    names = [section.removeprefix(SECTION) for section in parser.sections() if section.startswith(SECTION)]
    if instance is None and len(names) == 1:
        [instance] = names
    if instance not in names:
        raise SettingError(_describe_choice(path, names, instance))
    return _build_entry(path, parser[SECTION + str(instance)], "api_host", "api_key")


def _describe_choice(path: Path, names: list[str], instance: str | None) -> str:
    if not names:
        return f"{path} has no server, which is a section [{SECTION}NAME]."
    fault = f"no server {instance}" if instance else "several servers"
    return f"{path} has {fault}. Choose one with --instance-name: {', '.join(names)}."


def _build_entry(path: Path, values: Mapping[str, Any], url_name: str, key_name: str) -> Entry:
    found = {name: values.get(name) for name in (url_name, key_name)}
    for name, value in found.items():
        if value is not None and not isinstance(value, str):
            raise SettingError(f"{name} in {path} must be a string.")
    url, key = (value.strip() if value else None for value in found.values())
    return Entry(url or None, key or None)


def _require_url(url: str) -> str:
    """Return the address of a server without a slash at its end. Raises SettingError, which does not repeat it."""
    try:
        parts = urlsplit(url)
        usable = bool(parts.scheme in ("http", "https") and parts.hostname and parts.port != 0)
    except ValueError:
        usable = False
    if not usable:
        raise SettingError("The address of a server must begin with http:// or https:// and the name of a host.")
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise SettingError("The address of a server must have no user, no password, no `?` and no `#`.")
    return url.rstrip("/")


def _require_key(key: str | None) -> str:
    """Return a key that can be sent. Raises SettingError, which does not repeat it."""
    if not key:
        raise SettingError("There is no key. Set POLYFORGE_TOKEN, or name a file with --token-file or --config.")
    if not (key.isascii() and key.isprintable()) or " " in key:
        raise SettingError("The key has characters that no key has: only visible ASCII is possible.")
    return key


def split_dialect(url: str, dialects: frozenset[str]) -> tuple[str, str | None]:
    """Split an address that ends in the name of a dialect into the forge and this name; else the name is None."""
    parts = urlsplit(url)
    before, _, last = parts.path.rpartition("/")
    return (parts._replace(path=before).geturl(), last) if last in dialects else (url, None)
