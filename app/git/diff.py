"""Differences between commits: per-file statistics, diffs, and patches in mail format.

The output of git is passed on as it arrives, so neither a long history nor a large file is held in memory. A file above
FILE_LIMIT counts as binary, which bounds the memory of git itself as well.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path

from app.git import commits
from app.git.commits import Commit
from app.git.errors import EmptyDiff, TooLarge
from app.git.objects import EMPTY_TREE, open_repository
from app.git.process import split_records, stream
from app.git.text import decode, single_line

FILE_LIMIT = {"core.bigFileThreshold": "16m"}
DIFF_LIMIT = 256 << 20  # bytes of one diff or one series of patches
CHANGES_LIMIT = 20_000  # changed files in one result
PATCHES_LIMIT = 2_000  # commits in one series
LAST_SECOND = 253402300799  # of the year 9999, the last one that datetime knows
PLAIN = ("--no-ext-diff", "--no-textconv", "--no-color", "--submodule=short", "--ignore-submodules=none")


@dataclass(frozen=True)
class FileChange:
    """A changed file; `status` is A, D, M or R, and an id is all zeros where the file does not exist.

    The ids of a submodule are commit ids. Line counts of binary files are 0.
    """

    status: str
    old_path: str
    lines_added: int
    lines_removed: int
    new_id: str
    old_id: str


def find_base(repo_path: Path, start: str, *, alternate: Path | None = None) -> str | None:
    """Find the base of a pull-request's diff: the parent of its oldest commit, None for a root. Raises NoCommit."""
    parents = commits.read(open_repository(repo_path, alternate), start).parents
    return parents[0] if parents else None


def statistics(repo_path: Path, old: str | None, new: str, *, alternate: Path | None = None) -> dict[str, FileChange]:
    """Return the changed files between two commits by new path; `old` None compares with the empty tree.

    Raises EmptyDiff if there are none, NoCommit, and TooLarge above CHANGES_LIMIT files.
    Source: pull-request contract 4.5.
    """
    arguments = ["-r", "-M", "-z", "--raw", "--numstat", "--no-abbrev", *PLAIN]
    fields = split_records(_diff_tree(repo_path, old, new, arguments, alternate), b"\0")
    heads: dict[bytes, tuple[str, bytes, str, str]] = {}
    found: dict[str, FileChange] = {}
    for field in fields:
        if len(heads) > CHANGES_LIMIT:
            raise TooLarge(new)
        if field.startswith(b":"):
            _, _, old_id, new_id, status = field.decode().split(" ")
            source = next(fields)
            path = next(fields) if status.startswith("R") else source
            heads[path] = (status[0], source, old_id, new_id)
            continue
        added, removed, name = field.split(b"\t", 2)
        path = name or (next(fields), next(fields))[1]
        letter, source, old_id, new_id = heads[path]
        found[decode(path)] = FileChange(
            "M" if letter == "T" else letter, decode(source), _count_lines(added), _count_lines(removed), new_id, old_id
        )
    if not found:
        raise EmptyDiff(new)
    return found


def changed_files(repo_path: Path, old: str | None, new: str) -> dict[str, str]:
    """Return path and status letter of each file that differs; a rename is a D and an A.

    Raises NoCommit, and TooLarge above CHANGES_LIMIT files. Source: project contract 11.5.
    """
    fields = split_records(
        _diff_tree(repo_path, old, new, ["-r", "-z", "--no-renames", "--name-status", *PLAIN], None), b"\0"
    )
    found: dict[str, str] = {}
    for letter in fields:
        if len(found) >= CHANGES_LIMIT:
            raise TooLarge(new)
        found[decode(next(fields))] = letter.decode()
    return found


