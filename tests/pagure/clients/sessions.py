"""Helpers for client libraries that are not asynchronous."""

import asyncio
import functools
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from tests.conftest import Client, Forge, commit, git


def session(story: Callable[..., None]) -> Callable[..., Awaitable[None]]:
    """Run a synchronous test in a thread, beside the forge's event loop."""

    @functools.wraps(story)
    async def run_story(**fixtures: Any) -> None:
        await asyncio.to_thread(story, **fixtures)

    return run_story


def wait_for_workers(forge: Forge) -> None:
    """Wait, in such a thread, until the workers have done all that was asked of them."""
    asyncio.run_coroutine_threadsafe(forge.idle(), forge.loop).result(30)


class Checkout:
    """A work tree for use in the same thread."""

    def __init__(self, url: str, repo_path: Path, who: Client) -> None:
        self.repo_path = repo_path
        asyncio.run(git("clone", "-q", url.replace("://", f"://{who.name}:{who.token}@", 1), str(repo_path)))

    def git(self, *arguments: str, fails: bool = False) -> str:
        return asyncio.run(git(*arguments, cwd=self.repo_path, fails=fails)).strip()

    def push(self, branch: str, name: str, text: str) -> str:
        """Commit a file to the branch, push it and return the commit's id."""
        self.git("checkout", "-q", "-B", branch)
        (self.repo_path / name).parent.mkdir(parents=True, exist_ok=True)
        made = asyncio.run(commit(self.repo_path, name, text))
        self.git("push", "-q", "origin", f"HEAD:{branch}")
        return made
