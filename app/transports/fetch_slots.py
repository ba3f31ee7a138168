"""How many git processes serve fetches at the same time: in all, for one project, and for one address."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from app.config import Settings

STALL = 3.0  # seconds for which a client may do nothing before its slot is given to a request that waits
WAITING = 4  # requests that may wait, for each slot
LOOK_INTERVAL = 1.0  # seconds between two looks for stalled clients, while a request waits


class NoFreeSlot(Exception):
    """All slots were in use for as long as a request may wait."""


@dataclass(eq=False)
class Fetch:
    """A request that needs a slot. `stalled_for` gives the seconds for which its client has neither read nor sent."""

    project_id: int
    address: str
    stalled_for: Callable[[], float]
    end: Callable[[], None]


@dataclass(frozen=True)
class SlotLimits:
    """Numbers of slots, the seconds that a request waits for one, and how many may wait."""

    total: int
    per_project: int
    per_address: int
    wait: float
    waiting: int

    @classmethod
    def from_settings(cls, settings: Settings) -> "SlotLimits":
        return cls(
            total=settings.fetches,
            per_project=settings.fetches_per_project,
            per_address=settings.fetches_per_address,
            wait=settings.fetch_wait,
            waiting=WAITING * settings.fetches,
        )


class FetchSlots:
    """The slots of an API process.

    The request that came last is served first: under a flood its client is the one that most likely still waits.
    """

    def __init__(self, limits: SlotLimits) -> None:
        self.limits = limits
        self._running: set[Fetch] = set()
        self._waiting: dict[Fetch, asyncio.Future[None]] = {}  # in the order in which they came

    @asynccontextmanager
    async def hold(self, fetch: Fetch) -> AsyncIterator[None]:
        """Hold a slot for the length of a block, after waiting for it if need be. Raises NoFreeSlot."""
        if self._waiting or not self._fits(fetch):
            await self._wait(fetch)
        else:
            self._running.add(fetch)
        try:
            yield
        finally:
            self._running.discard(fetch)
            self._give_slots()

    def _fits(self, fetch: Fetch) -> bool:
        limits = self.limits
        return (
            len(self._running) < limits.total
            and sum(each.project_id == fetch.project_id for each in self._running) < limits.per_project
            and sum(each.address == fetch.address for each in self._running) < limits.per_address
        )

    def _give_slots(self) -> None:
        for fetch in reversed(list(self._waiting)):
            if self._fits(fetch):
                self._running.add(fetch)
                self._waiting.pop(fetch).set_result(None)

    async def _wait(self, fetch: Fetch) -> None:
        if len(self._waiting) >= self.limits.waiting:
            self._waiting.pop(next(iter(self._waiting))).set_exception(NoFreeSlot())
        granted = self._waiting[fetch] = asyncio.get_running_loop().create_future()
        self._give_slots()
        try:
            async with asyncio.timeout(self.limits.wait):
                while not granted.done():
                    self._end_stalled()
                    await asyncio.wait([granted], timeout=LOOK_INTERVAL)
                granted.result()
        except BaseException as error:
            self._waiting.pop(fetch, None)
            self._running.discard(fetch)
            self._give_slots()
            if isinstance(error, TimeoutError):
                raise NoFreeSlot from None
            raise

    def _end_stalled(self) -> None:
        """End fetches whose clients do nothing: they free their slots when their connections are lost."""
        for fetch in list(self._running):
            if fetch.stalled_for() > STALL:
                fetch.end()
