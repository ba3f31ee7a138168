"""The native API, below /v1: what no old dialect has."""

from aiohttp import web

from app.dialects.native import events, groups, mirrors, subscriptions, tasks, tracker, users
from app.dialects.native.problems import identify, render_errors
from app.http.idempotency import dialect_middleware
from app.http.routes import Routes

PREFIX = "/v1"


def application() -> web.Application:
    app = web.Application(middlewares=[dialect_middleware(render_errors, identify)])
    Routes(
        [
            *users.routes,
            *groups.routes,
            *mirrors.routes,
            *tracker.routes,
            *tasks.routes,
            *events.routes,
            *subscriptions.routes,
        ]
    ).mount(app)
    return app
