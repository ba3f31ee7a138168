"""What Pagure's clients read outside the API: files, those of issues too, and commits and pull requests as patches."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from functools import partial, wraps
from http import HTTPStatus
from pathlib import Path

from aiohttp import web

from app import attachments
from app.core.access import Actor, Level, level
from app.core.issues import require_tracker
from app.core.pull_requests import require_pull_requests
from app.database import Row
from app.dialects.pagure import auth, code
from app.dialects.pagure.errors import MESSAGES, Said, in_pagures_words
from app.dialects.pagure.pull_requests import numbered
from app.dialects.pagure.trees import address
from app.dialects.pagure.urls import PagureRoutes, named_project
from app.errors import Refused
from app.git import diff, store, tree
from app.git.errors import EmptyRepository, GitError, Missing, TooLarge
from app.git.tree import File
from app.queries import issues, pull_requests, refs
from app.streams import BYTES, HARMLESS, TEXT, send
from app.web import DATABASE, DIALECT, SETTINGS, Handler

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


def page(handler: Handler) -> Handler:
    """Whatever goes wrong is told as text."""

    @wraps(handler)
    async def answer(request: web.Request) -> web.StreamResponse:
        request[DIALECT] = "pagure"
        try:
            return await handler(request)
        except Said as said:
            return _no(said)
        except Refused as refused:
            return _no(in_pagures_words(refused))
        except (Missing, EmptyRepository):
            return _no(Said(404, "EFILENOTFOUND"))
        except TooLarge:
            return _no(Said(413, "ENOCODE", message="This is too large to be shown"))
        except GitError:
            return _no(Said(400, "EGITERROR"))

    return answer


def _no(said: Said) -> web.Response:
    # In capitals, because ogr takes nothing else for a file that is not there.
    reason = HTTPStatus(said.status).phrase.upper()
    text = f"{said.message or MESSAGES[said.code]}\n"
    return web.Response(status=said.status, reason=reason, text=text, headers=HARMLESS)


async def _place(request: web.Request) -> Path:
    project = await code.with_repository(request)
    return store.directory(request.config_dict[SETTINGS].repositories, project["project_id"])


@routes.project("GET", "/raw/{address:.+}", "read-code")
@page
async def raw(request: web.Request) -> web.StreamResponse:
    place = await _place(request)
    found = await asyncio.to_thread(_wanted, place, address(request))
    if isinstance(found, File):
        return await send(request, partial(tree.read, place, found), size=found.size)
    return await send(request, partial(diff.patch, place, found), media=TEXT)


def _wanted(place: Path, asked: str) -> File | str:
    """A file, or without a path also the id of a commit."""
    identifier, path = tree.parted(place, asked)
    commit = tree.commit_at(place, identifier) if path is None else None
    found = commit or tree.look(place, identifier, path)
    if isinstance(found, File | str):
        return found
    raise Said(404, "EFILENOTFOUND")


def _series(suffix: str, series: Series) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    @routes.project("GET", f"/pull-request/{{request:[0-9]+}}.{suffix}", "read-pull-requests")
    @page
    async def commits(request: web.Request) -> web.StreamResponse:
        _, project = await named_project(request, auth.lenient)
        require_pull_requests(project)
        db, root = request.config_dict[DATABASE], request.config_dict[SETTINGS].repositories
        found = await pull_requests.find(db, project["project_id"], numbered(request), thread=False)
        place = store.directory(root, project["project_id"])
        borrow = store.directory(root, found["repo_from"]) if found["source"] else None
        start, stop = found["commit_start"], found["commit_stop"]
        heads = await refs.branches(db, project["project_id"]) if found["status"] == "Open" else {}

        def begin() -> Iterator[bytes]:
            if stop is None:
                return iter(())
            # What an open one brings is what its branch lacks; a merged one brought what came after its beginning.
            old = heads.get(found["branch"]) or diff.base(place, start, borrow=borrow)
            return series(place, stop, old, borrow=borrow)

        return await send(request, begin, media=TEXT)

    return commits


patch = _series("patch", diff.patches)
changes = _series("diff", diff.diffs)


async def _with_file(request: web.Request, actor: Actor, project: Row, name: str) -> Row | None:
    """An issue that came with the file and that the actor may see."""
    if not attachments.STORED.match(name):
        return None
    here = actor.token_project in (None, project["project_id"])
    return await issues.with_file(
        request.config_dict[DATABASE],
        project["project_id"],
        name,
        actor.username if here else "",
        everything=level(actor, project) >= Level.WRITE,
    )


@routes.project("GET", "/issue/raw/files/{file}", "read-issues")
@page
async def attachment(request: web.Request) -> web.Response:
    """For whoever sees an issue that it came with."""
    actor, project = await named_project(request, auth.lenient)
    require_tracker(project, writing=False)
    name = request.match_info["file"]
    issue = await _with_file(request, actor, project, name)
    root = request.config_dict[SETTINGS].attachments
    content = await asyncio.to_thread(attachments.read, root, project["project_id"], name) if issue else None
    if issue is None or content is None:
        raise Said(404, "EFILENOTFOUND")
    media = PICTURES.get(Path(name).suffix.lower())
    headers = {
        **HARMLESS,
        "Cache-Control": f"{'private' if project['private'] or issue['private'] else 'public'}, max-age=3600",
        "Content-Disposition": "inline" if media else f'attachment; filename="{name.partition("-")[2]}"',
    }
    return web.Response(body=content, content_type=media or BYTES, headers=headers)
