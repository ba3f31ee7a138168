"""The sweep for what killed processes have left on disk."""

import asyncio
from functools import partial

from app import attachments
from app.background import repeat
from app.config import Settings
from app.git.leftovers import Removed, list_repositories, remove_leftovers
from app.git.store import sweep_staging_dirs
from app.logs import log

INTERVAL = 900.0  # seconds between two sweeps of a worker


async def run_sweeping(settings: Settings) -> None:
    """Sweep again and again, until cancelled."""
    await repeat("sweep", partial(sweep, settings), INTERVAL)


async def sweep(settings: Settings) -> Removed:
    """Remove what has not changed for longer than any git process may run. Returns what was removed."""
    works = (settings.git_push, settings.git_mirror, settings.git_change)
    age = max(settings.git_deadline, *(limits.seconds for limits in works))
    removed = await asyncio.to_thread(_sweep, settings, age)
    if removed.count:
        log.info("leftovers removed", count=removed.count, bytes=removed.size)
    return removed


def _sweep(settings: Settings, age: float) -> Removed:
    removed = Removed()
    for repo_path in list_repositories(settings.repositories):
        try:
            removed += remove_leftovers(repo_path, age)
        except OSError as error:  # the others are swept all the same
            log.warning("sweep failed", repository=repo_path.name, error=type(error).__name__)
    sweep_staging_dirs(settings.repositories)
    return removed + Removed(attachments.remove_unfinished(settings.attachments, age))
