"""Helpers for tests of pull requests from a fork."""

import asyncio
import uuid
from pathlib import Path
from typing import Any

from app.actor import Actor
from app.core import commands
from app.core.projects import ConfigureProject
from tests.conftest import Client, Forge, commit, git

KEYS = {
    "assignee", "branch", "branch_from", "cached_merge_status", "closed_at", "closed_by", "comments", "commit_start",
    "commit_stop", "date_created", "full_url", "id", "initial_comment", "last_updated", "project", "remote_git",
    "repo_from", "status", "tags", "threshold_reached", "title", "uid", "updated_on", "user",
}  # fmt: skip


async def push_commit(work: Path, branch: str, name: str) -> str:
    """Push a new commit to the branch and return its id."""
    await git("checkout", "-q", "-B", branch, cwd=work)
    made = await commit(work, name)
    await git("push", "-q", "origin", f"HEAD:{branch}", cwd=work)
    return made


async def create_branch(client: Client, name: str = "still", path: str = "/nethack") -> None:
    """Create a branch where the default branch is; a pull request from it has no commits."""
    status, body = await client.post(f"{path}/git/branch", branch=name)
    assert status == 200, body


async def open_pull_request(client: Client, **form: Any) -> Any:
    body = {
        "title": "Add one", "branch_to": "main", "branch_from": "topic", "repo_from": "nethack",
        "repo_from_username": "bob", **form,
    }  # fmt: skip
    status, found = await client.post("/nethack/pull-request/new", **body)
    assert status == 200, found
    return found


async def wait_for_pull_request(client: Client, number: int, name: str, value: Any) -> Any:
    """Wait until a field of the pull request has this value."""
    async with asyncio.timeout(15):
        while True:
            _, found = await client.pagure(f"/nethack/pull-request/{number}")
            if found[name] == value:
                return found
            await asyncio.sleep(0.05)


async def configure_project(forge: Forge, client: Client, **settings: Any) -> None:
    project = (await client.pagure("/nethack"))[1]["id"]
    command = ConfigureProject(project_id=project, settings=settings)
    await commands.execute(forge.db, Actor("alice"), command, command_id=uuid.uuid4())
