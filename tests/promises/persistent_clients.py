"""Clients that try again, as git's users and HTTP clients do, until they have an answer that tells of success."""

import asyncio
import os
import signal
import time
import uuid
from contextlib import suppress
from pathlib import Path
from typing import Any

import aiohttp

from tests.conftest import Client, git
from tests.promises.cluster import Cluster

PATIENCE = 180.0  # seconds until a client gives up; each attempt may be struck
FIRST_TIMEOUT = 1.0  # seconds for the first attempt; the next ones get twice as many each
PAUSE = 0.05  # seconds between attempts
AGE_KEYS = "update idempotency_keys set at = at - interval '1 minute' where status is null"


class NoSuccess(AssertionError):
    """The client has given up, or has had an answer that says anything but success."""


class HttpClient:
    """Sends a request until it is answered, with one idempotency key or without any."""

    def __init__(self, cluster: Cluster, client: Client, first_timeout: float = FIRST_TIMEOUT) -> None:
        self.cluster = cluster
        self.client = client
        self.first_timeout = first_timeout
        self.calm = asyncio.Event()  # what is to happen has happened
        self.attempts = 0

    async def post(self, path: str, fields: dict[str, str], *, key: str = "", exists: bool = False) -> Any:
        """Return the body of the first answer that is neither a 503 nor about a request that still runs.

        Raises NoSuccess unless that is a success, or with `exists` says that the thing is there already. The fields are
        sent as a form, to the native API as JSON.
        """
        headers = {"Idempotency-Key": key} if key else {}
        timeout, ends_at = self.first_timeout, time.monotonic() + PATIENCE
        while time.monotonic() < ends_at:
            self.attempts += 1
            try:
                status, body = await self.client.request(
                    "POST", path, headers=headers, timeout=aiohttp.ClientTimeout(total=timeout), **body_of(path, fields)
                )
            except (aiohttp.ClientError, TimeoutError):
                timeout *= 2
            else:
                if status in (200, 201) or (exists and status == 409):
                    return body
                if status != 503 and not self._still_runs(status, body):
                    raise NoSuccess(f"{path}: {status} {body}")
            if self.calm.is_set():
                # The minute for which the key of a request that has died is held is over.
                await self.cluster.query(AGE_KEYS)
            await asyncio.sleep(PAUSE)
        raise NoSuccess(f"{path} had no answer")

    @staticmethod
    def _still_runs(status: int, body: Any) -> bool:
        return status == 409 and "is being carried out" in str(body)


def body_of(path: str, fields: dict[str, str]) -> dict[str, Any]:
    return {"json" if path.startswith("/v1") else "data": fields}


def new_key() -> str:
    return uuid.uuid4().hex


async def push(work: Path, url: str, *arguments: str, first_timeout: float = FIRST_TIMEOUT) -> int:
    """Push until git reports success; returns the number of attempts."""
    timeout, ends_at, attempts = first_timeout, time.monotonic() + PATIENCE, 0
    while time.monotonic() < ends_at:
        attempts += 1
        if await run_git(work, timeout, "push", "-q", url, *arguments):
            return attempts
        timeout *= 2
        await asyncio.sleep(PAUSE)
    raise NoSuccess("git push had no success")


async def run_git(work: Path, seconds: float, *arguments: str) -> bool:
    """Run git, for so many seconds at most, and return whether it has succeeded."""
    environment = {
        **os.environ,
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_TERMINAL_PROMPT": "0",
    }
    process = await asyncio.create_subprocess_exec(
        "git", *arguments, cwd=work, env=environment, start_new_session=True,
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        async with asyncio.timeout(seconds):
            return await process.wait() == 0
    except TimeoutError:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
        return False


async def make_commit(work: Path, name: str) -> str:
    """Commit a new file on top of `main`, whatever else the work tree had; returns the commit's id."""
    await git("checkout", "-q", "--detach", "origin/main", cwd=work)
    return await add_commit(work, name)


async def add_commit(work: Path, name: str) -> str:
    (work / name).write_text(name)
    await git("add", name, cwd=work)
    await git("commit", "-qm", f"Add {name}", cwd=work)
    return (await git("rev-parse", "HEAD", cwd=work)).strip()
