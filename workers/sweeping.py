"""What a worker does now and then: sweep what killed processes have left on disk, compare the refs with the log."""

import asyncio
from functools import partial

from app.background import repeat
from app.config import Settings
from app.core.ref_comparison import mend_changed
from app.disk import attachments
from app.git.leftovers import Removed, list_repositories, remove_leftovers
from app.git.store import sweep_staging_dirs
from app.logs import log
from app.stores import ref_fingerprints
from workers.reactions import WorkerContext

INTERVAL = 900.0  # seconds between two sweeps of a worker
COMPARISON_INTERVAL = 3600.0  # seconds between two comparisons by any worker
REST_AT_START = 60.0  # the same when a worker starts; many may start together


async def run_sweeping(settings: Settings) -> None:
    """Sweep again and again, until cancelled."""
    await repeat("sweep", partial(sweep, settings), INTERVAL)


async def run_comparing(ctx: WorkerContext) -> None:
    """Compare the refs on disk with the log at start, and then now and then, until cancelled."""
    at_start = True

    async def compare() -> None:
        nonlocal at_start
        rest = REST_AT_START if at_start else COMPARISON_INTERVAL
        mine = await ref_fingerprints.take_turn(ctx.db, str(ctx.holder), COMPARISON_INTERVAL, rest)
        at_start = False
        if mine:
            await mend_changed(ctx.db, ctx.settings.repositories)

    await repeat("comparison of refs", compare, COMPARISON_INTERVAL / 10)


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
