"""Trees and files: what a directory holds at a branch, tag or commit, and the bytes of a file."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pygit2
from pygit2.enums import FileMode, ObjectType

from app.git import refs
from app.git.errors import EmptyRepository, NoPath, TooLarge
from app.git.objects import VISIBLE, candidates, kind, opened, reachable
from app.git.process import run, stream
from app.git.text import shown, stored

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


def look(place: Path, identifier: str | None = None, path: str | None = None) -> Folder | File:
    """What lies at a path of a branch, a tag, or the hexadecimal id of a commit, tree, blob or tag; HEAD by default.

    The root is listed by kind (folders, files, programs, links, submodules), other folders in git's own order. A link
    is the file it is stored as, and leads nowhere. Raises EmptyRepository when there is no ref at all, NoPath for what
    is not there, cannot be seen or is a submodule, TooLarge. Source: project contract 12.11.
    """
    repository = opened(place)
    parts = _parts(path)
    found = _descend(repository, _start(place, identifier), parts)
    if isinstance(found, pygit2.Tree):
        return _folder(found, parts)
    size = repository.odb.read_header(found)[1]
    return File(shown(b"/".join(parts)) if parts else None, str(found), size)


def parted(place: Path, address: str) -> tuple[str, str | None]:
    """The identifier and the path in `<identifier>/f/<path>`, either of which may hold `/f/` itself.

    The shortest beginning that is a branch or a tag is the identifier, or else what comes before the first `/f/`.
    """
    parts = address.split("/f/")
    heads = ("/f/".join(parts[:n]) for n in range(1, min(len(parts), REF_PARTS) + 1))
    identifier = next((head for head in heads if _named(place, head)), parts[0])
    return identifier, address[len(identifier) :].removeprefix("/f/") or None


def commit_at(place: Path, identifier: str) -> str | None:
    """The id of the commit that an identifier names, through tags; None if it names something else.

    Raises as `look` does.
    """
    here = _untagged(opened(place), _start(place, identifier))
    return str(here) if kind(opened(place), str(here)) == ObjectType.COMMIT else None


def read(place: Path, file: File) -> Iterator[bytes]:
    """The bytes of a file that `look` has found, in pieces. Source: project contract 12.20."""
    return stream(place, "cat-file", "blob", file.id, config=FILE_LIMIT)


def _start(place: Path, identifier: str | None) -> str:
    """The object that an identifier names: a branch first, then a tag, then an id."""
    if found := _named(place, identifier):
        return found
    if not run(place, "for-each-ref", "--count=1", "--format=x", *VISIBLE):
        raise EmptyRepository(identifier or "HEAD")
    known = [one for one in candidates(place, identifier or "") if reachable(place, one)]
    if len(known) != 1:
        raise NoPath(identifier or "HEAD")
    return known[0]


def _named(place: Path, identifier: str | None) -> str | None:
    """What the branch or the tag of this name leads to, if there is one."""
    names = ["HEAD"] if identifier in (None, "HEAD") else []
    if identifier and "\0" not in identifier:
        names += [f"{refs.HEADS}{identifier}", f"{refs.TAGS}{identifier}"]
    return next((found for name in names if (found := refs.target(place, name))), None)


def _parts(path: str | None) -> list[bytes]:
    """The names along a path; a slash at either end means nothing."""
    try:
        return stored((path or "").strip("/")).split(b"/") if (path or "").strip("/") else []
    except UnicodeEncodeError:
        raise NoPath("") from None


def _descend(repository: pygit2.Repository, start: str, parts: list[bytes]) -> pygit2.Tree | pygit2.Oid:
    """The tree, or the id of the blob, at the end of a path.

    Names are compared with those that trees hold, so `..` is a name like any other, and one that no tree has. A blob
    is never loaded: it may be of any size.
    """
    here = _peeled(repository, start)
    for part in parts:
        entry = _entry(repository, here, part)
        if entry is None or entry.filemode == FileMode.COMMIT:
            raise NoPath(shown(b"/".join(parts)))
        here = entry.id
    return here if kind(repository, str(here)) == ObjectType.BLOB else repository[here].peel(pygit2.Tree)


def _peeled(repository: pygit2.Repository, start: str) -> pygit2.Oid:
    """The tree or blob behind a commit or a tag."""
    here = _untagged(repository, start)
    return repository[here].peel(pygit2.Tree).id if kind(repository, str(here)) == ObjectType.COMMIT else here


def _untagged(repository: pygit2.Repository, start: str) -> pygit2.Oid:
    """What is behind a tag, and the tags that it may stand for."""
    here = pygit2.Oid(hex=start)
    while kind(repository, str(here)) == ObjectType.TAG:
        tag = repository[here]
        assert isinstance(tag, pygit2.Tag)  # noqa: S101 - for the type checker
        here = tag.target
    return here


def _entry(repository: pygit2.Repository, here: pygit2.Oid, name: bytes) -> pygit2.Object | None:
    if kind(repository, str(here)) != ObjectType.TREE:
        return None
    return next((entry for entry in repository[here].peel(pygit2.Tree) if entry.raw_name == name), None)


def _folder(tree: pygit2.Tree, parts: list[bytes]) -> Folder:
    if len(tree) > ENTRIES_LIMIT:
        raise TooLarge(shown(b"/".join(parts)))
    entries = list(tree)
    if not parts:
        entries.sort(key=_rank)
    listed = []
    for entry in entries:
        raw_path = b"/".join([*parts, entry.raw_name or b""])
        what = KINDS.get(FileMode(entry.filemode), "file")
        listed.append(Entry(what, shown(entry.raw_name or b""), shown(raw_path), raw_path, str(entry.id)))
    return Folder(shown(b"/".join(parts)) if parts else None, tuple(listed))


def _rank(entry: pygit2.Object) -> int:
    """Old repositories know more kinds of plain files."""
    mode = FileMode(entry.filemode)
    return ORDER.index(mode) if mode in ORDER else ORDER.index(FileMode.BLOB)
