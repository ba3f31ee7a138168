"""Differences between commits: per-file statistics, diffs, and patches in mail format.

What differs is counted before git is asked to compare (app/git/extent.py), and the output of git is passed on as it
arrives, so neither a long history nor a large file is held in memory. A series of commits is one run of git.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pygit2

from app.git import commits, extent
from app.git.commits import Commit
from app.git.errors import EmptyDiff, TooLarge
from app.git.extent import Allowance
from app.git.objects import EMPTY_TREE, open_repository
from app.git.process import split_records, stream
from app.git.text import decode, single_line

FILE_LIMIT = {"core.bigFileThreshold": "16m"}  # a larger file counts as binary
CONTENT_LIMIT = 64 << 20  # bytes of the files, old and new, that one diff or one series of patches may change
SPLIT_LIMIT = 16 << 20  # bytes of one diff that is split into files
DIFF_LIMIT = 256 << 20  # bytes of one diff or one series of patches
CHANGES_LIMIT = 20_000  # changed files in one result
PATCHES_LIMIT = 2_000  # commits in one series
LAST_SECOND = 253402300799  # of the year 9999, the last one that datetime knows
MESSAGES_LIMIT = 8 << 20  # bytes of commit messages in one series
MARK_SIZE = 42  # bytes of an object id between two line ends
PLAIN = ("--no-ext-diff", "--no-textconv", "--no-color", "--submodule=short", "--ignore-submodules=none")
SHOWN = ("-r", "-M", "-p", "--binary", *PLAIN)


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
        _diff_tree(repo_path, old, new, ("-r", "-z", "--no-renames", "--name-status", *PLAIN), None), b"\0"
    )
    found: dict[str, str] = {}
    for letter in fields:
        if len(found) >= CHANGES_LIMIT:
            raise TooLarge(new)
        found[decode(next(fields))] = letter.decode()
    return found


def file_patches(repo_path: Path, old: str | None, new: str) -> Iterator[tuple[str, str, bytes]]:
    """Return path, status letter and patch of each file that differs, with full ids; a change of type has two patches
    in one. Raises the same errors as `changed_files`, and TooLarge above SPLIT_LIMIT bytes.
    """
    files = changed_files(repo_path, old, new)
    options = ("-r", "-p", "--binary", "--full-index", "--no-renames", *PLAIN)
    chunks = _limit_size(_diff_tree(repo_path, old, new, options, None), new, SPLIT_LIMIT)
    sections = iter(_split_patches(b"".join(chunks)))
    for path, letter in files.items():
        patch = next(sections, b"")
        yield path, letter, patch + next(sections, b"") if letter == "T" else patch


def _split_patches(text: bytes) -> list[bytes]:
    """Split before each line that begins a patch, which no line within one does."""
    parts = re.split(rb"^(?=diff --git )", text, flags=re.MULTILINE)
    return [part for part in parts if part]


def patches(repo_path: Path, source: str, target: str | None, *, alternate: Path | None = None) -> Iterator[bytes]:
    """Render the commits that are reachable from `source` and not from `target` as mails, oldest first, in chunks.

    As in `git format-patch --binary`, merges and commits that change no files are left out. Raises NoCommit, TooLarge
    above PATCHES_LIMIT commits, CHANGES_LIMIT files, CONTENT_LIMIT bytes in these or MESSAGES_LIMIT bytes of messages
    and, during iteration, above DIFF_LIMIT bytes. Source: pull-request contract 8.3 (`.patch`).
    """
    series = _list_steps(repo_path, source, target, alternate)
    shown = [step for step in series if not step.merges and step.changes]
    return _render_mails(repo_path, shown, source, alternate)


def patch(repo_path: Path, commit_id: str) -> Iterator[bytes]:
    """Render one commit as a mail, with its changes since its first parent. Raises NoCommit and TooLarge.

    Source: project contract 12.20 (`/raw/<ref>` without a path).
    """
    step = _read_step(open_repository(repo_path), commit_id)
    return _render_mails(repo_path, [step], commit_id, None)


def diffs(repo_path: Path, source: str, target: str | None, *, alternate: Path | None = None) -> Iterator[bytes]:
    """Compare `source` with where it left `target`, which is what the commits that `patches` renders change together.

    Their own diffs, one after the other, would not apply: git takes the second change of a file for one of the file as
    it was before the first. Raises NoCommit, TooLarge above CHANGES_LIMIT files or CONTENT_LIMIT bytes in them and,
    during iteration, above DIFF_LIMIT bytes. Source: pull-request contract 8.3 (`.diff`).
    """
    base = commits.merge_base(repo_path, source, target, alternate=alternate) if target else None
    allowance = Allowance(CHANGES_LIMIT, CONTENT_LIMIT)
    return _limit_size(_diff_tree(repo_path, base, source, SHOWN, alternate, allowance), source)


@dataclass(frozen=True)
class _Step:
    """A commit of a series: its first parent, whether it merges, whether it changes files, bytes of its message."""

    id: str
    parent: str | None
    merges: bool
    changes: bool
    message_size: int


def _list_steps(repo_path: Path, source: str, target: str | None, alternate: Path | None) -> list[_Step]:
    repository = open_repository(repo_path, alternate)
    series: list[_Step] = []
    for commit_id in commits.list_ids(repo_path, source, target, alternate=alternate):
        if len(series) == PATCHES_LIMIT:
            raise TooLarge(source)
        series.append(_read_step(repository, commit_id))
    return series[::-1]


def _read_step(repository: pygit2.Repository, commit_id: str) -> _Step:
    commit = commits.load(repository, commit_id)
    parents = [str(parent) for parent in commit.parent_ids]
    before = extent.tree_of(repository, parents[0]) if parents else EMPTY_TREE
    return _Step(
        commit_id,
        parents[0] if parents else None,
        merges=len(parents) > 1,
        changes=str(before) != str(commit.tree_id),
        message_size=len(commit.raw_message),
    )


def _require_showable(repo_path: Path, series: list[_Step], subject: str, alternate: Path | None) -> None:
    """Raise TooLarge if the messages of these commits or the files that they change are too large to be shown."""
    repository, allowance = open_repository(repo_path, alternate), Allowance(CHANGES_LIMIT, CONTENT_LIMIT)
    sizes = [step.message_size for step in series]
    if sum(sizes) > MESSAGES_LIMIT or max(sizes, default=0) > commits.MESSAGE_LIMIT:
        raise TooLarge(subject)
    for step in series:
        before = extent.tree_of(repository, step.parent) if step.parent else None
        extent.count_changes(repository, before, extent.tree_of(repository, step.id), allowance)


def _render_mails(repo_path: Path, series: list[_Step], subject: str, alternate: Path | None) -> Iterator[bytes]:
    _require_showable(repo_path, series, subject, alternate)
    repository = open_repository(repo_path, alternate)

    def render() -> Iterator[bytes]:
        begun = 0
        for number, piece in _diff_steps(repo_path, series, alternate):
            if number > begun:
                prefix = f"[PATCH {number}/{len(series)}] " if len(series) > 1 else ""
                head = _render_mail_head(commits.read(repository, series[number - 1].id), prefix)
                yield b"\n" + head if begun else head
                begun = number
            yield piece
        if len(series) > 1:
            yield b"\n"

    return _limit_size(render(), subject)


def _diff_steps(repo_path: Path, series: list[_Step], alternate: Path | None) -> Iterator[tuple[int, bytes]]:
    """Compare each commit with its first parent, in one run of git. Yields pieces with the number of their commit."""
    if not series:
        return
    # Git precedes each diff with the id of the commit, in a line that no diff can contain.
    lines = "".join(f"{step.id} {step.parent}\n" if step.parent else f"{step.id}\n" for step in series)
    options = ["--stdin", "--root", "--always", *SHOWN]
    output = stream(repo_path, "diff-tree", *options, stdin=lines.encode(), config=FILE_LIMIT, alternate=alternate)
    with closing(output):
        yield from _split_at(output, [f"\n{step.id}\n".encode() for step in series])


def _split_at(chunks: Iterator[bytes], marks: list[bytes]) -> Iterator[tuple[int, bytes]]:
    """Split at these marks, which come in this order, the first one at the beginning without its line end.

    Yields at least one piece for each mark, with the number of the mark.
    """
    number, rest, begin = 0, b"\n", 1  # `begin` skips the line end that the next mark may share with the last one
    for chunk in chunks:
        rest += chunk
        while number < len(marks) and (found := rest.find(marks[number])) >= 0:
            if number:
                yield number, rest[begin : found + 1]
            rest, begin = rest[found + len(marks[number]) - 1 :], 1
            number += 1
        if (done := len(rest) - MARK_SIZE) > 0:
            yield number, rest[begin:done]
            rest, begin = rest[done:], 0
    yield number, rest[begin:]


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
    repo_path: Path,
    old: str | None,
    new: str,
    options: Sequence[str],
    alternate: Path | None,
    allowance: Allowance | None = None,
) -> Iterator[bytes]:
    """Compare two commits, None being the empty tree. Raises NoCommit, and TooLarge if more differs than allowed."""
    repository = open_repository(repo_path, alternate)
    before = None if old is None else commits.load(repository, old).tree_id
    after = commits.load(repository, new).tree_id
    extent.count_changes(repository, before, after, allowance or Allowance(CHANGES_LIMIT))
    return stream(
        repo_path, "diff-tree", *options, old or EMPTY_TREE, new, "--", config=FILE_LIMIT, alternate=alternate
    )


def _limit_size(chunks: Iterator[bytes], subject: str, limit: int | None = None) -> Iterator[bytes]:
    remaining = DIFF_LIMIT if limit is None else limit
    for chunk in chunks:
        remaining -= len(chunk)
        if remaining < 0:
            raise TooLarge(subject)
        yield chunk


def _count_lines(count: bytes) -> int:
    """Parse a count of --numstat, which is a dash for a binary file."""
    return 0 if count == b"-" else int(count)
