"""Endpoint for a commit."""

from aiohttp import web

from app.actor import Actor
from app.database import Row
from app.dialects.pagure.errors import ApiError
from app.dialects.pagure.urls import PagureRoutes
from app.git import commits, store
from app.git.errors import GitError, TooLarge
from app.http.keys import SETTINGS
from app.http.long_reads import read_long
from app.http.responses import json_reply

routes = PagureRoutes()


def too_large() -> ApiError:
    return ApiError(413, "ENOCODE", message="This commit is too large to be shown")


async def read_commit(request: web.Request, project: Row) -> commits.Commit:
    """Find the commit that the path names, maybe abbreviated. Raises ApiError and Busy."""
    repo_path = store.repository_path(request.config_dict[SETTINGS].repositories, project["project_id"])
    try:
        return await read_long(request, project, commits.find, repo_path, request.match_info["hash"])
    except TooLarge:
        raise too_large() from None
    except GitError:
        raise ApiError(404, "ENOCOMMIT") from None


@routes.project("GET", "/c/{hash}/info", "read-code")
async def view_commit(request: web.Request, _: Actor, project: Row) -> web.Response:
    commit = await read_commit(request, project)
    if commit.cut:
        raise too_large()
    return json_reply(
        {
            "author": commit.author.name,
            "commit_time": commit.committer.time,
            "commit_time_offset": commit.committer.offset,
            "committer": commit.committer.name,
            "hash": commit.id,
            "message": commit.message,
            "parent_ids": list(commit.parents),
            "tree_id": commit.tree,
        }
    )
