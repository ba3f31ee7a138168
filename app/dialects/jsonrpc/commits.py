"""Commits as objects of answers."""

from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from app.database import Row
from app.dialects.jsonrpc.dialect import Call
from app.git import store
from app.git.commits import Commit
from app.git.objects import NOWHERE
from app.http.keys import SETTINGS

SHORT_ID = 12  # digits
TOO_LARGE = "This is too much for one answer; ask for fewer commits."
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
