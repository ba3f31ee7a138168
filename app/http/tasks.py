"""The task of a command in a response: its `Location`, waiting for its end, and `Prefer: wait`."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from aiohttp import web

from app.http.keys import SETTINGS
from app.http.waiting import wait_for_task
from app.queries.tasks import FINAL

MAX_WAIT = 55  # seconds; the longest wait that a client may ask for


@dataclass(frozen=True)
class Ending:
    """The outcome of a task. `reason` and `params` say why it failed (events/tasks.py); None if it was cancelled."""

    succeeded: bool
    reason: str | None = None
    params: Mapping[str, Any] = field(default_factory=dict)


def task_location(request: web.Request, task_id: UUID) -> dict[str, str]:
    """Build the Location header of a task."""
    return {"Location": f"{request.config_dict[SETTINGS].url}/v1/tasks/{task_id}"}


async def find_ending(request: web.Request, task_id: UUID, *, wait: bool) -> Ending | None:
    """Wait for the outcome of a task; None if the client does not want to wait or this process is shutting down."""
    if not wait:
        return None
    task = await wait_for_task(request, task_id)
    if task["status"] not in FINAL:
        return None
    return Ending(task["status"] == "succeeded", task["error"], task["error_params"])


def read_preferred_wait(request: web.Request) -> int | None:
    """Read the seconds of `Prefer: wait=N` (RFC 7240), at most MAX_WAIT; None if the header does not ask to wait."""
    match = re.search(r"(?:^|[,;\s])wait=([0-9]{1,5})(?:$|[,;\s])", request.headers.get("Prefer", ""))
    return min(int(match[1]), MAX_WAIT) if match else None
