"""How fields that are URLs are read: which texts are URLs, and which would publish a login.

A URL whose place is public, such as a project's home page, has no user part. One that carries a login goes to the
secrets: the source of a mirror, and the addresses that events are sent to.
"""

import re
from contextlib import suppress
from ipaddress import IPv6Address
from itertools import islice

from app.errors import Invalid, Subject

URL = re.compile(
    r"(https?|ftp|git)://([^\s/?#@]+@)?"
    r"(\d{1,3}(\.\d{1,3}){3}|\[[0-9a-f:.]+\]|localhost|([a-z0-9_]([a-z0-9\-_]*[a-z0-9_])?\.)+[a-z]{2,})"
    r"(:\d{2,5})?([/?#]\S*)?\Z",
    re.IGNORECASE,
)
# Query and fragment mean nothing to git and could hide a secret.
REPOSITORY_URL = re.compile(r"https://(?:(?P<login>[^/@]+)@)?(?P<place>[^/@]+(/[^?#]*)?)\Z", re.IGNORECASE)
MAX_URL_LENGTH = 2048
MAX_TEXT_LENGTH = 1 << 14  # characters of a text with URLs; looking through a long one takes a while

# RFC 3986: a URL as it is sent, with everything else percent-encoded.
CHARACTERS = r"(?:[A-Za-z0-9\-._~:@!$&'()*+,;=/?]|%[0-9A-Fa-f]{2})"
ENDPOINT = re.compile(
    rf"(?P<scheme>https?)://(?:(?P<login>[^\s/?#]*)@)?(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9\-._]+)"
    rf"(?::(?P<port>[0-9]{{1,5}}))?(?P<target>(?:[/?]{CHARACTERS}*)?)(?P<fragment>#{CHARACTERS}*)?\Z",
    re.IGNORECASE,
)
HOST_IN_URL = re.compile(r"[a-z]+://(?:[^/?#]*@)?(?P<host>\[[^\]]*\]|[^/?#:]*)", re.IGNORECASE)  # of any quality
LABEL = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9\-_]{0,61}[A-Za-z0-9_])?\Z")
MAX_HOST_LENGTH = 253
MAX_PORT = 65535

# The beginning of a URL inside a text, however wrong the rest is; clients forgive backslashes and missing slashes.
BEGINNING = re.compile(r"(?P<scheme>[a-z][a-z0-9+.\-]{0,20}):[/\\]+|(?<![^\s\"'(<=,;])//", re.IGNORECASE)
MAX_BEGINNINGS = 50  # in one word; each costs a look at the rest of it
HOST_AND_PORT = re.compile(r"(?:\[[^\]]*\]|[^:\[\]]*)(?::[0-9]{0,5})?\Z")
SCHEMELESS_LOGIN = re.compile(r"[^\s/@:]+:(?!/)[^\s@]+@")


def parse_repository_url(url: str) -> tuple[str, str] | None:
    """The URL without its login, and the login as `user:password` in URL encoding or an empty text. None if git must
    not connect there (docs/decisions/0010-outgoing-connections.md).
    """
    found = REPOSITORY_URL.match(url) if URL.match(url) else None
    if found is None or len(url) > MAX_URL_LENGTH or not (url.isascii() and url.isprintable()):
        return None
    return f"https://{found['place']}", found["login"] or ""


def publishes_login(text: str) -> bool:
    """Whether a URL in the text has a user part, or is so malformed that it may have one.

    The user of an SSH URL is no secret, its password is.
    """
    return any(_word_has_login(word) for word in text.split())


def _word_has_login(word: str) -> bool:
    beginnings = list(islice(BEGINNING.finditer(word), MAX_BEGINNINGS + 1))
    return len(beginnings) > MAX_BEGINNINGS or any(_has_login(word, beginning) for beginning in beginnings)


def _has_login(word: str, beginning: re.Match[str]) -> bool:
    rest = word[beginning.end() :]
    authority = re.split(r"[/\\?#]", rest, maxsplit=1)[0]
    login, at, _ = authority.rpartition("@")
    if at:
        return ":" in login or not (beginning["scheme"] or "").lower().endswith("ssh")
    # What should be the port may be the beginning of a password with a slash in it.
    return "@" in rest and HOST_AND_PORT.match(authority) is None


def require_no_login(text: str | None, field: str) -> None:
    """Refuse a text for a public field if a URL in it has a user part."""
    if text and len(text) > MAX_TEXT_LENGTH:
        raise Invalid(Subject.TOO_LONG, field, limit=MAX_TEXT_LENGTH)
    if text and publishes_login(text):
        raise Invalid(Subject.URL_LOGIN, field)


def require_public_place(text: str | None, field: str) -> None:
    """Refuse a user part, query or fragment in the URL of a service or repository that everybody may see."""
    require_no_login(text, field)
    if text and (SCHEMELESS_LOGIN.match(text) or "?" in text or "#" in text):
        raise Invalid(Subject.URL_LOGIN, field)


def parse_endpoint(url: str, *, login: bool = False) -> str:
    """The host, in lower case, of a URL that events are sent to. Raises Invalid. It must be written as it is sent,
    since it is asked for as it is given.

    With `login` it may have a user part. Whether its host may be reached is checked when a connection is made.
    """
    found = ENDPOINT.match(url) if len(url) <= MAX_URL_LENGTH else None
    if found is None or not _is_host(found["host"]) or not 1 <= int(found["port"] or 80) <= MAX_PORT:
        raise Invalid(Subject.ENDPOINT, "url")
    if not login and (found["login"] is not None or found["fragment"] is not None):
        raise Invalid(Subject.ENDPOINT_LOGIN, "url")
    return found["host"].lower()


def _is_host(host: str) -> bool:
    if host.startswith("["):
        with suppress(ValueError):
            return bool(IPv6Address(host[1:-1]).packed)
        return False
    return len(host) <= MAX_HOST_LENGTH and all(LABEL.match(label) for label in host.removesuffix(".").split("."))
