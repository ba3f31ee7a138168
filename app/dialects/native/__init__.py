"""The native API below /v1: users, groups, mirrors, trackers, tasks, the event feed and webhooks."""

from aiohttp import web

from app.dialects.native import events, groups, mirrors, subscriptions, tasks, tracker, users
from app.dialects.native.problems import answer_errors
from app.dialects.native.routes import identify
from app.http.idempotency import build_dialect_middleware
from app.http.routes import mount

PREFIX = "/v1"


def application() -> web.Application:
    """Build the sub-application of the dialect."""
    app = web.Application(middlewares=[build_dialect_middleware(answer_errors, identify)])
    for noun in (users, groups, mirrors, tracker, tasks, events, subscriptions):
        mount(noun.routes, app)
    return app
