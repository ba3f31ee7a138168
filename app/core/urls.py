"""Which texts are accepted as URLs, and which as URLs of repositories elsewhere."""

import re

URL = re.compile(
    r"(https?|ftp|git)://([^\s/?#@]+@)?"
    r"(\d{1,3}(\.\d{1,3}){3}|\[[0-9a-f:.]+\]|localhost|([a-z0-9_]([a-z0-9\-_]*[a-z0-9_])?\.)+[a-z]{2,})"
    r"(:\d{2,5})?([/?#]\S*)?\Z",
    re.IGNORECASE,
)
# Query and fragment mean nothing to git and could hide a secret.
REPOSITORY_URL = re.compile(r"https://(?:(?P<login>[^/@]+)@)?(?P<place>[^/@]+(/[^?#]*)?)\Z", re.IGNORECASE)
MAX_URL_LENGTH = 2048


def parse_repository_url(url: str) -> tuple[str, str] | None:
    """The URL without its login, and the login as `user:password` in URL encoding or an empty text. None if git must
    not connect there (docs/decisions/0010-outgoing-connections.md).
    """
    found = REPOSITORY_URL.match(url) if URL.match(url) else None
    if found is None or len(url) > MAX_URL_LENGTH or not (url.isascii() and url.isprintable()):
        return None
    return f"https://{found['place']}", found["login"] or ""
