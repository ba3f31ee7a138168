"""Pagure's endpoint about a commit."""

import asyncio

from aiohttp import web

from app.actor import Actor
from app.database import Row
from app.dialects.pagure.errors import ApiError
from app.dialects.pagure.urls import PagureRoutes
from app.git import commits, store
from app.git.errors import GitError
from app.http.keys import SETTINGS
from app.http.responses import json_reply

routes = PagureRoutes()


async def read_commit(request: web.Request, project: Row) -> commits.Commit:
    """The commit that the path names; it may be abbreviated."""
    repo_path = store.repository_path(request.config_dict[SETTINGS].repositories, project["project_id"])
    try:
        return await asyncio.to_thread(commits.find, repo_path, request.match_info["hash"])
    except GitError:
        raise ApiError(404, "ENOCOMMIT") from None


@routes.project("GET", "/c/{hash}/info", "read-code")
async def commit_info(request: web.Request, _: Actor, project: Row) -> web.Response:
    found = await read_commit(request, project)
    return json_reply(
        {
            "author": found.author.name,
            "commit_time": found.committer.time,
            "commit_time_offset": found.committer.offset,
            "committer": found.committer.name,
            "hash": found.id,
            "message": found.message,
            "parent_ids": list(found.parents),
            "tree_id": found.tree,
        }
    )
