"""Pagure's REST API, version 0, below /api/0."""

from aiohttp import web

from app.dialects.pagure import (
    auth,
    code,
    errors,
    flags,
    instance,
    issue_history,
    issue_metadata,
    issues,
    merges,
    projects,
    pull_requests,
)
from app.dialects.pagure.urls import arranged
from app.fragments import Fragments
from app.idempotency import speaking

PREFIX = "/api/0"


def application() -> web.Application:
    """The dialect as a sub-application: errors outside, authentication inside each route."""
    app = web.Application(middlewares=[speaking(errors.answer, auth.identified)])
    app[projects.FRAGMENTS] = Fragments()
    routes = [
        *instance.routes,
        *projects.routes,
        *code.routes,
        *issues.routes,
        *issue_metadata.routes,
        *issue_history.routes,
        *pull_requests.routes,
        *merges.routes,
        *flags.routes,
    ]
    arranged(routes).mount(app)
    return app
