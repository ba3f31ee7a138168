"""Pagure's REST API, version 0, below /api/0."""

from aiohttp import web

from app.dialects.pagure import (
    auth,
    boards,
    branches,
    ci,
    code,
    commits,
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
    tasks,
    trees,
    user_activity,
    user_pull_requests,
    users,
    watches,
)
from app.dialects.pagure.urls import sort_routes
from app.http.idempotency import build_dialect_middleware
from app.http.render_cache import RenderCache
from app.http.routes import mount

PREFIX = "/api/0"


def application() -> web.Application:
    """Build the sub-application of the dialect."""
    app = web.Application(middlewares=[build_dialect_middleware(errors.answer_errors, auth.identify)])
    app[projects.RENDER_CACHE] = RenderCache()
    modules = (
        instance, tasks, projects, settings, sharing, watches, users, groups, code, commits, branches, trees,
        issues, issue_metadata, issue_history, tags, boards, pull_requests, merges, flags, plugins, ci,
        user_pull_requests, user_activity,
    )  # fmt: skip
    mount(sort_routes(route for module in modules for route in module.routes), app)
    return app
