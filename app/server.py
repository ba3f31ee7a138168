"""Puts database, queue, dialects and transports together."""

import contextlib
from collections.abc import AsyncIterator

from aiohttp import web
from redis.asyncio import Redis

from app import health
from app.beside import beside
from app.config import Settings
from app.core.pushes import keep_finishing
from app.database import database
from app.dialects import native, pagure
from app.dialects.pagure import pages
from app.dialects.pagure.urls import arranged
from app.tail import following
from app.transports import smart_http
from app.web import DATABASE, MAX_BODY, SETTINGS, TAIL, observe, single_slashes


def application(settings: Settings) -> web.Application:
    """The whole API; it opens its connections when it starts and closes them when it stops."""
    app = web.Application(middlewares=[observe, single_slashes], client_max_size=MAX_BODY)
    app[SETTINGS] = settings
    app.cleanup_ctx.append(connections)
    app.on_shutdown.append(answer_those_who_wait)
    app.add_subapp(pagure.PREFIX, pagure.application())
    app.add_subapp(native.PREFIX, native.application())
    health.routes.mount(app)
    smart_http.routes.mount(app)
    arranged(pages.routes).mount(app)
    return app


async def answer_those_who_wait(app: web.Application) -> None:
    app[TAIL].close()


async def connections(app: web.Application) -> AsyncIterator[None]:
    settings = app[SETTINGS]
    settings.repositories.mkdir(parents=True, exist_ok=True, mode=0o700)
    redis = Redis.from_url(settings.required_redis_url())
    async with (
        contextlib.aclosing(redis),
        database(settings.required_database_url(), settings.pool_size) as db,
        following(db, redis) as tail,
        beside(keep_finishing(db, settings.repositories)),
    ):
        app[DATABASE] = db
        app[TAIL] = tail
        yield
