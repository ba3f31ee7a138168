"""Endpoints for the tags of a tracker."""

import re

from aiohttp import web

from app.actor import Actor
from app.core.issues import MAX_TAG_LENGTH
from app.core.tags import DefineTag, DeleteTag
from app.database import Row
from app.dialects.pagure import forms, render
from app.dialects.pagure.urls import PagureRoutes
from app.errors import NotFound, Subject
from app.http import requests
from app.http.commands import execute
from app.http.keys import DATABASE
from app.http.responses import json_reply
from app.queries import issues, tags

routes = PagureRoutes()

TAG = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9\-_ .:]+\Z")


@routes.project("GET", "/tags", "read-issues")
@routes.project("GET", "/tags/", "read-issues")
async def list_tags(request: web.Request, _: Actor, project: Row) -> web.Response:
    pattern = forms.Query(request).text("pattern") or ""
    found = await tags.search(request.config_dict[DATABASE], project["project_id"], pattern)
    return json_reply({"tags": found, "total_tags": len(found)})


@routes.project("GET", "/tag/{tag}", "read-issues")
async def view_tag(request: web.Request, _: Actor, project: Row) -> web.Response:
    found = await issues.find_tag(request.config_dict[DATABASE], project["project_id"], _read_tag_name(request))
    if found is None:
        raise NotFound(Subject.TAG)
    return json_reply(render.tag(found))


@routes.project("POST", "/tags/new", "manage-tags")
async def new_tag(request: web.Request, actor: Actor, project: Row) -> web.Response:
    form = await forms.read_form(request)
    tag, color = form.required("tag").strip(), form.required("tag_color").strip()
    if len(tag) > MAX_TAG_LENGTH:
        form.complain("tag", forms.TOO_LONG)
    elif tag and not TAG.match(tag):
        form.complain("tag", forms.INVALID)
    form.check()
    description = form.optional("tag_description") or ""
    command = DefineTag(project_id=project["project_id"], tag=tag, color=color, description=description)
    defined = await execute(request, actor, command, seen=project)
    return json_reply({"message": "Tag created", "tag": render.tag(defined.row)})


@routes.project("DELETE", "/tag/{tag}", "manage-tags", own_token=True)
async def delete_tag(request: web.Request, actor: Actor, project: Row) -> web.Response:
    tag = _read_tag_name(request)
    await execute(request, actor, DeleteTag(project_id=project["project_id"], tag=tag), seen=project)
    return json_reply({"message": f"Tag: {tag} has been deleted"})


def _read_tag_name(request: web.Request) -> str:
    """Read the tag in the path. Raises NotFound for text that the database cannot store."""
    tag = request.match_info["tag"]
    if not requests.is_storable(tag):
        raise NotFound(Subject.TAG)
    return tag
