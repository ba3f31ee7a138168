"""Pagure's endpoints that make and move branches, tags, aliases and HEAD."""

import asyncio

from aiohttp import web

from app.core import branches
from app.core.pushes import Writer
from app.dialects.pagure import auth, code, forms
from app.dialects.pagure.errors import Said, invalid
from app.dialects.pagure.urls import PagureRoutes, named_project
from app.git import refs, store
from app.git.errors import AlreadyThere, BadName, GitError, NoBranch, NoCommit, NoRepository
from app.web import SETTINGS, reply, writer

routes = PagureRoutes()


async def writing(request: web.Request, *acls: str) -> Writer:
    """The caller about to write to the repository, once it is there."""
    actor, project = await named_project(request, auth.required(*acls))
    if project["head"] is None:
        raise Said(404, "ENOPROJECT")
    auth.bound(actor, project)
    return writer(request, actor, project)


def told(text: str) -> Said:
    return Said(400, "ENOCODE", message=text)


@routes.project("POST", "/git/branch", "push")
async def new_branch(request: web.Request) -> web.Response:
    hand = await writing(request, "create_branch")
    form = await forms.data(request, texts=("branch", "from_branch", "from_commit"))
    name = form.first("branch")
    from_branch, from_commit = form.first("from_branch") or None, form.first("from_commit") or None
    if not name or (from_branch and from_commit):
        raise invalid()
    try:
        await branches.create_branch(hand, name, from_branch, from_commit)
    except NoBranch as no:
        raise told(f'The "{no.subject}" branch does not exist') from None
    except NoCommit as no:
        raise told(f'The commit "{no.subject}" does not exist') from None
    except AlreadyThere:
        raise told(f'The branch "{name}" already exists') from None
    except GitError:
        raise Said(400, "EGITERROR") from None
    return reply({"message": "Project branch was created"})


@routes.project("POST", "/git/tags", "manage-refs")
async def new_tag(request: web.Request) -> web.Response:
    hand = await writing(request, "modify_project", "tag_project")
    form = await forms.form(request)
    name, target = form.required("tagname"), form.required("commit_hash").strip()
    form.check()
    wanted = (await forms.values(request)).flag("with_commits")
    message, force = form.first("message") or "", form.boolean("force")
    try:
        created = await branches.create_tag(hand, name, target, message, force=force)
    except GitError:
        raise Said(400, "EGITERROR") from None
    return reply({**await code.tags_of(request, hand.project, wanted), "tag_created": created})


@routes.project("POST", "/git/branches", "configure-project")
async def set_default_branch(request: web.Request) -> web.Response:
    hand = await writing(request, "modify_project")
    form = await forms.values(request)
    name = form.first("branch_name")
    try:
        if not name:
            raise NoBranch
        await branches.set_default_branch(hand, name)
    except GitError:
        raise Said(400, "EGITERROR") from None
    return reply(await code.branches_of(request, {**hand.project, "head": name}, form.flag("with_commits")))


@routes.project("GET", "/git/alias", "read-code")
async def aliases(request: web.Request) -> web.Response:
    project = await code.with_repository(request)
    return reply(await _aliases(request, project["project_id"]))


async def _aliases(request: web.Request, project_id: int) -> dict[str, str]:
    place = store.directory(request.config_dict[SETTINGS].repositories, project_id)
    try:
        return await asyncio.to_thread(refs.aliases, place)
    except NoRepository:
        raise Said(404, "ENOPROJECT") from None


@routes.project("POST", "/git/alias/new", "manage-refs")
async def new_alias(request: web.Request) -> web.Response:
    hand = await writing(request, "create_git_alias", "modify_git_alias", "modify_project")
    name, existing = await _pair(request)
    try:
        await branches.create_alias(hand, name, existing)
    except NoBranch:
        raise Said(400, "EBRANCHNOTFOUND") from None
    except (AlreadyThere, BadName):
        raise told(f"Could not create alias from {name} to {existing}. Reference already existing?") from None
    except GitError:
        raise Said(400, "EGITERROR") from None
    return reply(await _aliases(request, hand.project["project_id"]))


@routes.project("POST", "/git/alias/drop", "manage-refs")
async def drop_alias(request: web.Request) -> web.Response:
    hand = await writing(request, "delete_git_alias", "modify_git_alias", "modify_project")
    one, other = await _pair(request)
    try:
        await branches.drop_alias(hand, one, other)
    except NoBranch:
        raise Said(400, "EBRANCHNOTFOUND") from None
    except GitError:
        raise Said(400, "EGITERROR") from None
    return reply(await _aliases(request, hand.project["project_id"]))


async def _pair(request: web.Request) -> tuple[str, str]:
    form = await forms.data(request, texts=("alias_from", "alias_to"))
    one, other = form.first("alias_from"), form.first("alias_to")
    if not one or not other:
        raise invalid()
    return one, other
