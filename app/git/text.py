"""Names and messages: git keeps bytes, everybody else wants text. The one place where one becomes the other.

Text that leaves this package can always stand in JSON and in a database: it holds no NUL and no lone surrogate.
A byte that is not UTF-8 is shown as `\\xff`, so two names that differ are shown differently.
Text that comes in may hold such bytes as surrogates, as Python's own file functions give them.
"""

import re

# A commit may name its encoding, and Python knows codecs that are no encodings, or slow ones.
ENCODING = re.compile(
    r"us-ascii|latin-?1|iso-?8859-?\d{1,2}|(cp|windows-?)125\d|koi8-[ru]|euc-?(jp|kr)|gb(k|2312|18030)|big5|"
    r"shift_?jis|iso-2022-jp",
    re.IGNORECASE,
)


def decode(raw: bytes, encoding: str | None = None) -> str:
    """As people and JSON see it."""
    if encoding and ENCODING.fullmatch(encoding):
        try:
            return raw.decode(encoding).replace("\0", "\ufffd")
        except (LookupError, UnicodeDecodeError):
            pass
    return raw.decode("utf-8", "backslashreplace").replace("\0", "\ufffd")


def encode_name(name: str) -> bytes:
    """As git keeps it; UnicodeEncodeError (a ValueError) if git cannot."""
    return name.encode("utf-8", "surrogateescape")


def strip_control(text: str) -> str:
    """Without the characters that a commit header gives a meaning to."""
    return "".join(c for c in text if c.isprintable() and c not in "<>").strip()


def single_line(text: str) -> str:
    """On one line, without what git or a terminal would give a meaning to; spaces stay as they are."""
    return "".join(c if c.isprintable() else " " for c in text)
