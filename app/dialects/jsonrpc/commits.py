"""Commits: their objects, and the newest one of each repository, which is remembered while its refs stay."""

from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from app.database import Row
from app.dialects.jsonrpc.dialect import Call
from app.git import commits, history, store
from app.git.commits import Commit
from app.git.errors import GitError
from app.git.objects import NOWHERE, open_repository
from app.http.keys import SETTINGS
from app.http.long_reads import LONG_READS

SHORT_ID = 12  # digits
TOO_LARGE = "This is too much for one answer; ask for fewer commits."
MAX_REMEMBERED = 20_000  # newest commits, of a kilobyte each
NO_COMMIT: Mapping[str, Any] = {
    "raw_id": NOWHERE,
    "short_id": NOWHERE[:SHORT_ID],
    "revision": -1,
    "message": "",
    "date": "1970-01-01T00:00:00",
    "author": "",
    "parents": [],
    "branch": None,
}

_newest: OrderedDict[tuple[int, str], Mapping[str, Any]] = OrderedDict()


def format_time(seconds: int) -> str:
    """Format the time of a commit in UTC, without a zone; one that no date can have is that of an empty repository."""
    with suppress(ValueError, OverflowError, OSError):
        return datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None).isoformat()
    return str(NO_COMMIT["date"])


def format_date(at: datetime) -> str:
    """Format the time of a row: milliseconds unless they are 0, and no zone."""
    local = at.astimezone(UTC).replace(tzinfo=None)
    return local.isoformat(timespec="milliseconds" if local.microsecond >= 1000 else "seconds")


def render_commit(commit: Commit, index: int, branches: Mapping[str, str]) -> dict[str, Any]:
    """Render a commit; `branches` maps heads to branches."""
    return {
        "raw_id": commit.id,
        "short_id": commit.id[:SHORT_ID],
        "revision": index,
        "message": commit.message,
        "date": format_time(commit.committer.time),
        "author": f"{commit.author.name} <{commit.author.email}>",
        "parents": [{"raw_id": parent} for parent in commit.parents],
        "branch": branches.get(commit.id),
    }


def measure(commit: Mapping[str, Any]) -> int:
    """Count the characters of the long parts of a rendered commit: its message, its files and their patches."""
    files = [path for kind in ("added", "changed", "removed") for path in commit.get(kind, ())]
    changes = commit.get("diff", ())
    patches = sum(len(change["filename"]) + len(change["raw_diff"] or "") for change in changes)
    return len(commit["message"]) + sum(map(len, files)) + patches


def repository_path(call: Call, project: Row) -> Path:
    return store.repository_path(call.request.config_dict[SETTINGS].repositories, project["project_id"])


async def find_newest(call: Call, projects: Sequence[Row]) -> list[Mapping[str, Any]]:
    """Find the newest commit of each repository. Those whose refs have changed are read, all others are remembered."""
    unknown = [row for row in projects if row["refs_version"] and _key(row) not in _newest]
    read: dict[tuple[int, str], Mapping[str, Any]] = {}
    if unknown:
        reads = call.request.config_dict[LONG_READS]
        places = [(_key(row), repository_path(call, row)) for row in unknown]
        async with reads.admit(unknown[0]["project_id"] if len(unknown) == 1 else 0):
            read = await reads.run(_read_newest, places)
    found = [
        read.get(_key(row)) or _newest.get(_key(row)) or NO_COMMIT if row["refs_version"] else NO_COMMIT
        for row in projects
    ]
    _remember(read)
    return found


def _key(row: Row) -> tuple[int, str]:
    return row["project_id"], row["refs_version"]


def _read_newest(places: Iterable[tuple[tuple[int, str], Path]]) -> dict[tuple[int, str], Mapping[str, Any]]:
    """Read the newest commits; a repository that cannot be read has none."""
    read: dict[tuple[int, str], Mapping[str, Any]] = {}
    for key, repo_path in places:
        with suppress(GitError):
            listed = history.list_commits(repo_path)
            if listed:
                newest = commits.read(open_repository(repo_path), listed[-1])
                read[key] = render_commit(newest, len(listed) - 1, {})
    return read


def _remember(read: Mapping[tuple[int, str], Mapping[str, Any]]) -> None:
    _newest.update(read)
    while len(_newest) > MAX_REMEMBERED:
        _newest.popitem(last=False)
