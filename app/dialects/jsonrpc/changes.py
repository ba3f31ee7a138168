"""What a commit changes: lists of files, and their patches."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from app.git import diff
from app.git.commits import Commit

OPS = {"A": "A", "D": "D"}  # everything else is a modification
ORDER = "AMD"
IDS = re.compile(rb"^index ([0-9a-f]{40})\.\.([0-9a-f]{40})", re.MULTILINE)
BINARY = re.compile(rb"^(?:GIT binary patch|Binary files )", re.MULTILINE)
KINDS = {"A": "added", "M": "changed", "D": "removed"}


def list_files(repo_path: Path, commit: Commit) -> dict[str, list[str]]:
    """List the files that a commit has added, changed and removed, compared to its first parent."""
    listed: dict[str, list[str]] = {kind: [] for kind in KINDS.values()}
    for path, op in _read_ops(repo_path, commit).items():
        listed[KINDS[op]].append(path)
    return listed


def _read_ops(repo_path: Path, commit: Commit) -> Mapping[str, str]:
    letters = diff.changed_files(repo_path, _first_parent(commit), commit.id)
    return {path: OPS.get(letter, "M") for path, letter in letters.items()}


def _first_parent(commit: Commit) -> str | None:
    return commit.parents[0] if commit.parents else None


def list_changes(repo_path: Path, commit: Commit, *, full: bool) -> list[dict[str, Any]]:
    """List what a commit does to each file, added ones first; with `full` ids, patch and numbers of lines."""
    if full:
        read = diff.file_patches(repo_path, _first_parent(commit), commit.id)
        changes = [_describe_patch(path, OPS.get(letter, "M"), patch) for path, letter, patch in read]
    else:
        changes = [_describe(path, op) for path, op in _read_ops(repo_path, commit).items()]
    return sorted(changes, key=lambda change: ORDER.index(change["op"]))


def _describe(path: str, op: str) -> dict[str, Any]:
    return {
        "filename": path,
        "op": op,
        "new_revision": None,
        "old_revision": None,
        "raw_diff": None,
        "stats": {"added": None, "binary": None, "deleted": None},
    }


def _describe_patch(path: str, op: str, patch: bytes) -> dict[str, Any]:
    ids = IDS.search(patch)
    old, new = (each.decode() for each in ids.groups()) if ids else (None, None)
    hunks = patch.partition(b"\n@@")[2].splitlines()
    stats = {
        "added": sum(line.startswith(b"+") for line in hunks),
        "deleted": sum(line.startswith(b"-") for line in hunks),
        "binary": bool(BINARY.search(patch)) and not hunks,
    }
    raw = patch.decode("utf-8", "replace")
    return {"filename": path, "op": op, "new_revision": new, "old_revision": old, "raw_diff": raw, "stats": stats}
