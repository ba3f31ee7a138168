"""What is taken for an address in the web, wherever somebody may write one, and for one of a repository elsewhere."""

import re

URL = re.compile(
    r"(https?|ftp|git)://([^\s/?#@]+@)?"
    r"(\d{1,3}(\.\d{1,3}){3}|\[[0-9a-f:.]+\]|localhost|([a-z0-9_]([a-z0-9\-_]*[a-z0-9_])?\.)+[a-z]{2,})"
    r"(:\d{2,5})?([/?#]\S*)?\Z",
    re.IGNORECASE,
)
# What comes after the path would be for pages, and a place to hide a secret in.
REPOSITORY_URL = re.compile(r"https://(?:(?P<login>[^/@]+)@)?(?P<place>[^/@]+(/[^?#]*)?)\Z", re.IGNORECASE)
MAX_URL_LENGTH = 2048


def parse_repository_url(url: str) -> tuple[str, str] | None:
    """The address of a repository elsewhere without who logs in there, and `user:password`, as they are written in
    addresses, or nothing. None if git is not to be sent there (docs/decisions/0010-outgoing-connections.md).
    """
    found = REPOSITORY_URL.match(url) if URL.match(url) else None
    if found is None or len(url) > MAX_URL_LENGTH or not (url.isascii() and url.isprintable()):
        return None
    return f"https://{found['place']}", found["login"] or ""
