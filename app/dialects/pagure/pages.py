"""What Pagure's clients read outside the API: files, those of issues too, and commits and pull requests as patches."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from functools import partial, wraps
from http import HTTPStatus
from pathlib import Path

from aiohttp import web

from app import attachments
from app.actor import Actor
from app.core.access import Level, level
from app.core.issues import require_tracker
from app.core.pull_requests import require_pull_requests
from app.database import Row
from app.dialects.pagure import auth, code
from app.dialects.pagure.errors import MESSAGES, ApiError, render_refusal
from app.dialects.pagure.pull_requests import read_number
from app.dialects.pagure.trees import requested_path
from app.dialects.pagure.urls import PagureRoutes, find_project
from app.errors import Refused
from app.git import diff, store, tree
from app.git.errors import EmptyRepository, GitError, Missing, TooLarge
from app.git.tree import File
from app.http.keys import DATABASE, DIALECT, SETTINGS
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

routes = PagureRoutes()
Series = Callable[..., Iterator[bytes]]


def render_errors_as_text(handler: Handler) -> Handler:
    """Whatever goes wrong is told as text."""

    @wraps(handler)
    async def answer(request: web.Request) -> web.StreamResponse:
        request[DIALECT] = "pagure"
        try:
            return await handler(request)
        except ApiError as said:
            return _render_error(said)
        except Refused as refused:
            return _render_error(render_refusal(refused))
        except (Missing, EmptyRepository):
            return _render_error(ApiError(404, "EFILENOTFOUND"))
        except TooLarge:
            return _render_error(ApiError(413, "ENOCODE", message="This is too large to be shown"))
        except GitError:
            return _render_error(ApiError(400, "EGITERROR"))

    return answer


def _render_error(said: ApiError) -> web.Response:
    # In capitals, because ogr takes nothing else for a file that is not there.
    reason = HTTPStatus(said.status).phrase.upper()
    text = f"{said.message or MESSAGES[said.code]}\n"
    return web.Response(status=said.status, reason=reason, text=text, headers=SAFE_HEADERS)


async def _find_repo_path(request: web.Request) -> Path:
    project = await code.require_repository(request)
    return store.repository_path(request.config_dict[SETTINGS].repositories, project["project_id"])


@routes.project("GET", "/raw/{address:.+}", "read-code")
@render_errors_as_text
async def raw(request: web.Request) -> web.StreamResponse:
    repo_path = await _find_repo_path(request)
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


def _add_series_route(suffix: str, series: Series) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    @routes.project("GET", f"/pull-request/{{request:[0-9]+}}.{suffix}", "read-pull-requests")
    @render_errors_as_text
    async def commits(request: web.Request) -> web.StreamResponse:
        _, project = await find_project(request, auth.ignore_bad_token)
        require_pull_requests(project)
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


@routes.project("GET", "/issue/raw/files/{file}", "read-issues")
@render_errors_as_text
async def attachment(request: web.Request) -> web.Response:
    """For whoever sees an issue that it came with."""
    actor, project = await find_project(request, auth.ignore_bad_token)
    require_tracker(project, writing=False)
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
