"""Endpoints that create and move branches, tags, aliases and HEAD."""

import asyncio

from aiohttp import web

from app.actor import Actor
from app.core import branches
from app.database import Row
from app.dialects.pagure import code, forms
from app.dialects.pagure.code import require_repository
from app.dialects.pagure.errors import ApiError, invalid_request
from app.dialects.pagure.urls import PagureRoutes
from app.dialects.pagure.words import describe_git_error
from app.git import refs, store
from app.git.errors import AlreadyExists, BadName, GitError, NoBranch, NoCommit, NoRepository
from app.http.commands import ref_writer
from app.http.keys import SETTINGS
from app.http.responses import json_reply

routes = PagureRoutes()


def git_error(error: GitError) -> ApiError:
    return ApiError(400, "EGITERROR", errors=describe_git_error(error))


def message_error(text: str) -> ApiError:
    return ApiError(400, "ENOCODE", message=text)


@routes.project("POST", "/git/branch", "create-branch", requires=require_repository)
async def new_branch(request: web.Request, actor: Actor, project: Row) -> web.Response:
    writer = ref_writer(request, actor, project)
    form = await forms.read_data(request, texts=("branch", "from_branch", "from_commit"))
    name = form.first("branch")
    from_branch, from_commit = form.first("from_branch") or None, form.first("from_commit") or None
    if not name or (from_branch and from_commit):
        raise invalid_request()
    try:
        await branches.create_branch(writer, name, from_branch, from_commit)
    except NoBranch as error:
        raise message_error(f'The "{error.subject}" branch does not exist') from None
    except NoCommit as error:
        raise message_error(f'The commit "{error.subject}" does not exist') from None
    except AlreadyExists:
        raise message_error(f'The branch "{name}" already exists') from None
    except GitError as error:
        raise git_error(error) from None
    return json_reply({"message": "Project branch was created"})


@routes.project("POST", "/git/tags", "manage-refs", requires=require_repository)
async def new_tag(request: web.Request, actor: Actor, project: Row) -> web.Response:
    writer = ref_writer(request, actor, project)
    form = await forms.read_form(request)
    name, target = form.required("tagname"), form.required("commit_hash").strip()
    form.check()
    with_commits = (await forms.read_values(request)).flag("with_commits")
    message, force = form.first("message") or "", form.boolean("force")
    try:
        created = await branches.create_tag(writer, name, target, message, force=force)
    except GitError as error:
        raise git_error(error) from None
    return json_reply({**await code.render_tags(request, writer.project, with_commits), "tag_created": created})


@routes.project("POST", "/git/branches", "set-default-branch", requires=require_repository)
async def set_default_branch(request: web.Request, actor: Actor, project: Row) -> web.Response:
    writer = ref_writer(request, actor, project)
    form = await forms.read_values(request)
    name = form.first("branch_name")
    try:
        if not name:
            raise NoBranch
        await branches.set_default_branch(writer, name)
    except GitError as error:
        raise git_error(error) from None
    return json_reply(await code.render_branches(request, {**writer.project, "head": name}, form.flag("with_commits")))


@routes.project("GET", "/git/alias", "read-code", requires=require_repository)
async def list_aliases(request: web.Request, _: Actor, project: Row) -> web.Response:
    return json_reply(await _read_aliases(request, project["project_id"]))


async def _read_aliases(request: web.Request, project_id: int) -> dict[str, str]:
    repo_path = store.repository_path(request.config_dict[SETTINGS].repositories, project_id)
    try:
        return await asyncio.to_thread(refs.list_aliases, repo_path)
    except NoRepository:
        raise ApiError(404, "ENOPROJECT") from None


@routes.project("POST", "/git/alias/new", "create-alias", requires=require_repository)
async def new_alias(request: web.Request, actor: Actor, project: Row) -> web.Response:
    writer = ref_writer(request, actor, project)
    name, existing = await _read_pair(request)
    try:
        await branches.create_alias(writer, name, existing)
    except NoBranch:
        raise ApiError(400, "EBRANCHNOTFOUND") from None
    except (AlreadyExists, BadName):
        raise message_error(f"Could not create alias from {name} to {existing}. Reference already existing?") from None
    except GitError as error:
        raise git_error(error) from None
    return json_reply(await _read_aliases(request, writer.project["project_id"]))


@routes.project("POST", "/git/alias/drop", "delete-alias", requires=require_repository)
async def drop_alias(request: web.Request, actor: Actor, project: Row) -> web.Response:
    writer = ref_writer(request, actor, project)
    name, existing = await _read_pair(request)
    try:
        await branches.drop_alias(writer, name, existing)
    except NoBranch:
        raise ApiError(400, "EBRANCHNOTFOUND") from None
    except GitError as error:
        raise git_error(error) from None
    return json_reply(await _read_aliases(request, writer.project["project_id"]))


async def _read_pair(request: web.Request) -> tuple[str, str]:
    form = await forms.read_data(request, texts=("alias_from", "alias_to"))
    name, existing = form.first("alias_from"), form.first("alias_to")
    if not name or not existing:
        raise invalid_request()
    return name, existing
