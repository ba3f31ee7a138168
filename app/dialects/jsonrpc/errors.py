"""Errors of JSON-RPC calls, which are texts: bounded, and without the secrets of the request that they show."""

import re
import reprlib
from typing import Any


class RpcError(Exception):
    """An error in the words of the contract."""


FORBIDDEN = "Access was denied to this resource."
INTERNAL = "Internal server error"
UNAVAILABLE = "The forge cannot answer at the moment; try again."
TOO_LARGE = "Error encoding response"  # for an answer of more bytes than are sent

MAX_ERROR = 5000  # characters; a malformed body is shown up to its first 1000, some of which take six
MAX_TEXT = 255  # characters of a text that an error shows
MAX_ITEMS = 6  # of a list or an object that an error shows
MIN_KEY_LENGTH = 8  # characters of a key that is looked for in errors

# Possible secrets: the value after one of these names, and a text that looks like a key.
SECRET_NAMES = frozenset({"api_key", "auth_token", "password"})
SECRET_VALUE = re.compile(
    r"""((?:api_key|auth_token|password)\\?["']?\s*[:=]\s*)(?:\\?"[^"]*"?|\\?'[^']*'?|[^\s"',}&]+)""",
    re.IGNORECASE,
)
SECRET_TEXT = re.compile(r"pf_[0-9A-Za-z]*|[0-9A-Za-z]{20,}")
TOKEN = re.compile(r"pf_[0-9A-Za-z]{20,}")
MASK = "***"

_shortened = reprlib.Repr()
_shortened.maxlist = _shortened.maxdict = MAX_ITEMS
_shortened.maxstring = _shortened.maxother = MAX_TEXT


def mask(text: str) -> str:
    """Replace what may be a secret by asterisks."""
    return SECRET_TEXT.sub(MASK, SECRET_VALUE.sub(rf'\1"{MASK}"', text))


def clean(text: str, key: Any) -> str:
    """Cut the text of an error to MAX_ERROR characters, and replace tokens and the key of the call by asterisks."""
    text = TOKEN.sub(MASK, _cut(text, MAX_ERROR))
    return text.replace(key, MASK) if isinstance(key, str) and len(key) >= MIN_KEY_LENGTH else text


def echo(value: Any) -> str:
    """Show a value that was sent: of a long one the beginning, and of a list or an object nothing like a secret."""
    return _cut(mask(_shortened.repr(value)) if isinstance(value, list | dict) else str(value), MAX_TEXT)


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[:limit] + "..."
