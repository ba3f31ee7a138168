"""A load of issues, projects, pushes and task polls that remembers what the forge acknowledged."""

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
from tests.promises.parts import Parts, wait_until

MAX_ANSWER_SECONDS = 20.0
FINAL = {"succeeded", "failed", "cancelled"}


class Load:
    """The load and its record. Each answer must be a success or a well-formed 503; none comes if a process dies."""

    def __init__(self, parts: Parts, work: Path, pause: float) -> None:
        self.parts = parts
        self.pause = pause
        self.work = work
        self.running = True
        self.issues: list[int] = []
        self.tasks: list[str] = []
        self.branches: dict[str, str] = {}
        self.unavailable = 0
        self.unanswered = 0

    async def ask(self, method: str, path: str, form: dict[str, str] | None = None) -> Any:
        """Send a request and return the body of a successful answer; None for any other."""
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
            assert time.monotonic() - began < MAX_ANSWER_SECONDS
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

    async def open_issue(self, number: int) -> None:
        opened = await self.ask("POST", "/api/0/nethack/new_issue", {"title": f"t{number}", "issue_content": "c"})
        if opened:
            self.issues.append(opened["issue"]["id"])
        await asyncio.sleep(self.pause)

    async def create_project(self, number: int) -> None:
        queued = await self.ask("POST", "/api/0/new", {"name": f"p{number}", "description": "d", "wait": "0"})
        if queued:
            self.tasks.append(queued["taskid"])
        await asyncio.sleep(self.pause * 10)

    async def poll_task(self, number: int) -> None:
        if self.tasks:
            await self.ask("GET", f"/v1/tasks/{self.tasks[-1]}?wait=5")
        await asyncio.sleep(0.05)

    async def push(self, number: int) -> None:
        sha = await commit(self.work, f"file-{number}")
        url = self.parts.admin.git_url("nethack")
        arguments = ["git", "push", "-q", url, f"HEAD:refs/heads/b{number}"]
        environment = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_TERMINAL_PROMPT": "0"}
        process = await asyncio.create_subprocess_exec(
            *arguments, cwd=self.work, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        async with asyncio.timeout(MAX_ANSWER_SECONDS):
            if await process.wait() == 0:
                self.branches[f"b{number}"] = sha
        await asyncio.sleep(self.pause * 10)

    async def repeat(self, action: Callable[[int], Awaitable[None]]) -> None:
        number = 0
        while self.running:
            number += 1
            await action(number)

    async def check_nothing_is_lost(self) -> None:
        """Check that everything acknowledged exists, that issue numbers have no gaps, and that every task succeeded."""
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
        await self._wait_until_settled()
        await self.parts.run_doctor()

    async def _wait_until_settled(self) -> None:
        """Wait until all events are numbered, all work is done and all interrupted pushes are reconciled; then check
        that each repository was created once.
        """

        async def nothing_is_open() -> bool:
            count = await self.parts.db.fetchval(
                """
                select (select count(*) from events) - (select count(*) from numbers)
                     + (select count(*) from work where done_at is null) + (select count(*) from open_pushes)
                """
            )
            return bool(count == 0)

        await wait_until(nothing_is_open, 30)
        created, commands = await self.parts.db.fetchrow(
            "select count(*), count(distinct command_id) from events where type = 'repository.created'"
        )
        assert created == commands


@asynccontextmanager
async def run_load(parts: Parts, work: Path, pause: float = 0.01) -> AsyncIterator[Load]:
    """Run the load for the length of a block. `work` is where it puts its clone."""
    created = await parts.admin.post("/new", name="nethack", description="d", create_readme="1")
    assert created[0] == 200, created
    await git("clone", "-q", f"{parts.url}/nethack.git", str(work))
    load = Load(parts, work, pause)
    actions = [load.open_issue, load.open_issue, load.create_project, load.poll_task, load.push]
    tasks = [asyncio.create_task(load.repeat(action)) for action in actions]
    try:
        yield load
    finally:
        load.running = False
        results = await asyncio.gather(*tasks, return_exceptions=True)
    for failure in results:
        if failure is not None:
            raise failure
