"""Opening repositories, resolving object ids, and checking which objects are visible."""

import re
from contextlib import closing
from pathlib import Path

import pygit2

from app.git.errors import NoRepository, TimedOut
from app.git.process import run, split_records, stream

HEX = re.compile(r"[0-9a-fA-F]{4,40}\Z")
FULL = re.compile(r"[0-9a-f]{40}\Z")
NOWHERE = "0" * 40
# Refs that users see. The other refs are internal to the forge and make no object visible.
VISIBLE = ("refs/heads/", "refs/tags/", "refs/pull/")
SEARCH_TIMEOUT = 10.0  # seconds to look for a tree or a blob in the whole history
EMPTY_TREE = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"


def open_repository(repo_path: Path, alternate: Path | None = None) -> pygit2.Repository:
    """Open a repository. The objects of `alternate` can be read through it as well; nothing is written to disk."""
    try:
        repository = pygit2.Repository(str(repo_path), pygit2.enums.RepositoryOpenFlag.NO_SEARCH)
    except pygit2.GitError:
        raise NoRepository(repo_path.name) from None
    if alternate is not None and alternate != repo_path:
        repository.odb.add_disk_alternate(str(alternate / "objects"))
    return repository


def list_candidates(repo_path: Path, spelling: str) -> list[str]:
    """List the full ids that begin with this hexadecimal id of 4 to 40 digits; empty if it is malformed."""
    if not HEX.match(spelling):
        return []
    repository = open_repository(repo_path)
    try:
        object_id = repository.expand_id(spelling.lower())
    except KeyError:
        return []
    except ValueError:
        return run(repo_path, "rev-parse", f"--disambiguate={spelling.lower()}").decode().split()
    return [str(object_id)] if object_id in repository.odb else []


def object_kind(repository: pygit2.Repository, object_id: str) -> pygit2.enums.ObjectType:
    """Return the type of an object without loading it."""
    header: tuple[pygit2.enums.ObjectType, int] = repository.odb.read_header(pygit2.Oid(hex=object_id))
    return header[0]


def is_reachable(repo_path: Path, object_id: str) -> bool:
    """Return whether a visible ref leads to this object, given by its full id.

    A repository holds other objects too: those that a forced push has replaced, and in a fork all that its parent ever
    held. For a commit or a tag this takes a walk over commits. A tree or blob is searched in the whole history, newest
    first, and counts as unreachable if that takes longer than SEARCH_TIMEOUT.
    """
    repository = open_repository(repo_path)
    if object_id not in repository:
        return False
    kind = object_kind(repository, object_id)
    if kind == pygit2.enums.ObjectType.COMMIT:
        visible = [f"--glob={prefix}*" for prefix in VISIBLE]
        return not run(repo_path, "rev-list", "--max-count=1", object_id, "--not", *visible)
    tips = run(repo_path, "for-each-ref", "--format=%(objectname)", *VISIBLE).decode().split()
    if object_id in tips:
        return True
    if kind == pygit2.enums.ObjectType.TAG:
        return object_id in _list_chained_tags(repository, tips)
    return _is_in_history(repo_path, object_id.encode())


def _list_chained_tags(repository: pygit2.Repository, tips: list[str]) -> set[str]:
    """List the tags among these objects and the tags that they point to."""
    found = set()
    for tip in tips:
        while object_kind(repository, tip) == pygit2.enums.ObjectType.TAG:
            found.add(tip)
            tag = repository[tip]
            assert isinstance(tag, pygit2.Tag)  # noqa: S101 - for the type checker
            tip = str(tag.target)
    return found


def _is_in_history(repo_path: Path, object_id: bytes) -> bool:
    """Return whether a visible commit has this object as its tree, or added it to its tree."""
    visible = [f"--glob={prefix}*" for prefix in VISIBLE]
    arguments = ["-m", "-t", "--root", "--raw", "--no-abbrev", "--no-renames", "--format=%T", *visible]
    try:
        with closing(stream(repo_path, "log", *arguments, deadline=SEARCH_TIMEOUT)) as output:
            # File names, after the tab, are chosen by users and might spell an id.
            return any(object_id in line.split(b"\t")[0].split() for line in split_records(output))
    except TimedOut:
        return False
