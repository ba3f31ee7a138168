"""What Pagure's clients read outside the API: files, those of issues too, and commits and pull requests as patches."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from http import HTTPStatus
from pathlib import Path

from aiohttp import web

from app import attachments
from app.actor import Actor
from app.core.access import Level, level
from app.core.pull_requests import require_pull_requests
from app.database import Row
from app.dialects.pagure.code import require_repository
from app.dialects.pagure.errors import MESSAGES, ApiError, to_api_error
from app.dialects.pagure.pull_requests import read_number
from app.dialects.pagure.trackers import readable_tracker
from app.dialects.pagure.trees import requested_path
from app.dialects.pagure.urls import PagureRoutes
from app.git import diff, store, tree
from app.git.errors import EmptyRepository, GitError, Missing, TooLarge
from app.git.tree import File
from app.http.errors import fence
from app.http.keys import DATABASE, SETTINGS
from app.http.routes import Handler
from app.http.streaming import BYTES, SAFE_HEADERS, TEXT, stream_response
from app.queries import issues, pull_requests, refs

# Pictures that have no scripts in them; everything else is for downloading.
PICTURES = {
    ".gif": "image/gif",
    ".jpeg": "image/jpeg",
    ".jpg": "image/jpeg",
    ".png": "image/png",
    ".webp": "image/webp",
}


def _to_api_error(error: Exception) -> ApiError | None:
    match error:
        case Missing() | EmptyRepository():
            return ApiError(404, "EFILENOTFOUND")
        case TooLarge():
            return ApiError(413, "ENOCODE", message="This is too large to be shown")
        case GitError():
            return ApiError(400, "EGITERROR")
    return to_api_error(error)


def _render_error(request: web.Request, error: Exception) -> web.Response | None:
    known = _to_api_error(error)
    if known is None:
        return None
    # In capitals, because ogr takes nothing else for a file that is not there.
    reason = HTTPStatus(known.status).phrase.upper()
    text = f"{known.message or MESSAGES[known.code]}\n"
    return web.Response(status=known.status, reason=reason, text=text, headers=SAFE_HEADERS)


def answer_as_text(handler: Handler) -> Handler:
    """Answer errors as text."""

    async def fenced(request: web.Request) -> web.StreamResponse:
        return await fence(request, handler, "pagure", _render_error)

    return fenced


routes = PagureRoutes(fence=answer_as_text)
Series = Callable[..., Iterator[bytes]]


@routes.project("GET", "/raw/{address:.+}", "read-code", requires=require_repository)
async def raw(request: web.Request, _: Actor, project: Row) -> web.StreamResponse:
    repo_path = store.repository_path(request.config_dict[SETTINGS].repositories, project["project_id"])
    found = await asyncio.to_thread(_find_content, repo_path, requested_path(request))
    if isinstance(found, File):
        return await stream_response(request, partial(tree.read_file, repo_path, found), size=found.size)
    return await stream_response(request, partial(diff.patch, repo_path, found), media=TEXT)


def _find_content(repo_path: Path, asked: str) -> File | str:
    """A file, or without a path also the id of a commit."""
    identifier, path = tree.split_address(repo_path, asked)
    commit = tree.find_commit(repo_path, identifier) if path is None else None
    found = commit or tree.find_entry(repo_path, identifier, path)
    if isinstance(found, File | str):
        return found
    raise ApiError(404, "EFILENOTFOUND")


def _add_series_route(suffix: str, series: Series) -> Callable[..., Awaitable[web.StreamResponse]]:
    @routes.project(
        "GET", f"/pull-request/{{request:[0-9]+}}.{suffix}", "read-pull-requests", requires=require_pull_requests
    )
    async def commits(request: web.Request, _: Actor, project: Row) -> web.StreamResponse:
        db, root = request.config_dict[DATABASE], request.config_dict[SETTINGS].repositories
        found = await pull_requests.find(db, project["project_id"], read_number(request), thread=False)
        repo_path = store.repository_path(root, project["project_id"])
        alternate = store.repository_path(root, found["repo_from"]) if found["source"] else None
        start, stop = found["commit_start"], found["commit_stop"]
        heads = await refs.list_branches(db, project["project_id"]) if found["status"] == "Open" else {}

        def begin() -> Iterator[bytes]:
            if stop is None:
                return iter(())
            # What an open one brings is what its branch lacks; a merged one brought what came after its beginning.
            old = heads.get(found["branch"]) or diff.find_base(repo_path, start, alternate=alternate)
            return series(repo_path, stop, old, alternate=alternate)

        return await stream_response(request, begin, media=TEXT)

    return commits


patch = _add_series_route("patch", diff.patches)
changes = _add_series_route("diff", diff.diffs)


async def _find_issue_with_file(request: web.Request, actor: Actor, project: Row, name: str) -> Row | None:
    """An issue that came with the file and that the actor may see."""
    if not attachments.STORED_NAME.match(name):
        return None
    here = actor.token_project in (None, project["project_id"])
    return await issues.find_with_file(
        request.config_dict[DATABASE],
        project["project_id"],
        name,
        actor.username if here else "",
        everything=level(actor, project) >= Level.WRITE,
    )


@routes.project("GET", "/issue/raw/files/{file}", "read-issues", requires=readable_tracker)
async def attachment(request: web.Request, actor: Actor, project: Row) -> web.Response:
    """For whoever sees an issue that it came with."""
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
