"""The slots of a worker: how much work of each queue it does at once, and which work it takes next.

Projects take turns: after a piece of work of one project comes the oldest piece of the next project, so a project with
a thousand pieces does not stand before another one with a single piece.
"""

import asyncio
import time
from contextlib import suppress

from arq.connections import ArqRedis

from app.background import end_task, repeat
from app.logs import log
from app.stores import work
from app.valkey import VALKEY_ERRORS
from workers import queue
from workers.perform import perform
from workers.reactions import WorkerContext

POLL_INTERVAL = 1.0  # seconds between looks without a hint
RETRY_PAUSE = 0.25  # seconds until work that another worker has taken, or that must wait, is tried again
FIRST = -1  # before all projects; work that is about no project has 0
Piece = tuple[int, str]  # position and reaction


class Slots:
    """The slots of one queue."""

    def __init__(self, ctx: WorkerContext, redis: ArqRedis, name: str, count: int) -> None:
        self.ctx = ctx
        self.redis = redis
        self.name = name
        self.count = count
        self.woken = asyncio.Event()
        self._after = FIRST  # the project whose turn was last
        self._running: dict[asyncio.Task[None], Piece] = {}
        self._later: dict[Piece, float] = {}

    async def run(self) -> None:
        """Do due work until cancelled; then wait until the work that has started is done."""
        filling = asyncio.create_task(repeat(f"work of {self.name}", self._fill, POLL_INTERVAL, self.woken))
        try:
            await asyncio.wait([filling])
        finally:
            await end_task(filling)
            await asyncio.gather(*self._running, return_exceptions=True)
        filling.result()  # which ended by itself, so there is an error

    async def _fill(self) -> None:
        """Start work until all slots are taken or nothing is due."""
        while len(self._running) < self.count:
            piece = await self._find_next()
            if piece is None:
                return
            task = asyncio.create_task(self._perform(piece))
            self._running[task] = piece
            task.add_done_callback(self._free_slot)
        # Other workers may have free slots.
        with suppress(*VALKEY_ERRORS):
            await queue.give_hint(self.redis, self.name)

    async def _find_next(self) -> Piece | None:
        now = time.monotonic()
        self._later = {piece: until for piece, until in self._later.items() if until > now}
        taken = [*self._running.values(), *self._later]
        row = await work.find_due(self.ctx.db, self.name, self._after, taken)
        if row is None and self._after != FIRST:
            row = await work.find_due(self.ctx.db, self.name, FIRST, taken)
        self._after = row["project_id"] if row else FIRST
        return (row["position"], row["reaction"]) if row else None

    async def _perform(self, piece: Piece) -> None:
        async with asyncio.timeout(self.ctx.settings.git_deadline):
            if not await perform(self.ctx, *piece):
                self._later[piece] = time.monotonic() + RETRY_PAUSE

    def _free_slot(self, task: asyncio.Task[None]) -> None:
        piece = self._running.pop(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            # Its lease ends, and the work is done again.
            log.warning("work failed", job=piece[1], position=piece[0], exc_info=error)
            self._later[piece] = time.monotonic() + RETRY_PAUSE
        self.woken.set()
