"""Pages that Pagure's clients read outside of the API: raw files, attachments of issues, and patches."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from http import HTTPStatus
from pathlib import Path

from aiohttp import web

from app.actor import Actor
from app.core.access import Level, is_bound_elsewhere, level
from app.core.pull_requests import require_pull_requests
from app.database import Row
from app.dialects.pagure.code import require_repository
from app.dialects.pagure.errors import MESSAGES, ApiError, to_api_error
from app.dialects.pagure.pull_requests import read_number
from app.dialects.pagure.trackers import require_readable_tracker
from app.dialects.pagure.trees import read_tree_path
from app.dialects.pagure.urls import PagureRoutes
from app.disk import attachments
from app.git import diff, store, tree
from app.git.errors import EmptyRepository, GitError, Missing, NeedsSearch, TimedOut, TooLarge
from app.git.tree import File
from app.http.errors import fence
from app.http.keys import DATABASE, SETTINGS
from app.http.long_reads import hold_slot
from app.http.routes import Handler
from app.http.streaming import BYTES, SAFE_HEADERS, TEXT, stream_response
from app.queries import issues, pull_requests, refs

# Image types that cannot contain scripts; everything else is sent as a download.
PICTURES = {
    ".gif": "image/gif",
    ".jpeg": "image/jpeg",
    ".jpg": "image/jpeg",
    ".png": "image/png",
    ".webp": "image/webp",
}


SERIES_COST = 10  # of rate limits


def _to_api_error(error: Exception) -> ApiError | None:
    match error:
        case Missing() | EmptyRepository():
            return ApiError(404, "EFILENOTFOUND")
        case TooLarge() | TimedOut():
            return ApiError(413, "ENOCODE", message="This is too large to be shown")
        case GitError():
            return ApiError(400, "EGITERROR")
    return to_api_error(error)


def _render_error(request: web.Request, error: Exception) -> web.Response | None:
    api_error = _to_api_error(error)
    if api_error is None:
        return None
    # In capitals: ogr recognizes a missing file by `NOT FOUND`.
    reason = HTTPStatus(api_error.status).phrase.upper()
    text = f"{api_error.message or MESSAGES[api_error.code]}\n"
    return web.Response(status=api_error.status, reason=reason, text=text, headers=SAFE_HEADERS)


def answer_as_text(handler: Handler) -> Handler:
    """Render errors as text."""

    async def fenced(request: web.Request) -> web.StreamResponse:
        return await fence(request, handler, "pagure", _render_error)

    return fenced


routes = PagureRoutes(fence=answer_as_text)
Series = Callable[..., Iterator[bytes]]


@routes.project("GET", "/raw/{address:.+}", "read-code", requires=require_repository)
async def send_raw(request: web.Request, _: Actor, project: Row) -> web.StreamResponse:
    """Send a file, or the patch of a commit."""
    repo_path = store.repository_path(request.config_dict[SETTINGS].repositories, project["project_id"])
    find = partial(_find_content, repo_path, read_tree_path(request))
    try:
        found = await asyncio.to_thread(partial(find, search=False))
    except NeedsSearch:
        async with hold_slot(request, project) as reads:
            found = await reads.run(partial(find, search=True))
            if isinstance(found, str):
                return await _send_patch(request, project, repo_path, found)
    if isinstance(found, str):
        return await _send_patch(request, project, repo_path, found)
    return await stream_response(request, partial(tree.read_file, repo_path, found), size=found.size)


@routes.project("GET", "/blob/{address:.+}", "read-code", requires=require_repository)
async def send_file(request: web.Request, _: Actor, project: Row) -> web.StreamResponse:
    """Send a file where Pagure has the page of it; clients look at the status to see whether the file is there."""
    repo_path = store.repository_path(request.config_dict[SETTINGS].repositories, project["project_id"])
    find = partial(_find_content, repo_path, read_tree_path(request))
    try:
        found = await asyncio.to_thread(partial(find, search=False))
    except NeedsSearch:
        async with hold_slot(request, project) as reads:
            found = await reads.run(partial(find, search=True))
    if not isinstance(found, File):
        raise ApiError(404, "EFILENOTFOUND")
    return await stream_response(request, partial(tree.read_file, repo_path, found), size=found.size)


async def _send_patch(request: web.Request, project: Row, repo_path: Path, commit: str) -> web.StreamResponse:
    return await stream_response(request, partial(diff.patch, repo_path, commit), media=TEXT, long_for=project)


def _find_content(repo_path: Path, address: str, *, search: bool) -> File | str:
    """Find a file, or the id of a commit if the address has no path. Raises ApiError or GitError."""
    identifier, path = tree.split_address(repo_path, address)
    commit = tree.find_commit(repo_path, identifier, search=search) if path is None else None
    found = commit or tree.find_entry(repo_path, identifier, path, search=search)
    if isinstance(found, File | str):
        return found
    raise ApiError(404, "EFILENOTFOUND")


def _add_series_route(suffix: str, series: Series) -> Callable[..., Awaitable[web.StreamResponse]]:
    @routes.project(
        "GET",
        f"/pull-request/{{request:[0-9]+}}.{suffix}",
        "read-pull-requests",
        requires=require_pull_requests,
        cost=SERIES_COST,
    )
    async def send_series(request: web.Request, _: Actor, project: Row) -> web.StreamResponse:
        db, root = request.config_dict[DATABASE], request.config_dict[SETTINGS].repositories
        pull_request = await pull_requests.find(db, project["project_id"], read_number(request), thread=False)
        repo_path = store.repository_path(root, project["project_id"])
        alternate = store.repository_path(root, pull_request["repo_from"]) if pull_request["source"] else None
        start, stop = pull_request["commit_start"], pull_request["commit_stop"]
        heads = await refs.list_branches(db, project["project_id"]) if pull_request["status"] == "Open" else {}

        def begin() -> Iterator[bytes]:
            if stop is None:
                return iter(())
            # An open pull request has the commits that its branch lacks, a merged one those since its start.
            old = heads.get(pull_request["branch"]) or diff.find_base(repo_path, start, alternate=alternate)
            return series(repo_path, stop, old, alternate=alternate)

        return await stream_response(request, begin, media=TEXT, long_for=project)

    return send_series


send_patches = _add_series_route("patch", diff.patches)
send_diffs = _add_series_route("diff", diff.diffs)


async def _find_issue_with_file(request: web.Request, actor: Actor, project: Row, name: str) -> Row | None:
    """Find an issue with this attachment that the actor may see."""
    if not attachments.STORED_NAME.match(name):
        return None
    return await issues.find_with_file(
        request.config_dict[DATABASE],
        project["project_id"],
        name,
        "" if is_bound_elsewhere(actor, project) else actor.username,
        everything=level(actor, project) >= Level.WRITE,
    )


@routes.project("GET", "/issue/raw/files/{file}", "read-issues", requires=require_readable_tracker)
async def send_attachment(request: web.Request, actor: Actor, project: Row) -> web.Response:
    """Send an attachment to those who may see an issue that has it."""
    name = request.match_info["file"]
    issue = await _find_issue_with_file(request, actor, project, name)
    root = request.config_dict[SETTINGS].attachments
    content = await asyncio.to_thread(attachments.read, root, project["project_id"], name) if issue else None
    if issue is None or content is None:
        raise ApiError(404, "EFILENOTFOUND")
    media = PICTURES.get(Path(name).suffix.lower())
    headers = {
        **SAFE_HEADERS,
        "Cache-Control": f"{'private' if project['private'] or issue['private'] else 'public'}, max-age=3600",
        "Content-Disposition": "inline" if media else f'attachment; filename="{name.partition("-")[2]}"',
    }
    return web.Response(body=content, content_type=media or BYTES, headers=headers)
