"""The newest commit of each repository, which is remembered while its refs stay."""

from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from app.database import Row
from app.dialects.jsonrpc.commits import NO_COMMIT, render_commit, repository_path
from app.dialects.jsonrpc.dialect import Call
from app.git import commits, history
from app.git.errors import GitError
from app.git.objects import open_repository
from app.http.long_reads import LONG_READS
from app.queries import refs

Shown = Mapping[str, Any]

MAX_SIZE = 32 << 20  # approximate bytes of all remembered commits
ENTRY_SIZE = 1500  # approximate bytes of a commit without its message and author


class NewestCommits:
    """Newest commits as they are shown, one of each repository, with the version of the refs that they were read at.

    Those that have not been asked for the longest are forgotten first.
    """

    def __init__(self, max_size: int = MAX_SIZE) -> None:
        self.max_size = max_size
        self.size = 0
        self._entries: OrderedDict[int, tuple[str, Shown]] = OrderedDict()

    def find(self, project_id: int, version: str) -> Shown | None:
        known, commit = self._entries.get(project_id, ("", None))
        if commit is None or known != version:
            return None
        self._entries.move_to_end(project_id)
        return commit

    def remember(self, project_id: int, version: str, commit: Shown) -> None:
        replaced = self._entries.pop(project_id, None)
        self.size -= _measure(replaced[1]) if replaced else 0
        self._entries[project_id] = version, commit
        self.size += _measure(commit)
        while self.size > self.max_size:
            _, (_, forgotten) = self._entries.popitem(last=False)
            self.size -= _measure(forgotten)


def _measure(commit: Shown) -> int:
    return ENTRY_SIZE + len(commit["message"]) + len(commit["author"])


newest_commits = NewestCommits()


async def find_newest(call: Call, projects: Sequence[Row]) -> list[Shown]:
    """Find the newest commit of each repository, as its refs are in the log. Raises Busy."""
    known = {
        row["project_id"]: newest_commits.find(row["project_id"], row["refs_version"])
        for row in projects
        if row["refs_version"]
    }
    unknown = [row for row in projects if row["project_id"] in known and known[row["project_id"]] is None]
    if unknown:
        # What is read belongs to these refs, and not to those that the rows of the projects were read with.
        tips = await refs.list_tips(call.db, [row["project_id"] for row in unknown])
        places = [(each["project_id"], repository_path(call, each), each["objects"]) for each in tips]
        reads = call.request.config_dict[LONG_READS]
        async with reads.admit(unknown[0]["project_id"] if len(unknown) == 1 else 0):
            read = await reads.run(_read_newest, places)
        for each in tips:
            if each["project_id"] in read:
                newest_commits.remember(each["project_id"], each["version"], read[each["project_id"]])
        known.update(read)
    return [known.get(row["project_id"]) or NO_COMMIT for row in projects]


def _read_newest(places: Iterable[tuple[int, Path, Sequence[str]]]) -> dict[int, Shown]:
    """Read the newest commits that these objects lead to; a repository that cannot be read has none."""
    read: dict[int, Shown] = {}
    for project_id, repo_path, objects in places:
        with suppress(GitError):
            listed = history.list_commits(repo_path, objects)
            if listed:
                newest = commits.read(open_repository(repo_path), listed[-1])
                read[project_id] = render_commit(newest, len(listed) - 1, {})
    return read
