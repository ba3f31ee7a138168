"""Repositories that are small on disk and very large, or very slow, to read."""

import hashlib
import subprocess
import zlib
from pathlib import Path

from tests.git.repositories import write_object

PERSON = "Al <al@example.org> 1700000000 +0000"
BLOB, REF_DELTA = 3, 7  # types of objects in a pack


def write_tree(repo_path: Path, entries: list[tuple[str, str, str]]) -> str:
    """Write a tree of (mode, name, id), which have to be in order."""
    body = b"".join(f"{mode} {name}\0".encode() + bytes.fromhex(object_id) for mode, name, object_id in entries)
    return write_object(repo_path, "tree", body)


def write_commit(repo_path: Path, tree: str, *parents: str, message: str = "m") -> str:
    lines = [f"tree {tree}", *(f"parent {parent}" for parent in parents), f"author {PERSON}", f"committer {PERSON}"]
    return write_object(repo_path, "commit", ("\n".join(lines) + f"\n\n{message}\n").encode())


def write_tree_of_trees(repo_path: Path, depth: int = 8, width: int = 10) -> str:
    """Write a tree with width ** depth files in a few hundred bytes: ten names for one tree of ten names, and so on."""
    mode, below = "100644", write_object(repo_path, "blob", b"x")
    for _ in range(depth):
        below = write_tree(repo_path, [(mode, f"{number:03}", below) for number in range(width)])
        mode = "40000"
    return below


def write_many_files(repo_path: Path, count: int) -> str:
    """Write a tree with many files in one folder."""
    blob = write_object(repo_path, "blob", b"x")
    return write_tree(repo_path, [("100644", f"{number:07}", blob) for number in range(count)])


def write_long_line(repo_path: Path, size: int) -> str:
    """Write a tree with a file that is one line of this many bytes."""
    return write_tree(repo_path, [("100644", "line", write_object(repo_path, "blob", b"x" * size))])


def build_delta_bomb(base_size: int, copies: int) -> bytes:
    """Build a pack of a few kilobytes with a file that consists of `copies` copies of another one."""
    base = bytes(base_size)
    base_id = hashlib.sha1(b"blob %d\0" % base_size + base, usedforsecurity=False).digest()
    copy = bytes([0x80 | 0x10 | 0x20 | 0x40]) + base_size.to_bytes(3, "little")
    delta = _number(base_size) + _number(base_size * copies) + copy * copies
    pack = b"PACK" + (2).to_bytes(4, "big") + (2).to_bytes(4, "big")
    pack += _head(BLOB, base_size) + zlib.compress(base)
    pack += _head(REF_DELTA, len(delta)) + base_id + zlib.compress(delta)
    return pack + hashlib.sha1(pack, usedforsecurity=False).digest()


def _head(kind: int, size: int) -> bytes:
    first, size = (kind << 4) | (size & 15), size >> 4
    return bytes([first | (0x80 if size else 0)]) + (_number(size) if size else b"")


def _number(size: int) -> bytes:
    digits = bytearray()
    while True:
        digits.append((size & 127) | (0x80 if size > 127 else 0))
        size >>= 7
        if not size:
            return bytes(digits)


def set_branch(repo_path: Path, name: str, commit: str) -> None:
    subprocess.run(["git", "update-ref", f"refs/heads/{name}", commit], cwd=repo_path, check=True)
