"""The endpoint at which a Jenkins server reports a build of a pull request."""

import asyncio
import hmac
import uuid
from typing import Any

import orjson
from aiohttp import web

from app.core import credentials, paths, plugins
from app.core.flags import FlagCommit
from app.core.urls import publishes_login
from app.database import Database, Row
from app.dialects.pagure.errors import ApiError, bad_token, invalid_request
from app.dialects.pagure.urls import PagureRoutes
from app.errors import NotFound, Subject
from app.http.commands import execute
from app.http.keys import DATABASE, SETTINGS
from app.http.projects import path_segment
from app.http.requests import BODY_ERRORS, read_json_object
from app.outgoing.client import open_client
from app.outgoing.failures import OutgoingError
from app.outgoing.guard import Guard
from app.outgoing.jenkins import Build, fetch_build
from app.queries import projects, pull_requests
from app.stores import project_secrets

routes = PagureRoutes()

PHASES = ("STARTED", "FINALIZED")
RESULTS = {  # Jenkins' word: comment, status, percent
    "SUCCESS": ("Build #{} successful", "success", 100),
    "FAILURE": ("Build #{} failed", "failure", 0),
    "ABORTED": ("Build #{} aborted", "error", 0),
    "BUILDING": ("Build #{} in progress", "pending", 0),
}
MAX_NUMBER = 2**31 - 1
TRIES, PAUSE = 5, 1.0  # looks at a build that is said to have ended and has not, and seconds between them


@routes.call("POST", "/ci/jenkins/{repo}/{token}/build-finished", "report-build")
@routes.call("POST", "/ci/jenkins/{namespace}/{repo}/{token}/build-finished", "report-build")
@routes.call("POST", "/ci/jenkins/forks/{username}/{repo}/{token}/build-finished", "report-build")
@routes.call("POST", "/ci/jenkins/forks/{username}/{namespace}/{repo}/{token}/build-finished", "report-build")
async def report_build(request: web.Request) -> web.Response:
    """Flag the pull request of a build with its result. The report only says which build; the server is asked."""
    db: Database = request.config_dict[DATABASE]
    project, fields = await _find_project(request, db)
    number, phase = await _read_report(request)
    build = await _fetch_build(request, fields, number, patient=phase == "FINALIZED")
    if build.request is None:
        raise ApiError(400, "ENOCODE", message="No corresponding PR found")
    result = build.result or ("BUILDING" if build.building else None)
    if result not in RESULTS:
        raise ApiError(400, "ENOCODE", message="Unknown build status")
    try:
        pull_request = await pull_requests.find(db, project["project_id"], build.request, thread=False)
    except NotFound:
        raise ApiError(400, "ENOCODE", message="Request not found") from None
    command = await _build_flag(
        db, project, pull_request, fields["ci_type"] or "jenkins", RESULTS[result], number, build
    )
    owner = await credentials.find_actor(db, project["owner"])
    await execute(request, owner, command, seen=project)
    return web.Response(status=204)


async def _find_project(request: web.Request, db: Database) -> tuple[Row, Any]:
    """Return the project and the fields of its plugin. Raises NotFound or ApiError."""
    repo = path_segment(request, "repo") or ""
    address = paths.build_address(repo, path_segment(request, "namespace"), path_segment(request, "username"))
    project = await projects.by_address(db, address)
    if project["private"]:
        raise NotFound(Subject.PROJECT)  # a private project cannot have the plugin
    fields = plugins.plugin_fields(project, plugins.CI)
    token = await project_secrets.find(db, project["project_id"], project_secrets.CI_TOKEN) if fields else None
    if fields is None or token is None or not hmac.compare_digest(token.encode(), request.match_info["token"].encode()):
        raise bad_token()
    return project, fields


async def _read_report(request: web.Request) -> tuple[int, str]:
    try:
        build = (await read_json_object(request)).get("build")
    except (orjson.JSONDecodeError, *BODY_ERRORS):
        raise invalid_request() from None
    number, phase = (build.get("number"), build.get("phase")) if isinstance(build, dict) else (None, None)
    if not isinstance(number, int) or not 0 < number <= MAX_NUMBER or phase not in PHASES:
        raise invalid_request()
    return number, phase


async def _fetch_build(request: web.Request, fields: Any, number: int, *, patient: bool) -> Build:
    """Ask the project's server for a build. If `patient`, wait a few seconds for its end. Raises ApiError."""
    guard = Guard(tuple(request.config_dict[SETTINGS].webhook_allow))
    build, tries = None, TRIES if patient else 1
    async with open_client(guard) as client:
        while tries and (build is None or build.building):
            tries -= 1
            try:
                build = await fetch_build(client, fields["ci_url"] or "", fields["ci_job"] or "", number)
            except OutgoingError as error:
                raise ApiError(400, "ENOCODE", message=f"The CI server cannot be asked: {error}") from None
            if build is None:
                break
            if build.building and tries:
                await asyncio.sleep(PAUSE)
    if build is None:
        raise ApiError(400, "ENOCODE", message=f"Could not find build {number}")
    return build


async def _build_flag(
    db: Database,
    project: Row,
    pull_request: Row,
    program: str,
    result: tuple[str, str, int],
    number: int,
    build: Build,
) -> FlagCommit:
    """The flag of the build, which replaces the one that said that it is in progress."""
    commit = pull_request["commit_stop"]
    if commit is None:
        raise ApiError(400, "ENOCODE", message="This pull-request has no commit to flag")
    flags = await pull_requests.list_flags(db, project["project_id"], commit)
    pending = [flag["uid"] for flag in flags if flag["username"] == program and flag["status"] == "pending"]
    comment, status, percent = result
    return FlagCommit(
        project_id=project["project_id"],
        commit=commit,
        uid=pending[0] if pending else uuid.uuid4().hex,
        username=program,
        status=status,
        percent=percent,
        comment=f"{comment.format(number)} (commit: {commit[:8]})",
        url="" if publishes_login(build.url) else build.url,
        pull_request=pull_request["number"],
    )
