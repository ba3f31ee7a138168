"""Conversion between the bytes that git stores and text.

Decoded text is fit for JSON and for the database: it contains no NUL and no lone surrogate. A byte that is not UTF-8
becomes `\\xff`, so that different names stay different. Text to be encoded may hold such bytes as surrogates, as the
file functions of Python return them.
"""

import re

# The encoding of a commit is chosen by users, and some codecs of Python are slow or not text encodings at all.
ENCODING = re.compile(
    r"us-ascii|latin-?1|iso-?8859-?\d{1,2}|(cp|windows-?)125\d|koi8-[ru]|euc-?(jp|kr)|gb(k|2312|18030)|big5|"
    r"shift_?jis|iso-2022-jp",
    re.IGNORECASE,
)


def decode(raw: bytes, encoding: str | None = None) -> str:
    """Decode bytes of git, which are UTF-8 unless a known encoding is given; never fails."""
    if encoding and ENCODING.fullmatch(encoding):
        try:
            return raw.decode(encoding).replace("\0", "\ufffd")
        except (LookupError, UnicodeDecodeError):
            pass
    return raw.decode("utf-8", "backslashreplace").replace("\0", "\ufffd")


def encode_name(name: str) -> bytes:
    """Encode a name for git. Raises UnicodeEncodeError, a ValueError, for a lone surrogate that stands for no byte."""
    return name.encode("utf-8", "surrogateescape")


def strip_control(text: str) -> str:
    """Remove control characters and the angle brackets, which have a meaning in commit headers."""
    return "".join(c for c in text if c.isprintable() and c not in "<>").strip()


def single_line(text: str) -> str:
    """Replace line ends and other control characters with spaces."""
    return "".join(c if c.isprintable() else " " for c in text)
