"""People who open issues, make projects, push and watch tasks, and who remember what was acknowledged."""

import asyncio
import os
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from tests.conftest import commit, git
from tests.promises.parts import Parts, until

PATIENCE = 20.0  # seconds that no answer may take
FINAL = {"succeeded", "failed", "cancelled"}


class Load:
    """Every answer is of success, or a well-formed 503, or none at all because its process has died."""

    def __init__(self, parts: Parts, work: Path, pause: float) -> None:
        self.parts = parts
        self.pause = pause
        self.work = work
        self.going = True
        self.issues: list[int] = []
        self.tasks: list[str] = []
        self.branches: dict[str, str] = {}
        self.unavailable = 0
        self.unanswered = 0

    async def ask(self, method: str, path: str, form: dict[str, str] | None = None) -> Any:
        """The body of an answer of success; None for any other."""
        began = time.monotonic()
        headers = {"Authorization": f"token {self.parts.admin.token}"}
        try:
            async with self.parts.session.request(method, self.parts.url + path, data=form, headers=headers) as answer:
                body = await answer.json(content_type=None)
        except aiohttp.ClientError:
            self.unanswered += 1
            await asyncio.sleep(0.05)
            return None
        finally:
            assert time.monotonic() - began < PATIENCE
        if answer.status == 200:
            return body
        assert (answer.status, answer.headers.get("Retry-After")) == (503, "1"), body
        if path.startswith("/api/0"):
            assert answer.content_type == "application/json"
            assert (body["error_code"], "database" in body["error"]) == ("EDBERROR", True)
        else:
            assert answer.content_type == "application/problem+json"
            assert (body["type"], body["status"]) == ("/problems/unavailable", 503)
        self.unavailable += 1
        await asyncio.sleep(0.05)
        return None

    async def open_issue(self, n: int) -> None:
        opened = await self.ask("POST", "/api/0/nethack/new_issue", {"title": f"t{n}", "issue_content": "c"})
        if opened:
            self.issues.append(opened["issue"]["id"])
        await asyncio.sleep(self.pause)

    async def make_project(self, n: int) -> None:
        queued = await self.ask("POST", "/api/0/new", {"name": f"p{n}", "description": "d", "wait": "0"})
        if queued:
            self.tasks.append(queued["taskid"])
        await asyncio.sleep(self.pause * 10)

    async def watch_task(self, n: int) -> None:
        if self.tasks:
            await self.ask("GET", f"/v1/tasks/{self.tasks[-1]}?wait=5")
        await asyncio.sleep(0.05)

    async def push(self, n: int) -> None:
        made = await commit(self.work, f"file-{n}")
        url = self.parts.admin.git_url("nethack")
        arguments = ["git", "push", "-q", url, f"HEAD:refs/heads/b{n}"]
        environment = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_TERMINAL_PROMPT": "0"}
        pushing = await asyncio.create_subprocess_exec(
            *arguments, cwd=self.work, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        async with asyncio.timeout(PATIENCE):
            if await pushing.wait() == 0:
                self.branches[f"b{n}"] = made
        await asyncio.sleep(self.pause * 10)

    async def keep(self, doing: Callable[[int], Awaitable[None]]) -> None:
        n = 0
        while self.going:
            n += 1
            await doing(n)

    async def nothing_is_lost(self) -> None:
        """Whatever was acknowledged is there, in whole numbers, and every task has ended."""
        numbers: list[int] = []
        page, pages = 1, 1
        while page <= pages:
            _, listing = await self.parts.admin.pagure(f"/nethack/issues?status=all&per_page=100&page={page}")
            numbers += [issue["id"] for issue in listing["issues"]]
            page, pages = page + 1, listing["pagination"]["pages"]
        assert sorted(numbers) == list(range(1, len(numbers) + 1))
        assert len(self.issues) == len(set(self.issues))
        assert set(self.issues) <= set(numbers)
        for task in self.tasks:
            assert (await self.parts.admin.get(f"/v1/tasks/{task}?wait=50"))[1]["status"] == "succeeded"
        _, listing = await self.parts.admin.pagure("/nethack/git/branches?with_commits=1")
        assert self.branches.items() <= listing["branches"].items()
        await self._settled()
        await self.parts.doctor()

    async def _settled(self) -> None:
        """Every event is numbered, every piece of work done, every push that nobody finished looked at."""

        async def nothing_is_open() -> bool:
            open = await self.parts.db.fetchval(
                """
                select (select count(*) from events) - (select count(*) from numbers)
                     + (select count(*) from work where done_at is null) + (select count(*) from open_pushes)
                """
            )
            return bool(open == 0)

        await until(nothing_is_open, 30)
        made = "select count(*), count(distinct command_id) from events where type = 'repository.created'"
        answers, causes = await self.parts.db.fetchrow(made)
        assert answers == causes


@asynccontextmanager
async def load(parts: Parts, work: Path, pause: float = 0.01) -> AsyncIterator[Load]:
    """The load, for as long as the block runs."""
    made = await parts.admin.post("/new", name="nethack", description="d", create_readme="1")
    assert made[0] == 200, made
    await git("clone", "-q", f"{parts.url}/nethack.git", str(work))
    people = Load(parts, work, pause)
    doings = [people.open_issue, people.open_issue, people.make_project, people.watch_task, people.push]
    tasks = [asyncio.create_task(people.keep(doing)) for doing in doings]
    try:
        yield people
    finally:
        people.going = False
        done = await asyncio.gather(*tasks, return_exceptions=True)
    for failure in done:
        if failure is not None:
            raise failure
