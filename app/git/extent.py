"""Counting what a comparison would have to read, before git is asked to make it.

A few hundred bytes can describe a tree of any number of files, because trees and files may be shared. Git makes a list
of all files that differ before it prints the first one, so they are counted here, one folder at a time, and the count
stops at a limit.
"""

import re
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field

import pygit2
from pygit2.enums import ObjectType

from app.git.errors import TooLarge
from app.git.objects import read_object

ENTRY = re.compile(rb"(\d+) ([^\0]+)\0(.{20})", re.DOTALL)
FOLDER, SUBMODULE = 0o040000, 0o160000
TREE_BYTES = 128 << 20  # bytes of trees that one count may read, which takes some seconds
TREE_COST = 1 << 10  # bytes added to the size of each tree, since there may be very many small ones


@dataclass
class Allowance:
    """How many files and how many bytes of them may still differ, and how many bytes of trees may still be read."""

    files: int
    content: int | None = None  # bytes; not counted if None
    trees: int = TREE_BYTES
    sizes: dict[bytes, int] = field(default_factory=dict)  # of files that have been met, by id

    def spend(self, subject: str, *, files: int = 0, size: int = 0, trees: int = 0) -> None:
        """Raises TooLarge when nothing is left."""
        self.files -= files
        self.trees -= trees
        if self.content is not None:
            self.content -= size
        if self.files < 0 or self.trees < 0 or (self.content or 0) < 0:
            raise TooLarge(subject)


def count_changes(
    repository: pygit2.Repository, old: pygit2.Oid | None, new: pygit2.Oid | None, allowance: Allowance
) -> None:
    """Count the files that differ between two trees, None being the empty one. Raises TooLarge."""
    pending = [(old, new)]
    while pending:
        before, after = pending.pop()
        pending += _compare_folders(repository, before, after, allowance)


def count_commits(repository: pygit2.Repository, commit_ids: Iterable[str], allowance: Allowance) -> None:
    """Count the files that each of these commits changes. Raises TooLarge."""
    for commit_id in commit_ids:
        commit = read_object(repository, pygit2.Oid(hex=commit_id), ObjectType.COMMIT)
        parent = commit.parent_ids[0] if commit.parent_ids else None
        count_changes(repository, parent and tree_of(repository, parent), commit.tree_id, allowance)


def tree_of(repository: pygit2.Repository, commit_id: pygit2.Oid | str) -> pygit2.Oid:
    """Return the tree of a commit."""
    commit = read_object(repository, pygit2.Oid(hex=str(commit_id)), ObjectType.COMMIT)
    return pygit2.Oid(hex=str(commit.tree_id))


def _compare_folders(
    repository: pygit2.Repository, old: pygit2.Oid | None, new: pygit2.Oid | None, allowance: Allowance
) -> list[tuple[pygit2.Oid | None, pygit2.Oid | None]]:
    """Count the files that differ in two folders, and return the pairs of folders below them that differ."""
    if old == new:
        return []
    before, after = (_read_folder(repository, tree_id, allowance) for tree_id in (old, new))
    folders: dict[bytes, list[pygit2.Oid | None]] = {}
    for side, entries in enumerate((before - after, after - before)):
        for mode, name, raw_id in entries:
            kind = int(mode, 8)
            if kind == FOLDER:
                folders.setdefault(name, [None, None])[side] = pygit2.Oid(raw=raw_id)
                continue
            size = 0 if allowance.content is None or kind == SUBMODULE else _measure(repository, raw_id, allowance)
            allowance.spend(str(new or old), files=1, size=size)
    return [(pair[0], pair[1]) for pair in folders.values()]


def _measure(repository: pygit2.Repository, raw_id: bytes, allowance: Allowance) -> int:
    """Return the size of a file in bytes, by its header alone."""
    if raw_id not in allowance.sizes:
        allowance.sizes[raw_id] = 0
        with suppress(KeyError):  # a damaged repository
            allowance.sizes[raw_id] = repository.odb.read_header(pygit2.Oid(raw=raw_id))[1]
    return allowance.sizes[raw_id]


def _read_folder(
    repository: pygit2.Repository, tree_id: pygit2.Oid | None, allowance: Allowance
) -> set[tuple[bytes, bytes, bytes]]:
    if tree_id is None:
        return set()
    raw = read_object(repository, tree_id, ObjectType.TREE).read_raw()
    allowance.spend(str(tree_id), trees=len(raw) + TREE_COST)
    return set(ENTRY.findall(raw))
