"""The API application: database, queue, dialects and transports."""

import contextlib
from collections.abc import AsyncIterator

from aiohttp import web
from redis.asyncio import Redis

from app.background import in_background
from app.config import Settings
from app.core.pushes import recover_abandoned
from app.database import database
from app.dialects import kallithea, native, pagure, rhodecode
from app.dialects.jsonrpc import mounts
from app.dialects.pagure import pages
from app.dialects.pagure.urls import sort_routes
from app.disk.folders import make_folders
from app.feed.tail import open_tail
from app.git.limits import using_settings
from app.http import health
from app.http.keys import DATABASE, SETTINGS, TAIL
from app.http.long_reads import LONG_READS, LongReads
from app.http.middleware import collapse_slashes, log_requests
from app.http.rate_limits import RATE_LIMITS, RateLimits
from app.http.requests import MAX_BODY
from app.http.routes import mount
from app.stores.sealed import open_keyring
from app.transports import lfs, smart_http
from app.transports.fetch_slots import FetchSlots, SlotLimits
from app.transports.smart_http import FETCH_SLOTS
from app.valkey import open_client


def application(settings: Settings) -> web.Application:
    """Build the application, which opens its connections at start and closes them at the end."""
    app = web.Application(middlewares=[log_requests, collapse_slashes], client_max_size=MAX_BODY)
    app[SETTINGS] = settings
    app[FETCH_SLOTS] = FetchSlots(SlotLimits.from_settings(settings))
    app[RATE_LIMITS] = RateLimits(settings)
    app[health.PROBES] = {}
    app.cleanup_ctx.append(open_connections)
    app.on_shutdown.append(release_waiters)
    app.add_subapp(pagure.PREFIX, pagure.application())
    app.add_subapp(native.PREFIX, native.application())
    for routes in (rhodecode.routes, kallithea.routes, mounts.bare_routes):
        mount(routes, app)
    mount(health.routes, app)
    mount(smart_http.routes, app)
    mount(lfs.routes, app)
    mount(sort_routes(pages.routes), app)
    return app


async def release_waiters(app: web.Application) -> None:
    app[TAIL].close()


async def open_connections(app: web.Application) -> AsyncIterator[None]:
    settings = app[SETTINGS]
    reads = LongReads(settings.long_reads, settings.long_read_queue)
    make_folders(settings)
    redis: Redis = open_client(settings.required_redis_url())
    async with (
        contextlib.aclosing(redis),
        database(settings.required_database_url(), settings.pool_size, open_keyring(settings)) as db,
        open_tail(db, redis) as tail,
        in_background(app[RATE_LIMITS].share(redis)),
        in_background(recover_abandoned(db, settings.repositories)),
    ):
        app[DATABASE] = db
        app[TAIL] = tail
        app[LONG_READS] = reads
        with using_settings(settings), contextlib.closing(reads):
            yield
