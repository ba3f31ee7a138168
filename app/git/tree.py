"""Directory listings and file contents at a branch, tag or commit."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pygit2
from pygit2.enums import FileMode, ObjectType

from app.git import refs
from app.git.errors import EmptyRepository, NeedsSearch, NoPath, TooLarge
from app.git.objects import (
    is_full_id,
    is_reachable,
    list_candidates,
    list_tips,
    object_kind,
    open_repository,
    peel_tag,
    read_object,
)
from app.git.process import stream
from app.git.text import decode, encode_name

MAX_REF_PARTS = 50  # leading parts of an address that are tried as the name of a branch
ENTRIES_LIMIT = 20_000  # entries in one listing
BELOW_LIMIT = 100_000  # entries in all folders of a listing
CONTENT_LIMIT = 16 << 20  # bytes of all files that are read together
FILE_LIMIT = {"core.bigFileThreshold": "16m"}  # above this git itself reads a file in chunks
KINDS = {FileMode.TREE: "folder", FileMode.LINK: "link", FileMode.COMMIT: "submodule"}
ORDER = [FileMode.TREE, FileMode.BLOB, FileMode.BLOB_EXECUTABLE, FileMode.LINK, FileMode.COMMIT]


@dataclass(frozen=True)
class Entry:
    """`kind` is folder, file, link or submodule; `path` starts at the root, and `raw_path` is its bytes, for URLs."""

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
    """`path` is None for a blob that was requested by its id."""

    path: str | None
    id: str
    size: int


def find_entry(
    repo_path: Path, identifier: str | None = None, path: str | None = None, *, search: bool = True
) -> Folder | File:
    """Find the folder or file at a path. `identifier` is a branch, a tag, or a hexadecimal object id; default: HEAD.

    The root is sorted by kind (folders, files, executables, links, submodules), other folders are in the order of git.
    A symbolic link is returned as a file and not followed. Raises EmptyRepository when there are no refs at all, NoPath
    for what does not exist, is not visible or is a submodule, TooLarge above ENTRIES_LIMIT, and, without `search`,
    NeedsSearch for an object id, since finding out whether a ref leads to it can take long.
    Source: project contract 12.11.
    """
    repository = open_repository(repo_path)
    parts = _split_path(path)
    target = _descend(repository, _find_start(repo_path, identifier, search), parts)
    if object_kind(repository, str(target)) == ObjectType.TREE:
        return _build_folder(read_object(repository, target, ObjectType.TREE), parts)
    size = repository.odb.read_header(target)[1]
    return File(decode(b"/".join(parts)) if parts else None, str(target), size)


def split_address(repo_path: Path, address: str) -> tuple[str, str | None]:
    """Split `<identifier>/f/<path>`, where either part may contain `/f/` itself.

    The identifier is the shortest prefix that is a branch or a tag, or else what precedes the first `/f/`. A full
    object id, or HEAD, is always an identifier of its own.
    """
    parts = address.split("/f/")
    if is_full_id(parts[0]) or parts[0] == "HEAD":
        return parts[0], address[len(parts[0]) :].removeprefix("/f/") or None
    prefixes = ("/f/".join(parts[:n]) for n in range(1, min(len(parts), MAX_REF_PARTS) + 1))
    identifier = next((prefix for prefix in prefixes if _resolve_name(repo_path, prefix)), parts[0])
    return identifier, address[len(identifier) :].removeprefix("/f/") or None


def find_commit(repo_path: Path, identifier: str, *, search: bool = True) -> str | None:
    """Return the id of the commit behind an identifier, tags being followed; None if it is another kind of object.

    Raises the same errors as `find_entry`.
    """
    repository = open_repository(repo_path)
    object_id = str(peel_tag(repository, pygit2.Oid(hex=_find_start(repo_path, identifier, search))))
    return object_id if object_kind(repository, object_id) == ObjectType.COMMIT else None


def list_below(repo_path: Path, commit_id: str, path: str | None = None) -> tuple[list[Entry], list[Entry]]:
    """List all folders and all files below a path of a commit, each folder as a whole before those within it.

    Below a file there is nothing, and submodules are left out. Raises NoPath, and TooLarge above BELOW_LIMIT.
    """
    repository = open_repository(repo_path)
    parts = _split_path(path)
    start = _descend(repository, commit_id, parts)
    pending = [(start, parts)] if object_kind(repository, str(start)) == ObjectType.TREE else []
    folders: list[Entry] = []
    files: list[Entry] = []
    while pending:
        folder_id, parts = pending.pop()
        entries = _build_folder(read_object(repository, folder_id, ObjectType.TREE), parts).entries
        below = [entry for entry in entries if entry.kind == "folder"]
        folders += below
        files += [entry for entry in entries if entry.kind in ("file", "link")]
        if len(folders) + len(files) > BELOW_LIMIT:
            raise TooLarge(path or "")
        pending += [(pygit2.Oid(hex=entry.id), entry.raw_path.split(b"/")) for entry in reversed(below)]
    return folders, files


def read_files(repo_path: Path, ids: Sequence[str]) -> Iterator[bytes]:
    """Read the contents of files by their ids, in this order. Raises TooLarge above CONTENT_LIMIT in total."""
    odb = open_repository(repo_path).odb
    sizes = [odb.read_header(pygit2.Oid(hex=object_id))[1] for object_id in ids]
    if sum(sizes) > CONTENT_LIMIT:
        raise TooLarge("files")
    if not ids:
        return
    asked = "".join(f"{object_id}\n" for object_id in ids).encode()
    read = bytearray()
    position = 0
    # Each file comes after a line with its id, and is followed by a line break.
    spans = [len(f"{object_id} blob {size}\n") for object_id, size in zip(ids, sizes, strict=True)]
    for chunk in stream(repo_path, "cat-file", "--batch", stdin=asked, config=FILE_LIMIT):
        read += chunk
        while position < len(ids) and len(read) >= spans[position] + sizes[position] + 1:
            end = spans[position] + sizes[position]
            yield bytes(read[spans[position] : end])
            del read[: end + 1]
            position += 1


def read_file(repo_path: Path, file: File) -> Iterator[bytes]:
    """Read the contents of a file that `find_entry` has returned, in chunks. Source: project contract 12.20."""
    return stream(repo_path, "cat-file", "blob", file.id, config=FILE_LIMIT)


def _find_start(repo_path: Path, identifier: str | None, search: bool) -> str:
    """Find the object that an identifier stands for: a full object id first, then a branch, a tag, the beginning of an
    id. So no ref can take the place of the commit whose id it has for a name.
    """
    if object_id := _resolve_name(repo_path, identifier):
        return object_id
    if not list_tips(repo_path):
        raise EmptyRepository(identifier or "HEAD")
    candidates = list_candidates(repo_path, identifier or "")
    if candidates and not search:
        raise NeedsSearch(identifier or "HEAD")
    visible = [object_id for object_id in candidates if is_reachable(repo_path, object_id)]
    if len(visible) != 1:
        raise NoPath(identifier or "HEAD")
    return visible[0]


def _resolve_name(repo_path: Path, identifier: str | None) -> str | None:
    """Return the object that the branch or tag of this name points to; None if there is neither."""
    if identifier in (None, "HEAD"):
        return refs.find_target(repo_path, "HEAD")
    if not identifier or "\0" in identifier or is_full_id(identifier):
        return None
    names = (f"{refs.HEADS}{identifier}", f"{refs.TAGS}{identifier}")
    return next((target for name in names if (target := refs.find_target(repo_path, name))), None)


def _split_path(path: str | None) -> list[bytes]:
    """Split a path into names; slashes at either end are ignored. Raises NoPath."""
    try:
        return encode_name((path or "").strip("/")).split(b"/") if (path or "").strip("/") else []
    except UnicodeEncodeError:
        raise NoPath("") from None


def _descend(repository: pygit2.Repository, start: str, parts: list[bytes]) -> pygit2.Oid:
    """Return the id of the tree or the blob at a path. Raises NoPath.

    Names are compared with the entries of trees, so `..` has no special meaning and is never found. A blob may be of
    any size and is not loaded.
    """
    current = _peel(repository, start)
    for part in parts:
        entry = _find_child(repository, current, part)
        if entry is None or entry.filemode == FileMode.COMMIT:
            raise NoPath(decode(b"/".join(parts)))
        current = entry.id
    return current


def _peel(repository: pygit2.Repository, start: str) -> pygit2.Oid:
    """Return the tree or blob behind a commit or a tag."""
    object_id = peel_tag(repository, pygit2.Oid(hex=start))
    if object_kind(repository, str(object_id)) != ObjectType.COMMIT:
        return object_id
    tree_id: pygit2.Oid = read_object(repository, object_id, ObjectType.COMMIT).tree_id
    return tree_id


def _find_child(repository: pygit2.Repository, parent: pygit2.Oid, name: bytes) -> pygit2.Object | None:
    if object_kind(repository, str(parent)) != ObjectType.TREE:
        return None
    tree = read_object(repository, parent, ObjectType.TREE)
    return next((entry for entry in tree if entry.raw_name == name), None)


def _build_folder(tree: pygit2.Tree, parts: list[bytes]) -> Folder:
    if len(tree) > ENTRIES_LIMIT:
        raise TooLarge(decode(b"/".join(parts)))
    entries = list(tree)
    if not parts:
        entries.sort(key=_sort_key)
    listing = []
    for entry in entries:
        raw_path = b"/".join([*parts, entry.raw_name or b""])
        kind = KINDS.get(FileMode(entry.filemode), "file")
        listing.append(Entry(kind, decode(entry.raw_name or b""), decode(raw_path), raw_path, str(entry.id)))
    return Folder(decode(b"/".join(parts)) if parts else None, tuple(listing))


def _sort_key(entry: pygit2.Object) -> int:
    """Sort by kind. Old repositories contain further file modes, which count as plain files."""
    mode = FileMode(entry.filemode)
    return ORDER.index(mode) if mode in ORDER else ORDER.index(FileMode.BLOB)
