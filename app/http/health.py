"""Index, liveness, readiness and metrics endpoints."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from importlib.metadata import version

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST
from redis.exceptions import RedisError

from app.core.access import require_admin
from app.core.credentials import BadToken
from app.database import DB_ERRORS, SCHEMA, find_refused_writes
from app.disk.folders import list_folders, probe_folder
from app.http.addresses import is_forwarded, is_in, parse_address
from app.http.auth import identify, read_credentials, read_token, require_owner
from app.http.keys import DATABASE, SETTINGS, TAIL
from app.http.responses import json_reply
from app.http.routes import Routes, admit_nobody
from app.http.unrouted import answer_errors
from app.metrics import OLDEST_UNDONE, render_metrics
from app.queries import undone
from events.log import oldest_unnumbered

MAX_LAG = 30.0  # seconds that an event may stay unnumbered
CHECK_TIMEOUT = 2.0  # seconds; the checks run at the same time
PROBE_INTERVAL = 0.25  # seconds that the result of a probe is used for
PROBES: web.AppKey[dict[str, tuple[float, str | None]]] = web.AppKey("probes", dict)

routes = Routes(admit_nobody, fence=answer_errors)


@routes.add("GET", "/", "describe-instance")
async def show_index(request: web.Request) -> web.Response:
    url = request.config_dict[SETTINGS].url
    links = {
        "pagure": f"{url}/api/0/",
        "native": f"{url}/v1/",
        "projects": f"{url}/api/0/projects",
        "ready": f"{url}/readyz",
    }
    return json_reply({"name": "polyforge", "version": version("polyforge"), "links": links})


@routes.add("GET", "/healthz", "health")
async def check_liveness(request: web.Request) -> web.Response:
    """Answer without touching the database or the queue: the process is alive."""
    return json_reply({"status": "alive"})


@routes.add("GET", "/readyz", "health")
async def check_readiness(request: web.Request) -> web.Response:
    checks = {
        "database": _check_database,
        "queue": _check_queue,
        "storage": _check_storage,
        "relay": _check_relay,
    }
    ages, *results = await asyncio.gather(
        _measure_ages(request), *(_run_check(check(request)) for check in checks.values())
    )
    ready = all(result == "ok" for result in results)
    body = {
        "status": "ready" if ready else "not ready",
        "checks": dict(zip(checks, results, strict=True)),
        "oldest_undone": ages,
    }
    return json_reply(body, 200 if ready else 503)


async def _measure_ages(request: web.Request) -> dict[str, float] | None:
    """Return the age in seconds of the oldest thing that each background loop has not done; None if it is not known.

    Old work does not make this process unready: it serves requests all the same.
    """
    with suppress(*DB_ERRORS):
        async with asyncio.timeout(CHECK_TIMEOUT):
            return await undone.measure_ages(request.config_dict[DATABASE])
    return None


async def _run_check(check: object) -> str:
    try:
        async with asyncio.timeout(CHECK_TIMEOUT):
            return await check  # type: ignore[misc,no-any-return]
    except (*DB_ERRORS, RedisError) as error:
        return f"not responding ({type(error).__name__})"


async def _check_database(request: web.Request) -> str:
    version = await request.config_dict[DATABASE].fetchval("select version from schema_version")
    if version != SCHEMA:
        return f"schema {version} instead of {SCHEMA}: run polyforge migrate"
    problem = await _probe(request, "database", partial(find_refused_writes, request.config_dict[DATABASE]))
    return f"refuses to write: {problem}" if problem else "ok"


async def _check_queue(request: web.Request) -> str:
    await request.config_dict[TAIL].redis.ping()
    return "ok"


async def _check_storage(request: web.Request) -> str:
    """Write to each folder, since a disk may be full or a folder another user's."""
    folders = list_folders(request.config_dict[SETTINGS])
    probes = [_probe(request, name, partial(asyncio.to_thread, probe_folder, path)) for name, path in folders.items()]
    return "; ".join(problem for problem in await asyncio.gather(*probes) if problem) or "ok"


async def _probe(request: web.Request, name: str, probe: Callable[[], Awaitable[str | None]]) -> str | None:
    """Return the result of a probe that writes, which anybody may ask for: it runs a few times a second at most."""
    results = request.config_dict[PROBES]
    at, problem = results.get(name, (0.0, None))
    if time.monotonic() - at > PROBE_INTERVAL:
        problem = await probe()
        results[name] = time.monotonic(), problem
    return problem


async def _check_relay(request: web.Request) -> str:
    leading = await request.config_dict[DATABASE].fetchval("select until > now() from leases where name = 'relay'")
    if not leading:
        return "no relay is running: run polyforge relay"
    async with request.config_dict[DATABASE].acquire() as connection:
        behind = await oldest_unnumbered(connection)
    return "ok" if behind < MAX_LAG else f"the oldest unnumbered event is {behind:.0f} s old"


@routes.add("GET", "/metrics", "health")
async def show_metrics(request: web.Request) -> web.StreamResponse:
    """Show the metrics to administrators, and to clients in the networks of the setting `metrics_allow`."""
    if not _is_allowed_network(request):
        actor = await identify(request, read_token(request))
        if actor.anonymous:
            raise BadToken("missing")
        require_owner(actor, read_credentials(request).username)
        require_admin(actor)
    for loop, seconds in (await _measure_ages(request) or {}).items():
        OLDEST_UNDONE.labels(loop).set(seconds)
    return web.Response(body=render_metrics(), headers={"Content-Type": CONTENT_TYPE_LATEST})


def _is_allowed_network(request: web.Request) -> bool:
    """Whether the peer is in an allowed network, and no proxy: that tell the headers, or on this machine the Host."""
    settings = request.config_dict[SETTINGS]
    peer = parse_address(request.remote)
    if peer is None or is_forwarded(request):
        return False
    public_host = settings.url.partition("://")[2]
    if peer.is_loopback and request.host == public_host != f"{settings.host}:{settings.port}":
        return False
    return is_in(peer, settings.metrics_allow)
