"""A program that changes a repository while no fsync succeeds: `python -m tests.failing_disk REPOSITORY [fail]`.

It prints what became of each change, as JSON. The kernel (seccomp(2)) answers every fsync of this process and of those
that it starts with an error, from which one sees that it was called.
"""

import ctypes
import errno
import json
import platform
import struct
import subprocess
import sys
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pygit2

from app.disk import attachments, durable
from app.git import durability, pulls, refs, store
from app.git.errors import GitError
from app.git.limits import Work
from app.git.objects import open_repository
from app.git.process import run
from app.git.ref_changes import RefChange, apply_changes

NUMBERS = {"x86_64": (74, 75, 306), "aarch64": (82, 83, 267)}  # of the system calls fsync, fdatasync and syncfs
PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2
LOAD, JUMP_IF_EQUAL, RETURN = 0x20, 0x15, 0x06
ALLOW, FAIL = 0x7FFF0000, 0x00050000
ALICE = ("Alice", "alice@example.org")
ERRORS = (GitError, pygit2.GitError, KeyError, OSError)


def fail_every_fsync() -> None:
    numbers = NUMBERS[platform.machine()]
    steps = [(LOAD, 0, 0, 0)]
    steps += [(JUMP_IF_EQUAL, len(numbers) - index, 0, number) for index, number in enumerate(numbers)]
    steps += [(RETURN, 0, 0, ALLOW), (RETURN, 0, 0, FAIL | errno.EIO)]
    filters = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in steps))
    program = ctypes.create_string_buffer(struct.pack("HP", len(steps), ctypes.addressof(filters)))
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
    assert libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, program, 0, 0) == 0


def require_changed(faults: dict[str, Any]) -> None:
    if faults:
        raise GitError(next(iter(faults)))


def write_commit(repository: pygit2.Repository, head: str) -> None:
    signature = pygit2.Signature(*ALICE)
    tree = repository[head].tree_id
    # libgit2 returns an id even if the object could not be written.
    _ = repository[repository.create_commit(None, signature, signature, "new", tree, [])]


def list_changes(repo_path: Path) -> dict[str, Callable[[], Any]]:
    """List changes of the second of two repositories, named `ROOT/01/1.git` and `ROOT/02/2.git`."""
    root, head, old = repo_path.parent.parent, refs.find_branch_head(repo_path, "main"), "0" * 40
    parent = store.repository_path(root, 1)
    names = [f"refs/tags/{number}" for number in range(100)]
    loose = run(parent, "pack-objects", "--stdout", "--revs", stdin=b"other\n")
    return {
        "unpack a push": lambda: run(repo_path, "unpack-objects", "-q", work=Work.PUSH, stdin=loose),
        "keep the pack of a push": lambda: run(repo_path, "index-pack", "--stdin", work=Work.PUSH, stdin=loose),
        "push a ref": lambda: require_changed(apply_changes(repo_path, [RefChange("refs/heads/a", old, head)])),
        "push many refs": lambda: require_changed(
            apply_changes(repo_path, [RefChange(name, old, head) for name in names])
        ),
        "delete a packed ref": lambda: refs.remove(repo_path, "refs/heads/packed", head),
        "move a ref": lambda: refs.move(repo_path, "refs/heads/b", head, None),
        "write an object": lambda: open_repository(repo_path).create_blob(b"new"),
        "write a commit": lambda: write_commit(open_repository(repo_path), head),
        "set HEAD": lambda: refs.set_head(repo_path, "packed2"),
        "create an alias": lambda: refs.create_alias(repo_path, "alias", "main"),
        "copy a pull request": lambda: pulls.copy_source_head(repo_path, 1, parent, "other"),
        "sync the folders": lambda: durability.sync_changes(repo_path, ["refs/heads/main"]),
        "create a repository": lambda: store.create_repository(root, 3, cause=uuid.uuid4(), head="main", readme="x"),
        "fork a repository": lambda: store.fork_repository(root, 1, 4, cause=uuid.uuid4(), head="main"),
        "store a file": lambda: attachments.store(root, 1, "file", b"content"),
        "write a file": lambda: durable.write_file(root / "file", b"content"),
    }


def main() -> None:
    changes = list_changes(Path(sys.argv[1]))
    if sys.argv[2:] == ["fail"]:
        fail_every_fsync()
    outcomes = {}
    for name, change in changes.items():
        try:
            change()
        except ERRORS as error:
            outcomes[name] = f"{type(error).__name__}: {error}"
        else:
            outcomes[name] = "done"
    print(json.dumps(outcomes))


def run_changes(repo_path: Path, *arguments: str) -> dict[str, str]:
    """Run this program and return what became of each change."""
    command = [sys.executable, "-m", "tests.failing_disk", str(repo_path), *arguments]
    output = subprocess.run(command, check=True, capture_output=True).stdout
    outcomes: dict[str, str] = json.loads(output)
    return outcomes


if __name__ == "__main__":
    main()
