"""Index, liveness, readiness and metrics."""

import asyncio
import os
from importlib.metadata import version
from ipaddress import ip_address

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST
from redis.exceptions import RedisError

from app.core.access import require_admin
from app.core.credentials import BadToken
from app.database import DB_ERRORS, SCHEMA
from app.http.auth import identify, read_credentials
from app.http.keys import DATABASE, SETTINGS, TAIL
from app.http.responses import json_reply
from app.http.routes import Routes, admit_anybody
from app.http.unrouted import answer_errors
from app.metrics import render_metrics
from events.log import oldest_unnumbered

MAX_LAG = 30.0  # seconds that an event may wait for its number
CHECK_TIMEOUT = 1.0  # seconds for all of the checks

routes = Routes(admit_anybody, fence=answer_errors)


@routes.add("GET", "/", "describe-instance")
async def index(request: web.Request) -> web.Response:
    """Where to go from here."""
    url = request.config_dict[SETTINGS].url
    links = {
        "pagure": f"{url}/api/0/",
        "native": f"{url}/v1/",
        "projects": f"{url}/api/0/projects",
        "ready": f"{url}/readyz",
    }
    return json_reply({"name": "polyforge", "version": version("polyforge"), "links": links})


@routes.add("GET", "/healthz", "health")
async def healthz(request: web.Request) -> web.Response:
    """The process is alive; touches nothing."""
    return json_reply({"status": "alive"})


@routes.add("GET", "/readyz", "health")
async def readyz(request: web.Request) -> web.Response:
    checks = {"database": _check_database, "queue": _check_queue, "storage": _check_storage, "relay": _check_relay}
    results = await asyncio.gather(*(_run_check(check(request)) for check in checks.values()))
    found = dict(zip(checks, results, strict=True))
    ready = all(result == "ok" for result in results)
    return json_reply({"status": "ready" if ready else "not ready", "checks": found}, 200 if ready else 503)


async def _run_check(check: object) -> str:
    try:
        async with asyncio.timeout(CHECK_TIMEOUT):
            return await check  # type: ignore[misc,no-any-return]
    except (*DB_ERRORS, RedisError) as error:
        return f"does not answer ({type(error).__name__})"


async def _check_database(request: web.Request) -> str:
    version = await request.config_dict[DATABASE].fetchval("select version from schema_version")
    return "ok" if version == SCHEMA else f"has schema {version}, this program wants {SCHEMA}: run polyforge migrate"


async def _check_queue(request: web.Request) -> str:
    await request.config_dict[TAIL].redis.ping()
    return "ok"


async def _check_storage(request: web.Request) -> str:
    folder = request.config_dict[SETTINGS].repositories
    return "ok" if await asyncio.to_thread(os.access, folder, os.W_OK) else f"{folder} cannot be written to"


async def _check_relay(request: web.Request) -> str:
    leading = await request.config_dict[DATABASE].fetchval("select until > now() from leases where name = 'relay'")
    if not leading:
        return "no relay leads: run polyforge relay"
    async with request.config_dict[DATABASE].acquire() as connection:
        behind = await oldest_unnumbered(connection)
    return "ok" if behind < MAX_LAG else f"the oldest event has waited for its number for {behind:.0f} s"


@routes.add("GET", "/metrics", "health")
async def metrics(request: web.Request) -> web.StreamResponse:
    """For the networks that the settings name, and for administrators' tokens."""
    if not _is_allowed_network(request):
        actor = await identify(request, read_credentials(request).secret)
        if actor.anonymous:
            raise BadToken("missing")
        require_admin(actor)
    return web.Response(body=render_metrics(), headers={"Content-Type": CONTENT_TYPE_LATEST})


def _is_allowed_network(request: web.Request) -> bool:
    """Whether the connection itself comes from such a network; one that a proxy forwards does not."""
    if request.remote is None or "X-Forwarded-For" in request.headers or "Forwarded" in request.headers:
        return False
    return any(ip_address(request.remote) in network for network in request.config_dict[SETTINGS].metrics_allow)
