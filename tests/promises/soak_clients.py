"""Clients of the soak test, and the ledger of what they saw succeed."""

import asyncio
import itertools
from collections import defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import pygit2

from tests.conftest import Client, git
from tests.promises.cluster import Cluster
from tests.promises.persistent_clients import HttpClient, NoSuccess, new_key, push

PROJECTS = ("alpha", "beta", "gamma")
BRANCHES = 5  # branches that a pusher moves in turn
ZEROS = "0" * 40
ALICE = pygit2.Signature("Alice", "alice@example.org")
GIT_TIMEOUT, HTTP_TIMEOUT = 5.0, 10.0  # seconds for the first attempt
IN_LOG = "select count(*) from events where type = 'ref.updated' and data ->> 'new' = $1"


@dataclass
class Ledger:
    """What clients saw succeed, and what they should never have seen."""

    pushes: int = 0
    moves: dict[tuple[str, str], list[str]] = field(default_factory=lambda: defaultdict(list))
    issues: dict[str, int] = field(default_factory=dict)  # number by title
    merges: list[tuple[str, int, str]] = field(default_factory=list)  # project, pull request, commit
    forks: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


class Clients:
    """Everything that goes on at the same time."""

    def __init__(self, cluster: Cluster, folder: Path, chance: Random) -> None:
        self.cluster = cluster
        self.folder = folder
        self.chance = chance
        self.ledger = Ledger()
        self.running = True
        self._numbers = itertools.count(1)

    async def prepare(self) -> None:
        for name in PROJECTS:
            form = {"name": name, "description": "d", "create_readme": "1"}
            status, body = await self.cluster.admin.post("/new", **form)
            assert status == 200, body
            await git("clone", "-q", self.cluster.admin.git_url(name), str(self.folder / name))

    async def run(self) -> None:
        """Run until `running` is false and everything that has begun is done."""
        actions: list[Callable[[], Awaitable[None]]] = [self._open_issue, self._open_issue, self._fork]
        actions += [self._merge_into(name) for name in PROJECTS[:2]]
        async with asyncio.TaskGroup() as group:
            for index in range(4):
                group.create_task(self._push_forever(f"pusher-{index}", PROJECTS[index % len(PROJECTS)]))
            for action in actions:
                group.create_task(self._repeat(action))

    async def _repeat(self, action: Callable[[], Awaitable[None]]) -> None:
        while self.running:
            await asyncio.sleep(self.chance.uniform(0.1, 0.6))
            try:
                await action()
            except NoSuccess as fault:
                self.ledger.faults.append(str(fault))

    def _client(self, user: Client | None = None) -> HttpClient:
        client = HttpClient(self.cluster, user or self.cluster.admin, HTTP_TIMEOUT)
        client.calm.set()  # something always happens: keys of requests that have died are free again soon
        return client

    async def _push_forever(self, name: str, project: str) -> None:
        """Move a few branches, each push on top of the last one of its branch."""
        work, url = self.folder / project, self.cluster.admin.git_url(project)
        repository = pygit2.Repository(str(work))
        tips: dict[str, str] = {}
        for number in itertools.count():
            if not self.running:
                return
            ref = f"refs/heads/{name}-{number % BRANCHES}"
            tips[ref] = new = make_commit(repository, f"{name} {number}", tips.get(ref))
            try:
                await push(work, url, f"{new}:{ref}", first_timeout=GIT_TIMEOUT)
            except NoSuccess as fault:
                self.ledger.faults.append(f"{project} {ref}: {fault}")
                return
            self.ledger.pushes += 1
            self.ledger.moves[project, ref].append(new)
            if await self.cluster.query(IN_LOG, new) != 1:
                self.ledger.faults.append(f"{project} {ref}: {new} is not in the log after the push")

    async def _open_issue(self) -> None:
        """Open an issue, with an idempotency key every second time."""
        number = next(self._numbers)
        title, project = f"issue {number}", self.chance.choice(PROJECTS)
        key = new_key() if number % 2 else ""
        opened = await self._client().post(
            f"/api/0/{project}/new_issue", {"title": title, "issue_content": "c"}, key=key
        )
        self.ledger.issues[f"{project} {title}"] = opened["issue"]["id"]
        if opened["issue"]["title"] != title:
            self.ledger.faults.append(f"{title} was answered with {opened['issue']['title']}")

    async def _fork(self) -> None:
        name, project = f"user-{next(self._numbers)}", self.chance.choice(PROJECTS)
        await self._client().post("/v1/users", {"username": name, "email": f"{name}@example.org"}, exists=True)
        issued = await self._client().post(f"/v1/users/{name}/tokens", {"description": "soak"})
        user = self._client(Client(self.cluster, issued["token"], name))  # type: ignore[arg-type]
        await user.post("/api/0/fork", {"repo": project, "wait": "1"}, key=new_key())
        self.ledger.forks.append(f"fork/{name}/{project}")

    def _merge_into(self, project: str) -> Callable[[], Awaitable[None]]:
        work, url = self.folder / project, self.cluster.admin.git_url(project)

        async def merge() -> None:
            branch = f"change-{next(self._numbers)}"
            repository = pygit2.Repository(str(work))
            commit = make_commit(repository, branch, str(repository.references["refs/remotes/origin/main"].target))
            await push(work, url, f"{commit}:refs/heads/{branch}", first_timeout=GIT_TIMEOUT)
            self.ledger.moves[project, f"refs/heads/{branch}"].append(commit)
            form = {"title": branch, "branch_to": "main", "branch_from": branch}
            opened = await self._client().post(f"/api/0/{project}/pull-request/new", form, key=new_key())
            path = f"/api/0/{project}/pull-request/{opened['id']}/merge"
            await self._client().post(path, {"wait": "1"}, key=new_key())
            self.ledger.merges.append((project, opened["id"], commit))

        return merge


def make_commit(repository: pygit2.Repository, text: str, parent: str | None) -> str:
    """Make a commit with one more file, without any work tree."""
    tree = repository.get(parent).peel(pygit2.Tree) if parent else None
    builder = repository.TreeBuilder(tree) if tree else repository.TreeBuilder()
    builder.insert(text.replace(" ", "-"), repository.create_blob(text.encode()), pygit2.enums.FileMode.BLOB)
    made = repository.create_commit(None, ALICE, ALICE, text, builder.write(), [parent] if parent else [])
    return str(made)
