"""Pagure's endpoints about the tags of a tracker."""

import re

from aiohttp import web

from app.core.issues import LONGEST_TAG
from app.core.tags import DefineTag, DeleteTag
from app.dialects.pagure import auth, forms, render
from app.dialects.pagure.urls import PagureRoutes, named_project
from app.errors import NotFound
from app.queries import issues, tags
from app.web import DATABASE, execute, reply

routes = PagureRoutes()

TAG = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9\-_ .:]+\Z")


@routes.project("GET", "/tags", "read-issues")
@routes.project("GET", "/tags/", "read-issues")
async def list_tags(request: web.Request) -> web.Response:
    _, project = await named_project(request, auth.lenient)
    pattern = forms.Query(request).text("pattern") or ""
    found = await tags.matching(request.config_dict[DATABASE], project["project_id"], pattern)
    return reply({"tags": found, "total_tags": len(found)})


@routes.project("GET", "/tag/{tag}", "read-issues")
async def view_tag(request: web.Request) -> web.Response:
    _, project = await named_project(request, auth.lenient)
    found = await issues.tag(request.config_dict[DATABASE], project["project_id"], _named(request))
    if found is None:
        raise NotFound("tag")
    return reply(render.tag(found))


@routes.project("POST", "/tags/new", "manage-tags")
async def new_tag(request: web.Request) -> web.Response:
    actor, project = await named_project(request, auth.required("modify_project"))
    auth.bound(actor, project)
    form = await forms.form(request)
    tag, color = form.required("tag").strip(), form.required("tag_color").strip()
    if len(tag) > LONGEST_TAG:
        form.complain("tag", forms.TOO_LONG)
    elif tag and not TAG.match(tag):
        form.complain("tag", forms.INVALID)
    form.check()
    description = form.optional("tag_description") or ""
    command = DefineTag(project_id=project["project_id"], tag=tag, color=color, description=description)
    defined = await execute(request, actor, command, seen=project)
    return reply({"message": "Tag created", "tag": render.tag(defined.row)})


@routes.project("DELETE", "/tag/{tag}", "manage-tags")
async def delete_tag(request: web.Request) -> web.Response:
    actor, project = await named_project(request, auth.required("modify_project"))
    auth.made_for(actor, project)
    tag = _named(request)
    await execute(request, actor, DeleteTag(project_id=project["project_id"], tag=tag), seen=project)
    return reply({"message": f"Tag: {tag} has been deleted"})


def _named(request: web.Request) -> str:
    """The tag in the path. What cannot be stored names none."""
    tag = request.match_info["tag"]
    if not forms.storable(tag):
        raise NotFound("tag")
    return tag
