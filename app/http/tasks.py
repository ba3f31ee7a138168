"""Name the task of a command, or wait for its end: `wait`, `Prefer: wait`, `taskid`, `Location`."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from aiohttp import web

from app.http.keys import SETTINGS
from app.http.waiting import wait_for_task
from app.queries.tasks import FINAL

MAX_WAIT = 55  # seconds that a request waits at most when its client says how long


@dataclass(frozen=True)
class Ending:
    """How a task ended. `reason` and `params` say why it failed (events/tasks.py); None if it was cancelled."""

    succeeded: bool
    reason: str | None = None
    params: Mapping[str, Any] = field(default_factory=dict)


def task_location(request: web.Request, task_id: UUID) -> dict[str, str]:
    """The header that names the task."""
    return {"Location": f"{request.config_dict[SETTINGS].url}/v1/tasks/{task_id}"}


async def find_ending(request: web.Request, task_id: UUID, *, wait: bool) -> Ending | None:
    """How the task ended; None at once if the client does not want to wait, or when this process is about to end."""
    if not wait:
        return None
    task = await wait_for_task(request, task_id)
    if task["status"] not in FINAL:
        return None
    return Ending(task["status"] == "succeeded", task["error"], task["error_params"])


def read_preferred_wait(request: web.Request) -> int | None:
    """The seconds of `Prefer: wait=N` (RFC 7240), at most MAX_WAIT; None without one."""
    found = re.search(r"(?:^|[,;\s])wait=([0-9]{1,5})(?:$|[,;\s])", request.headers.get("Prefer", ""))
    return min(int(found[1]), MAX_WAIT) if found else None
