"""Pagure's REST API, version 0, below /api/0."""

from aiohttp import web

from app.dialects.pagure import (
    auth,
    boards,
    branches,
    code,
    errors,
    flags,
    groups,
    instance,
    issue_history,
    issue_metadata,
    issues,
    merges,
    plugins,
    projects,
    pull_requests,
    settings,
    sharing,
    tags,
    trees,
    user_activity,
    user_pull_requests,
    users,
)
from app.dialects.pagure.urls import sort_routes
from app.http.idempotency import dialect_middleware
from app.http.render_cache import RenderCache

PREFIX = "/api/0"


def application() -> web.Application:
    """The dialect as a sub-application: errors outside, authentication inside each route."""
    app = web.Application(middlewares=[dialect_middleware(errors.render_errors, auth.identify)])
    app[projects.RENDER_CACHE] = RenderCache()
    nouns = (
        instance, projects, settings, sharing, users, groups, code, branches, trees, issues, issue_metadata,
        issue_history, tags, boards, pull_requests, merges, flags, plugins, user_pull_requests, user_activity,
    )  # fmt: skip
    sort_routes(route for noun in nouns for route in noun.routes).mount(app)
    return app