def patches(repo_path: Path, source: str, target: str | None, *, alternate: Path | None = None) -> Iterator[bytes]:
    """Render each commit that is reachable from `source` and not from `target` as a mail, oldest first, in chunks.

    Raises TooLarge above PATCHES_LIMIT commits and, during iteration, above DIFF_LIMIT bytes; NoCommit.
    Source: pull-request contract 8.3 (`.patch`).
    """
    series = _list_commits(repo_path, source, target, alternate)
    repository = open_repository(repo_path, alternate)

    def render_mails() -> Iterator[bytes]:
        for number, commit_id in enumerate(series, 1):
            commit = commits.read(repository, commit_id)
            yield _render_mail_head(commit, f"[PATCH {number}/{len(series)}] " if len(series) > 1 else "")
            yield from _diff_commit(repo_path, commit, alternate)
            yield b"\n"

    return _limit_size(render_mails(), source)


def patch(repo_path: Path, commit_id: str) -> Iterator[bytes]:
    """Render one commit as a mail. Raises NoCommit. Source: project contract 12.20 (`/raw/<ref>` without a path)."""
    repository = open_repository(repo_path)
    commit = commits.read(repository, commit_id)
    return _limit_size(chain([_render_mail_head(commit, "")], _diff_commit(repo_path, commit, None)), commit_id)


def diffs(repo_path: Path, source: str, target: str | None, *, alternate: Path | None = None) -> Iterator[bytes]:
    """Return the diffs of the commits that `patches` renders, one after the other. Raises the same errors.

    Source: pull-request contract 8.3 (`.diff`).
    """
    series = _list_commits(repo_path, source, target, alternate)
    repository = open_repository(repo_path, alternate)
    own_diffs = (_diff_commit(repo_path, commits.read(repository, commit_id), alternate) for commit_id in series)
    return _limit_size(chain.from_iterable(own_diffs), source)


def _list_commits(repo_path: Path, source: str, target: str | None, alternate: Path | None) -> list[str]:
    series: list[str] = []
    for commit_id in commits.list_ids(repo_path, source, target, alternate=alternate):
        if len(series) == PATCHES_LIMIT:
            raise TooLarge(source)
        series.append(commit_id)
    return series[::-1]


def _diff_commit(repo_path: Path, commit: Commit, alternate: Path | None) -> Iterator[bytes]:
    """Compare a commit with its first parent."""
    parent = commit.parents[0] if commit.parents else None
    return _diff_tree(repo_path, parent, commit.id, ["-r", "-M", "-p", *PLAIN], alternate)


def _render_mail_head(commit: Commit, prefix: str) -> bytes:
    seconds = min(max(commit.committer.time, 0), LAST_SECOND)
    date = datetime.fromtimestamp(seconds, UTC).strftime("%b %d %Y %H:%M:%S +0000")
    subject, _, rest = commit.message.lstrip("\n").partition("\n")
    author = f"{single_line(commit.author.name)} <{single_line(commit.author.email)}>"
    title = f"{prefix}{single_line(subject)}"
    head = f"From {commit.id} Mon Sep 17 00:00:00 2001\nFrom: {author}\nDate: {date}\nSubject: {title}\n\n"
    body = rest.strip("\n")
    return f"{head}{body}{chr(10) if body else ''}---\n\n".encode()


def _diff_tree(
    repo_path: Path, old: str | None, new: str, options: list[str], alternate: Path | None
) -> Iterator[bytes]:
    repository = open_repository(repo_path, alternate)
    for commit_id in (old, new):
        if commit_id is not None:
            commits.read(repository, commit_id)
    return stream(
        repo_path, "diff-tree", *options, old or EMPTY_TREE, new, "--", config=FILE_LIMIT, alternate=alternate
    )


def _limit_size(chunks: Iterator[bytes], subject: str) -> Iterator[bytes]:
    remaining = DIFF_LIMIT
    for chunk in chunks:
        remaining -= len(chunk)
        if remaining < 0:
            raise TooLarge(subject)
        yield chunk


def _count_lines(count: bytes) -> int:
    """Parse a count of --numstat, which is a dash for a binary file."""
    return 0 if count == b"-" else int(count)
