"""Opening repositories, and finding objects by what people write for their ids."""

import re
from contextlib import closing
from pathlib import Path

import pygit2

from app.git.errors import NoRepository, TimedOut
from app.git.process import run, split_records, stream

HEX = re.compile(r"[0-9a-fA-F]{4,40}\Z")
FULL = re.compile(r"[0-9a-f]{40}\Z")
NOWHERE = "0" * 40
# What anybody sees; refs that the forge keeps for itself are no reason to show an object.
VISIBLE = ("refs/heads/", "refs/tags/", "refs/pull/")
SEARCH = 10.0  # seconds to look for a tree or a blob in the whole history
EMPTY_TREE = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"


def open_repository(repo_path: Path, alternate: Path | None = None) -> pygit2.Repository:
    """The repository at `place`; the objects of `borrow` can be read as well, and nothing on disk remembers that."""
    try:
        repository = pygit2.Repository(str(repo_path), pygit2.enums.RepositoryOpenFlag.NO_SEARCH)
    except pygit2.GitError:
        raise NoRepository(repo_path.name) from None
    if alternate is not None and alternate != repo_path:
        repository.odb.add_disk_alternate(str(alternate / "objects"))
    return repository


def list_candidates(repo_path: Path, spelling: str) -> list[str]:
    """The full ids that this may be short for. Empty if none, or if it is no hexadecimal id of 4 to 40 digits."""
    if not HEX.match(spelling):
        return []
    repository = open_repository(repo_path)
    try:
        found = repository.expand_id(spelling.lower())
    except KeyError:
        return []
    except ValueError:
        return run(repo_path, "rev-parse", f"--disambiguate={spelling.lower()}").decode().split()
    return [str(found)] if found in repository.odb else []


def object_kind(repository: pygit2.Repository, object_id: str) -> pygit2.enums.ObjectType:
    """What it is, without reading it."""
    header: tuple[pygit2.enums.ObjectType, int] = repository.odb.read_header(pygit2.Oid(hex=object_id))
    return header[0]


def is_reachable(repo_path: Path, object_id: str) -> bool:
    """Whether a visible ref leads to this object, given by its full id.

    A repository holds more than that: what was pushed away by force, and in a fork whatever its parent ever held.
    Commits and tags take a walk of commits. A tree or blob is looked for in the whole history, newest first, and taken
    as unreachable when that takes too long.
    """
    repository = open_repository(repo_path)
    if object_id not in repository:
        return False
    what = object_kind(repository, object_id)
    if what == pygit2.enums.ObjectType.COMMIT:
        visible = [f"--glob={prefix}*" for prefix in VISIBLE]
        return not run(repo_path, "rev-list", "--max-count=1", object_id, "--not", *visible)
    tips = run(repo_path, "for-each-ref", "--format=%(objectname)", *VISIBLE).decode().split()
    if object_id in tips:
        return True
    if what == pygit2.enums.ObjectType.TAG:
        return object_id in _chained_tags(repository, tips)
    return _mentioned(repo_path, object_id.encode())


def _chained_tags(repository: pygit2.Repository, tips: list[str]) -> set[str]:
    """The tags that tags point to."""
    found = set()
    for tip in tips:
        while object_kind(repository, tip) == pygit2.enums.ObjectType.TAG:
            found.add(tip)
            tag = repository[tip]
            assert isinstance(tag, pygit2.Tag)  # noqa: S101 - for the type checker
            tip = str(tag.target)
    return found


def _mentioned(repo_path: Path, object_id: bytes) -> bool:
    """Whether some commit has it as its tree, or has brought it into its tree."""
    visible = [f"--glob={prefix}*" for prefix in VISIBLE]
    arguments = ["-m", "-t", "--root", "--raw", "--no-abbrev", "--no-renames", "--format=%T", *visible]
    try:
        with closing(stream(repo_path, "log", *arguments, deadline=SEARCH)) as pieces:
            # The names after the tab are anybody's text, and might spell an id.
            return any(object_id in line.split(b"\t")[0].split() for line in split_records(pieces))
    except TimedOut:
        return False
