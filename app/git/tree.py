"""Trees and files: what a directory holds at a branch, tag or commit, and the bytes of a file."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pygit2
from pygit2.enums import FileMode, ObjectType

from app.git import refs
from app.git.errors import EmptyRepository, NoPath, TooLarge
from app.git.objects import VISIBLE, is_reachable, list_candidates, object_kind, open_repository
from app.git.process import run, stream
from app.git.text import decode, encode_name

REF_PARTS = 50  # of an address that are tried as the name of a branch
ENTRIES_LIMIT = 100_000  # entries that one listing names
FILE_LIMIT = {"core.bigFileThreshold": "16m"}  # above this git reads a file in pieces as well
KINDS = {FileMode.TREE: "folder", FileMode.LINK: "link", FileMode.COMMIT: "submodule"}
ORDER = [FileMode.TREE, FileMode.BLOB, FileMode.BLOB_EXECUTABLE, FileMode.LINK, FileMode.COMMIT]


@dataclass(frozen=True)
class Entry:
    """`kind` is folder, file, link or submodule; `path` counts from the root and `raw_path` is that for URLs."""

    kind: str
    name: str
    path: str
    raw_path: bytes
    id: str


@dataclass(frozen=True)
class Folder:
    """`path` is None for the root."""

    path: str | None
    entries: tuple[Entry, ...]


@dataclass(frozen=True)
class File:
    """`path` is None for a blob that was named by its id."""

    path: str | None
    id: str
    size: int


def find_entry(repo_path: Path, identifier: str | None = None, path: str | None = None) -> Folder | File:
    """What lies at a path of a branch, a tag, or the hexadecimal id of a commit, tree, blob or tag; HEAD by default.

    The root is listed by kind (folders, files, programs, links, submodules), other folders in git's own order. A link
    is the file it is stored as, and leads nowhere. Raises EmptyRepository when there is no ref at all, NoPath for what
    is not there, cannot be seen or is a submodule, TooLarge. Source: project contract 12.11.
    """
    repository = open_repository(repo_path)
    parts = _split_path(path)
    found = _descend(repository, _find_start(repo_path, identifier), parts)
    if isinstance(found, pygit2.Tree):
        return _build_folder(found, parts)
    size = repository.odb.read_header(found)[1]
    return File(decode(b"/".join(parts)) if parts else None, str(found), size)


def split_address(repo_path: Path, address: str) -> tuple[str, str | None]:
    """The identifier and the path in `<identifier>/f/<path>`, either of which may hold `/f/` itself.

    The shortest beginning that is a branch or a tag is the identifier, or else what comes before the first `/f/`.
    """
    parts = address.split("/f/")
    heads = ("/f/".join(parts[:n]) for n in range(1, min(len(parts), REF_PARTS) + 1))
    identifier = next((head for head in heads if _resolve_name(repo_path, head)), parts[0])
    return identifier, address[len(identifier) :].removeprefix("/f/") or None


def find_commit(repo_path: Path, identifier: str) -> str | None:
    """The id of the commit that an identifier names, through tags; None if it names something else.

    Raises as `look` does.
    """
    here = _peel_tag(open_repository(repo_path), _find_start(repo_path, identifier))
    return str(here) if object_kind(open_repository(repo_path), str(here)) == ObjectType.COMMIT else None


def read_file(repo_path: Path, file: File) -> Iterator[bytes]:
    """The bytes of a file that `look` has found, in pieces. Source: project contract 12.20."""
    return stream(repo_path, "cat-file", "blob", file.id, config=FILE_LIMIT)


def _find_start(repo_path: Path, identifier: str | None) -> str:
    """The object that an identifier names: a branch first, then a tag, then an id."""
    if found := _resolve_name(repo_path, identifier):
        return found
    if not run(repo_path, "for-each-ref", "--count=1", "--format=x", *VISIBLE):
        raise EmptyRepository(identifier or "HEAD")
    known = [one for one in list_candidates(repo_path, identifier or "") if is_reachable(repo_path, one)]
    if len(known) != 1:
        raise NoPath(identifier or "HEAD")
    return known[0]


def _resolve_name(repo_path: Path, identifier: str | None) -> str | None:
    """What the branch or the tag of this name leads to, if there is one."""
    names = ["HEAD"] if identifier in (None, "HEAD") else []
    if identifier and "\0" not in identifier:
        names += [f"{refs.HEADS}{identifier}", f"{refs.TAGS}{identifier}"]
    return next((found for name in names if (found := refs.find_target(repo_path, name))), None)


def _split_path(path: str | None) -> list[bytes]:
    """The names along a path; a slash at either end means nothing."""
    try:
        return encode_name((path or "").strip("/")).split(b"/") if (path or "").strip("/") else []
    except UnicodeEncodeError:
        raise NoPath("") from None


def _descend(repository: pygit2.Repository, start: str, parts: list[bytes]) -> pygit2.Tree | pygit2.Oid:
    """The tree, or the id of the blob, at the end of a path.

    Names are compared with those that trees hold, so `..` is a name like any other, and one that no tree has. A blob
    is never loaded: it may be of any size.
    """
    here = _peel(repository, start)
    for part in parts:
        entry = _find_child(repository, here, part)
        if entry is None or entry.filemode == FileMode.COMMIT:
            raise NoPath(decode(b"/".join(parts)))
        here = entry.id
    return here if object_kind(repository, str(here)) == ObjectType.BLOB else repository[here].peel(pygit2.Tree)


def _peel(repository: pygit2.Repository, start: str) -> pygit2.Oid:
    """The tree or blob behind a commit or a tag."""
    here = _peel_tag(repository, start)
    return repository[here].peel(pygit2.Tree).id if object_kind(repository, str(here)) == ObjectType.COMMIT else here


def _peel_tag(repository: pygit2.Repository, start: str) -> pygit2.Oid:
    """What is behind a tag, and the tags that it may stand for."""
    here = pygit2.Oid(hex=start)
    while object_kind(repository, str(here)) == ObjectType.TAG:
        tag = repository[here]
        assert isinstance(tag, pygit2.Tag)  # noqa: S101 - for the type checker
        here = tag.target
    return here


def _find_child(repository: pygit2.Repository, here: pygit2.Oid, name: bytes) -> pygit2.Object | None:
    if object_kind(repository, str(here)) != ObjectType.TREE:
        return None
    return next((entry for entry in repository[here].peel(pygit2.Tree) if entry.raw_name == name), None)


def _build_folder(tree: pygit2.Tree, parts: list[bytes]) -> Folder:
    if len(tree) > ENTRIES_LIMIT:
        raise TooLarge(decode(b"/".join(parts)))
    entries = list(tree)
    if not parts:
        entries.sort(key=_sort_key)
    listed = []
    for entry in entries:
        raw_path = b"/".join([*parts, entry.raw_name or b""])
        what = KINDS.get(FileMode(entry.filemode), "file")
        listed.append(Entry(what, decode(entry.raw_name or b""), decode(raw_path), raw_path, str(entry.id)))
    return Folder(decode(b"/".join(parts)) if parts else None, tuple(listed))


def _sort_key(entry: pygit2.Object) -> int:
    """Old repositories know more kinds of plain files."""
    mode = FileMode(entry.filemode)
    return ORDER.index(mode) if mode in ORDER else ORDER.index(FileMode.BLOB)
