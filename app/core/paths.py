"""The forms of a project's path: `[fork/<user>/][<namespace>/]<name>`.

The *path* is how people write it. The *address* is how it is looked up: namespace and name in lower case, the forking
user as written.
"""

import fnmatch
import re
from collections.abc import Mapping
from typing import Any

from app.git.refs import is_mistakable

NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9\-_.+]*\Z")
SEGMENT_LIMIT = 255
REF_LIMIT = 1024  # bytes; the log's and the read tables' indexes take some 2700
REF_DEPTH = 50  # parts; libgit2 lists no ref that lies deeper than about a hundred directories
FILE_LIMIT = 250  # bytes of a file's name, when git has added ".lock"

# First segments of the forge's own URLs.
RESERVED_ROOTS = ("api", "v1", "fork", "forks", "healthz", "readyz", "metrics", "rhodecode", "kallithea", "_admin")
# Paths that would hide pages of the forge or of Pagure.
RESERVED = [
    *RESERVED_ROOTS,
    "static",
    "pv",
    "releases",
    "new",
    "settings",
    "search",
    "logout",
    "login",
    "user",
    "users",
    "groups",
    "projects",
    "ssh_info",
    "issues",
    "pull-requests",
    "commits",
    "tree",
    "admin",
    "c",
    "wait",
    "dashboard",
    "docs/*",
    "tickets/*",
    "requests/*",
]


def build_path(name: str, namespace: str | None = None, forker: str | None = None) -> str:
    """The path as people write it."""
    parts = ["fork", forker] if forker else []
    return "/".join([*parts, *([namespace] if namespace else []), name])


def fullname(project: Mapping[str, Any]) -> str:
    """The path as Pagure shows it: forks are under `forks/`."""
    written: str = project["path"]
    return "forks/" + written.removeprefix("fork/") if project["forker"] else written


def build_address(name: str, namespace: str | None = None, forker: str | None = None) -> str:
    """The address, by which a project is looked up."""
    whole = f"{namespace}/{name}" if namespace else name
    return f"fork/{forker}/{whole.lower()}" if forker else whole.lower()


def address_from_path(path: str) -> str:
    """The address of a path, such as the one in a git URL."""
    parts = path.split("/")
    if parts[0] == "fork" and len(parts) > 2:
        return "/".join([*parts[:2], *(part.lower() for part in parts[2:])])
    return path.lower()


def is_valid_name(name: str) -> bool:
    return (
        bool(NAME.match(name))
        and len(name) <= SEGMENT_LIMIT
        and name not in (".", "..")
        and not name.lower().endswith((".git", ".lock"))
    )


def is_reserved(name: str, namespace: str | None) -> bool:
    whole = build_path(name, namespace).lower()
    return any(fnmatch.fnmatchcase(whole, taken) for taken in RESERVED)


def is_storable_ref(name: bytes) -> bool:
    """Whether disk and log can both hold a ref of this name. Git alone takes longer and deeper ones, and those that are
    no UTF-8, which the log cannot store.
    """
    try:
        name.decode()
    except UnicodeDecodeError:
        return False
    return len(name) <= REF_LIMIT and name.count(b"/") < REF_DEPTH


def is_clear_ref_name(ref: str) -> bool:
    """Whether the short name of a new ref, given by its full name, is taken for nothing else."""
    return not is_mistakable(ref)


def may_create_ref(ref: bytes) -> bool:
    """Whether a push, a mirror or the API may create a ref of this full name.

    Disk and log can hold it, it is UTF-8, and it cannot be taken for an object id, HEAD, an option or another ref. A
    ref that exists already may be moved and deleted, whatever its name.
    """
    return is_storable_ref(ref) and is_clear_ref_name(ref.decode())


def is_valid_branch_name(name: str) -> bool:
    """Whether git accepts the name for a branch (git-check-ref-format) and a branch of this name may be created."""
    if not name or len(name) > SEGMENT_LIMIT or name.endswith(("/", ".")):
        return False
    if any(c in " ~^:?*[\\\x7f" or c < " " for c in name) or ".." in name or "@{" in name or "//" in name:
        return False
    if not may_create_ref(f"refs/heads/{name}".encode(errors="surrogatepass")):
        return False
    return all(
        part and not part.startswith(".") and not part.endswith(".lock") and len(part.encode()) <= FILE_LIMIT
        for part in name.split("/")
    )
