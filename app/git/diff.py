"""What changes between commits: counted, as one diff, and as patches to send by mail.

The git program does the work and its output is passed on as it comes, so neither a long history nor a big file is ever
held here. A file above FILE_LIMIT counts as binary, which keeps git's own memory small as well.
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
CHANGES_LIMIT = 20_000  # files that one answer lists
PATCHES_LIMIT = 2_000  # commits in one series
LAST_SECOND = 253402300799  # of the year 9999, the last that has a name
PLAIN = ("--no-ext-diff", "--no-textconv", "--no-color", "--submodule=short", "--ignore-submodules=none")


@dataclass(frozen=True)
class FileChange:
    """What happened to a file; `status` is A, D, M or R, and the ids are zeros where there is no file.

    For a submodule the ids are those of its commits. Binary files have no lines.
    """

    status: str
    old_path: str
    lines_added: int
    lines_removed: int
    new_id: str
    old_id: str


def find_base(repo_path: Path, start: str, *, alternate: Path | None = None) -> str | None:
    """What a pull-request's diff begins at: the parent of its oldest commit, None for a root. Raises NoCommit."""
    parents = commits.read(open_repository(repo_path, alternate), start).parents
    return parents[0] if parents else None


def statistics(repo_path: Path, old: str | None, new: str, *, alternate: Path | None = None) -> dict[str, FileChange]:
    """The changes from one commit to another by new path; from nothing when `old` is None.

    Raises EmptyDiff, NoCommit, and TooLarge above CHANGES_LIMIT files. Source: pull-request contract 4.5.
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
    """Path and status letter of each file that differs, renames as a D and an A; {} if none does.

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


def unified(repo_path: Path, old: str | None, new: str, *, alternate: Path | None = None) -> Iterator[bytes]:
    """One diff from one commit to another, in pieces; TooLarge in its midst above DIFF_LIMIT bytes. Raises NoCommit."""
    return _limit_size(_diff_tree(repo_path, old, new, ["-r", "-M", "-p", *PLAIN], alternate), new)


def patches(repo_path: Path, source: str, target: str | None, *, alternate: Path | None = None) -> Iterator[bytes]:
    """Each commit that leads to `source` and not to `target` as a mail, oldest first, in pieces.

    Raises TooLarge above PATCHES_LIMIT commits and, in its midst, above DIFF_LIMIT bytes; NoCommit.
    Source: pull-request contract 8.3 (`.patch`).
    """
    series = _list_commits(repo_path, source, target, alternate)
    repository = open_repository(repo_path, alternate)

    def mails() -> Iterator[bytes]:
        for number, commit_id in enumerate(series, 1):
            commit = commits.read(repository, commit_id)
            yield _mail_head(commit, f"[PATCH {number}/{len(series)}] " if len(series) > 1 else "")
            yield from _own_diff(repo_path, commit, alternate)
            yield b"\n"

    return _limit_size(mails(), source)


def patch(repo_path: Path, commit_id: str) -> Iterator[bytes]:
    """One commit as a mail. Raises NoCommit. Source: project contract 12.20 (`/raw/<ref>` without a path)."""
    repository = open_repository(repo_path)
    commit = commits.read(repository, commit_id)
    return _limit_size(chain([_mail_head(commit, "")], _own_diff(repo_path, commit, None)), commit_id)


def diffs(repo_path: Path, source: str, target: str | None, *, alternate: Path | None = None) -> Iterator[bytes]:
    """The diff of each commit that `patches` would send, one after the other. Raises as that does.

    Source: pull-request contract 8.3 (`.diff`).
    """
    series = _list_commits(repo_path, source, target, alternate)
    repository = open_repository(repo_path, alternate)
    each = (_own_diff(repo_path, commits.read(repository, commit_id), alternate) for commit_id in series)
    return _limit_size(chain.from_iterable(each), source)


def _list_commits(repo_path: Path, source: str, target: str | None, alternate: Path | None) -> list[str]:
    series: list[str] = []
    for commit_id in commits.list_ids(repo_path, source, target, alternate=alternate):
        if len(series) == PATCHES_LIMIT:
            raise TooLarge(source)
        series.append(commit_id)
    return series[::-1]


def _own_diff(repo_path: Path, commit: Commit, alternate: Path | None) -> Iterator[bytes]:
    """What a commit changes; a merge is compared with its first parent."""
    parent = commit.parents[0] if commit.parents else None
    return _diff_tree(repo_path, parent, commit.id, ["-r", "-M", "-p", *PLAIN], alternate)


def _mail_head(commit: Commit, prefix: str) -> bytes:
    seconds = min(max(commit.committer.time, 0), LAST_SECOND)
    when = datetime.fromtimestamp(seconds, UTC).strftime("%b %d %Y %H:%M:%S +0000")
    subject, _, rest = commit.message.lstrip("\n").partition("\n")
    author = f"{single_line(commit.author.name)} <{single_line(commit.author.email)}>"
    title = f"{prefix}{single_line(subject)}"
    head = f"From {commit.id} Mon Sep 17 00:00:00 2001\nFrom: {author}\nDate: {when}\nSubject: {title}\n\n"
    body = rest.strip("\n")
    return f"{head}{body}{chr(10) if body else ''}---\n\n".encode()


def _diff_tree(repo_path: Path, old: str | None, new: str, how: list[str], alternate: Path | None) -> Iterator[bytes]:
    repository = open_repository(repo_path, alternate)
    for one in (old, new):
        if one is not None:
            commits.read(repository, one)
    return stream(repo_path, "diff-tree", *how, old or EMPTY_TREE, new, "--", config=FILE_LIMIT, alternate=alternate)


def _limit_size(pieces: Iterator[bytes], subject: str) -> Iterator[bytes]:
    room = DIFF_LIMIT
    for piece in pieces:
        room -= len(piece)
        if room < 0:
            raise TooLarge(subject)
        yield piece


def _count_lines(count: bytes) -> int:
    """Git writes a dash for files without lines."""
    return 0 if count == b"-" else int(count)
