"""Rate limits: failed logins, reads that cost much and come without a token, and writes.

A request is never delayed by them. Each process counts what it serves, and several times a second adds its counts to
those of the other processes in Valkey. So a limit may be exceeded by what arrives meanwhile, and holds for each process
alone while Valkey is away.
"""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from typing import Any

from aiohttp import web
from limits import RateLimitItem, parse
from limits.aio.storage import RedisStorage
from redis.asyncio import Redis
from redis.exceptions import RedisError

from app.actor import Actor
from app.config import Settings
from app.config.types import OFF
from app.core.access import ACTIONS
from app.http.addresses import client_address
from app.logs import log
from app.metrics import RATE_LIMITED

SHARE_INTERVAL = 0.2  # seconds
SHARE_TIMEOUT = 1.0  # seconds for one exchange with Valkey
MAX_WINDOWS = 100_000  # counted at the same time; the oldest are forgotten

ADDRESS_LOGINS, ACCOUNT_LOGINS, READS, WRITES = (
    "failed-logins-of-address", "failed-logins-of-account", "reads-without-token", "writes",
)  # fmt: skip

# What a request costs, by its action. Reads that are not listed cost nothing, and other writes 1.
COSTS: Mapping[str, int] = {
    "read-code": 1,
    "create-project": 5,
    "open-pull-request": 5,
    "push": 5,
    "create-branch": 5,
    "fork-project": 10,
    "merge-pull-request": 10,
    "rebase-pull-request": 10,
}


@dataclass
class Window:
    """A period in which something is counted; `unshared` is the part that Valkey does not know of."""

    key: str
    seconds: int
    ends_at: float
    used: int = 0
    unshared: int = 0
    shared: bool = False


@dataclass(frozen=True)
class Quota:
    """What is left of a limit; `reset` is in seconds."""

    name: str
    limit: int
    period: int
    remaining: int
    reset: int
    exceeded: bool

    def headers(self) -> dict[str, str]:
        """Render the fields of draft-ietf-httpapi-ratelimit-headers."""
        return {
            "RateLimit-Policy": f'"{self.name}";q={self.limit};w={self.period}',
            "RateLimit": f'"{self.name}";r={self.remaining};t={self.reset}',
        }


class RateLimits:
    """The limits of the settings, and the counts of this process."""

    def __init__(self, settings: Settings) -> None:
        rates = {
            ADDRESS_LOGINS: settings.rate_failed_logins_per_address,
            ACCOUNT_LOGINS: settings.rate_failed_logins_per_account,
            READS: settings.rate_reads_without_token,
            WRITES: settings.rate_writes,
        }
        self.rates: dict[str, RateLimitItem] = {name: parse(rate) for name, rate in rates.items() if rate != OFF}
        self._windows: dict[tuple[str, str], Window] = {}

    def charge(self, name: str, key: str, cost: int = 1) -> Quota | None:
        """Count a request; None if this is not limited."""
        rate = self.rates.get(name)
        if rate is None:
            return None
        now = time.time()
        window = self._windows.get((name, key))
        if window is None or window.ends_at <= now:
            window = self._open_window(name, key, rate, now)
        limit, reset = rate.amount, max(1, ceil(window.ends_at - now))
        exceeded = window.used + cost > limit
        if not exceeded:
            window.used += cost
            window.unshared += cost
        return Quota(name, limit, window.seconds, max(0, limit - window.used), reset, exceeded)

    def _open_window(self, name: str, key: str, rate: RateLimitItem, now: float) -> Window:
        self._windows.pop((name, key), None)
        while len(self._windows) >= MAX_WINDOWS:
            del self._windows[next(iter(self._windows))]
        window = Window(rate.key_for(name, key), rate.get_expiry(), now + rate.get_expiry())
        self._windows[name, key] = window
        return window

    def forget(self) -> None:
        self._windows.clear()

    async def share(self, redis: Redis) -> None:
        """Exchange counts with the other processes, for ever."""
        pool: Any = redis.connection_pool
        storage = RedisStorage("async+redis://", implementation="redispy", connection_pool=pool)
        failing = False
        while True:
            await asyncio.sleep(SHARE_INTERVAL)
            try:
                self._drop_ended()
                async with asyncio.timeout(SHARE_TIMEOUT):
                    await self._share_counts(storage)
                failing = False
            except (RedisError, OSError, TimeoutError) as error:
                if not failing:
                    log.warning("rate limits", error=type(error).__name__)
                failing = True
            except Exception:  # a bug must not end the sharing; each process still counts for itself
                log.exception("rate limits")

    def _drop_ended(self) -> None:
        now = time.time()
        for at in [at for at, window in self._windows.items() if window.ends_at <= now]:
            del self._windows[at]

    async def _share_counts(self, storage: RedisStorage) -> None:
        for window in list(self._windows.values()):
            if window.unshared:
                share, window.unshared = window.unshared, 0
                try:
                    total = await storage.incr(window.key, window.seconds, share)
                    if not window.shared:  # another process may have opened it earlier
                        window.ends_at = min(window.ends_at, await storage.get_expiry(window.key))
                        window.shared = True
                except BaseException:  # cancellation included: these counts are shared next time
                    window.unshared += share
                    raise
                window.used = total + window.unshared


RATE_LIMITS = web.AppKey("rate_limits", RateLimits)


def refuse(quota: Quota) -> web.HTTPException:
    """Build the error of a request that is over a limit."""
    RATE_LIMITED.labels(quota.name).inc()
    return web.HTTPTooManyRequests(headers={"Retry-After": str(quota.reset), **quota.headers()})


def charge_request(request: web.Request, actor: Actor, action: str, cost: int | None) -> Quota | None:
    """Count what the request costs; None if it costs nothing. Raises HTTPTooManyRequests.

    Writes count for their user, and reads without a token for the address. `cost` overrides that of the action.
    """
    if ACTIONS[action].writes:
        name, key, default = WRITES, actor.username, 1
    elif actor.anonymous:
        name, key, default = READS, "", 0
    else:
        return None
    amount = COSTS.get(action, default) if cost is None else cost
    if not amount:
        return None
    quota = request.config_dict[RATE_LIMITS].charge(name, key or client_address(request), amount)
    if quota is not None and quota.exceeded:
        raise refuse(quota)
    return quota


def count_failed_login(request: web.Request, username: str | None) -> None:
    """Count credentials that are not good. Raises HTTPTooManyRequests above a limit.

    Good ones are never refused for those that others from the same address, or for the same account, have tried.
    """
    rate_limits = request.config_dict[RATE_LIMITS]
    quotas = [rate_limits.charge(ADDRESS_LOGINS, client_address(request))]
    if username:
        quotas.append(rate_limits.charge(ACCOUNT_LOGINS, username[:64].lower()))
    for quota in quotas:
        if quota is not None and quota.exceeded:
            raise refuse(quota)
