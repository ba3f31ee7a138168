"""Opening repositories, resolving object ids, and checking which objects are visible."""

import re
from collections.abc import Collection
from contextlib import closing
from pathlib import Path
from typing import Any

import pygit2

from app.git.errors import GitFailed, NoRepository, TimedOut, TooLarge
from app.git.process import run, split_records, stream

HEX = re.compile(r"[0-9a-fA-F]{4,40}\Z")
FULL = re.compile(r"[0-9a-f]{40}\Z")
FULL_SPELLING = re.compile(r"[0-9a-fA-F]{40}(?:[0-9a-fA-F]{24})?\Z")
NOWHERE = "0" * 40
# Refs that only the forge sees. Users see all others, and what those lead to.
INTERNAL = "refs/internal/"
ALL_VISIBLE = (f"--exclude={INTERNAL}*", "--all")  # for rev-list and log
SEARCH_TIMEOUT = 10.0  # seconds to look for a tree or a blob in the whole history
OBJECT_LIMIT = 8 << 20  # bytes of a commit, tag or folder that is read into this process
TAGS_LIMIT = 100  # tags that point to one another
EMPTY_TREE = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"


def is_full_id(spelling: str) -> bool:
    """Whether this is spelled like a full object id, of SHA-1 or SHA-256; it means that object and no ref."""
    return bool(FULL_SPELLING.match(spelling))


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


def read_object(repository: pygit2.Repository, object_id: pygit2.Oid, kind: pygit2.enums.ObjectType) -> Any:
    """Read a commit, a tag or a tree into this process.

    Raises TooLarge above OBJECT_LIMIT, KeyError if there is no such object of this kind, and GitFailed if it is
    malformed. Files are read by git processes, whose memory is limited; they can be of any size.
    """
    found, size = repository.odb.read_header(object_id)
    if found != kind:
        raise KeyError(str(object_id))
    if size > OBJECT_LIMIT:
        raise TooLarge(str(object_id))
    try:
        return repository[object_id]
    except pygit2.GitError:
        raise GitFailed(f"malformed object {object_id}") from None


def peel_tag(repository: pygit2.Repository, object_id: pygit2.Oid) -> pygit2.Oid:
    """Follow a tag, which may point to another tag, to an object of another kind. Raises TooLarge."""
    for _ in range(TAGS_LIMIT):
        if object_kind(repository, str(object_id)) != pygit2.enums.ObjectType.TAG:
            return object_id
        object_id = read_object(repository, object_id, pygit2.enums.ObjectType.TAG).target
    raise TooLarge(str(object_id))


def list_tips(repo_path: Path) -> list[str]:
    """List the objects that visible refs point to."""
    lines = run(repo_path, "for-each-ref", "--format=%(objectname) %(refname)").decode(errors="replace").splitlines()
    return [
        object_id for object_id, _, name in (line.partition(" ") for line in lines) if not name.startswith(INTERNAL)
    ]


def is_reachable(repo_path: Path, object_id: str) -> bool:
    """Return whether a visible ref leads to this object, given by its full id.

    A repository holds other objects too: those that a forced push has replaced, and in a fork all that its parent ever
    held. For a commit or a tag this takes a walk over commits. A tree or blob is searched in the whole history, newest
    first, and counts as unreachable if that takes longer than SEARCH_TIMEOUT.
    """
    if object_id not in open_repository(repo_path):
        return False
    hidden, files = find_hidden(repo_path, {object_id})
    return hidden is None and find_unlisted(repo_path, files) is None


def find_hidden(repo_path: Path, object_ids: Collection[str]) -> tuple[str | None, set[str]]:
    """Return a commit or tag among these objects that no visible ref leads to, if there is one; and the trees and blobs
    among them, which are yet to be searched for. Objects that are missing do not count.
    """
    repository = open_repository(repo_path)
    tips = list_tips(repo_path)
    kinds = {each: object_kind(repository, each) for each in set(object_ids).difference(tips) if each in repository}
    commits = sorted(each for each, kind in kinds.items() if kind == pygit2.enums.ObjectType.COMMIT)
    if commits and _leads_astray(repo_path, commits):
        return commits[0], set()
    tags = {each for each, kind in kinds.items() if kind == pygit2.enums.ObjectType.TAG}
    hidden = tags - _list_chained_tags(repository, tips) if tags else set()
    return min(hidden, default=None), kinds.keys() - tags - set(commits)


def find_unlisted(repo_path: Path, files: Collection[str]) -> str | None:
    """Return one of these trees and blobs that no visible commit has in its tree; None if there is none."""
    wanted = {each.encode() for each in files}
    missing = wanted - _find_in_history(repo_path, wanted) if wanted else set()
    return min(missing).decode() if missing else None


def _leads_astray(repo_path: Path, commits: Collection[str]) -> bool:
    """Return whether a commit leads to one that no visible ref leads to."""
    arguments = ("rev-list", "--max-count=1", "--stdin", "--not", *ALL_VISIBLE)
    return bool(run(repo_path, *arguments, stdin="\n".join(commits).encode()))


def was_anything_removed(repo_path: Path, replaced: Collection[str]) -> bool:
    """Return whether visible refs do not lead any more to one of these objects, which refs have pointed to before."""
    hidden, files = find_hidden(repo_path, replaced)
    return hidden is not None or bool(files)


def _list_chained_tags(repository: pygit2.Repository, tips: list[str]) -> set[str]:
    """List the tags among these objects and the tags that they point to."""
    found = set()
    for tip in tips:
        while tip not in found and object_kind(repository, tip) == pygit2.enums.ObjectType.TAG:
            found.add(tip)
            tip = str(read_object(repository, pygit2.Oid(hex=tip), pygit2.enums.ObjectType.TAG).target)
    return found


def _find_in_history(repo_path: Path, object_ids: set[bytes]) -> set[bytes]:
    """Return those of the objects that a visible commit has as its tree, or has added to it. The search ends when all
    are found, or after SEARCH_TIMEOUT.
    """
    found: set[bytes] = set()
    arguments = ["-m", "-t", "--root", "--raw", "--no-abbrev", "--no-renames", "--format=%T", *ALL_VISIBLE]
    try:
        with closing(stream(repo_path, "log", *arguments, deadline=SEARCH_TIMEOUT)) as output:
            # File names, after the tab, are chosen by users and might spell an id.
            for line in split_records(output):
                found |= object_ids.intersection(line.split(b"\t")[0].split())
                if len(found) == len(object_ids):
                    break
    except (TimedOut, TooLarge):
        return found
    return found
