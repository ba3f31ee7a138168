"""Endpoints that list the files of a repository."""

from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote_to_bytes

from aiohttp import web

from app.actor import Actor
from app.database import Row
from app.dialects.pagure import render
from app.dialects.pagure.code import require_repository
from app.dialects.pagure.errors import ApiError
from app.dialects.pagure.urls import PagureRoutes
from app.git import store, tree
from app.git.errors import EmptyRepository, GitError, Missing, NoRepository, TimedOut, TooLarge
from app.git.tree import Folder
from app.http.keys import SETTINGS
from app.http.long_reads import read_quickly
from app.http.responses import json_reply

routes = PagureRoutes()
TOO_MANY_ENTRIES = "There are too many files in this folder to list them"


def read_tree_path(request: web.Request) -> str:
    """Read the end of the path, `{address}` in the route; file names need not be UTF-8."""
    resource = request.match_info.route.resource
    assert resource is not None  # noqa: S101 - the route has matched
    before = resource.canonical.split("/").index("{address}")
    raw = request.rel_url.raw_path.split("/", before)[before]
    return unquote_to_bytes(raw).decode("utf-8", "surrogateescape").strip("/")


@routes.project("GET", "/tree", "read-code", requires=require_repository)
@routes.project("GET", "/tree/{address:.+}", "read-code", requires=require_repository)
async def list_tree(request: web.Request, _: Actor, project: Row) -> web.Response:
    repo_path = store.repository_path(request.config_dict[SETTINGS].repositories, project["project_id"])
    address = read_tree_path(request) if "address" in request.match_info else None
    try:
        # Rendered in the thread too: a folder may contain very many files.
        return await read_quickly(
            request, project, _render_entries, render.base_url(request), project, repo_path, address
        )
    except NoRepository:
        raise ApiError(404, "ENOPROJECT") from None
    except EmptyRepository:
        raise ApiError(404, "EEMPTYGIT") from None
    except Missing:
        raise ApiError(404, "EFILENOTFOUND") from None
    except (TooLarge, TimedOut):
        raise ApiError(400, "ENOCODE", message=TOO_MANY_ENTRIES) from None
    except GitError:
        raise ApiError(400, "EGITERROR") from None


def _render_entries(base: str, project: Row, repo_path: Path, address: str | None, *, search: bool) -> web.Response:
    identifier, path = tree.split_address(repo_path, address) if address is not None else (None, None)
    found = tree.find_entry(repo_path, identifier, path, search=search)
    revision = _quote(identifier or project["head"])
    raw_url = f"{base}/{project['path']}/raw/{revision}"
    tree_url = f"{base}/api/0/{project['path']}/tree/{revision}"
    if not isinstance(found, Folder):
        return json_reply(
            {"content_url": f"{raw_url}/f/{_quote(path)}" if path else raw_url, "name": found.path, "type": "file"}
        )
    content: list[dict[str, Any]] = [
        {
            "content_url": f"{raw_url if entry.kind == 'file' else tree_url}/f/{quote(entry.raw_path)}",
            "name": entry.name,
            "path": entry.path,
            "type": entry.kind,
        }
        for entry in found.entries
    ]
    return json_reply({"content": content, "name": found.path, "type": "folder"})


def _quote(name: str) -> str:
    return quote(name.encode("utf-8", "surrogateescape"))
