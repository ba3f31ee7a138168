"""Endpoints for groups."""

from collections.abc import Mapping
from typing import Any

from aiohttp import web

from app.actor import Actor
from app.core.groups import AddMember, RemoveMember
from app.database import Row
from app.dialects.pagure import forms, render
from app.dialects.pagure.auth import BadTokenPolicy
from app.dialects.pagure.urls import PagureRoutes
from app.errors import NotFound, Subject
from app.http.commands import execute
from app.http.keys import DATABASE
from app.http.responses import json_reply
from app.queries import groups, projects
from app.queries.projects import ProjectFilter
from app.queries.visibility import readable_projects

routes = PagureRoutes()

# Each level, and the levels that include it.
LEVELS = {"admin": ["admin"], "commit": ["admin", "commit"], "ticket": ["admin", "commit", "ticket"]}


def render_group(base: str, row: Mapping[str, Any], *, email: bool) -> dict[str, Any]:
    creator = render.user(base, row["creator"], row["creator_fullname"])
    return {
        "creator": render.add_emails(creator, row["creator_email"]) if email else creator,
        "date_created": render.timestamp(row["created_at"]),
        "description": row["description"],
        "display_name": row["display_name"],
        "full_url": f"{base}/group/{row['group_name']}",
        "group_type": row["group_type"],
        "members": row["members"],
        "name": row["group_name"],
    }


def _read_name(request: web.Request) -> str:
    name = request.match_info["group"]
    if not name.isprintable():
        raise NotFound(Subject.GROUP)
    return name


def lookup(request: web.Request) -> tuple[Any, ...]:
    """Build the lookup of the group that the path names; an unprintable name finds nothing."""
    name = request.match_info["group"]
    return groups.BY_NAME, name if name.isprintable() else ""


async def _find_group(request: web.Request) -> Row:
    found = await groups.find(request.config_dict[DATABASE], _read_name(request))
    if found is None:
        raise NotFound(Subject.GROUP)
    return found


@routes.call("GET", "/groups", "list-groups")
@routes.call("GET", "/groups/", "list-groups")
async def list_groups(request: web.Request) -> web.Response:
    query = forms.Query(request)
    found = await groups.search(request.config_dict[DATABASE], query.text("pattern") or "", query.page())
    extended = query.flag("extended")
    shown = [
        {"description": row["description"], "name": row["group_name"]} if extended else row["group_name"]
        for row in found.rows
    ]
    return json_reply(
        {"groups": shown, "pagination": render.pagination(request, found), "total_groups": found.total},
    )


@routes.call("GET", "/group/{group}", "read-group", lookup=lookup, bad=BadTokenPolicy.REFUSED)
async def view_group(request: web.Request, actor: Actor, group: Row | None) -> web.Response:
    query = forms.Query(request)
    if group is None:
        raise NotFound(Subject.GROUP)
    body = render_group(render.base_url(request), group, email=not actor.anonymous)
    if (query.text("projects") or "").lower() in ("1", "true"):
        body |= await _render_projects(request, actor, group["group_name"], query)
    return json_reply(body)


async def _render_projects(request: web.Request, actor: Actor, name: str, query: forms.Query) -> dict[str, Any]:
    """List the projects that the group has access to and the actor may read."""
    acl, db, base = query.text("acl"), request.config_dict[DATABASE], render.base_url(request)
    project_filter = ProjectFilter(group=name, levels=LEVELS.get(acl, [acl]) if acl else None)
    found = await projects.search(db, project_filter, query.page(), projects.COLUMNS, readable_projects(actor))
    return {
        "pagination": render.pagination(request, found),
        "projects": [render.project(base, row, actor) for row in found.rows],
        "total_projects": found.total,
    }


@routes.call("POST", "/group/{group}/add", "manage-members")
async def add_member(request: web.Request, actor: Actor) -> web.Response:
    return await _change_membership(request, actor, AddMember)


@routes.call("POST", "/group/{group}/remove", "manage-members")
async def remove_member(request: web.Request, actor: Actor) -> web.Response:
    return await _change_membership(request, actor, RemoveMember)


async def _change_membership(
    request: web.Request, actor: Actor, command: type[AddMember | RemoveMember]
) -> web.Response:
    await _find_group(request)
    form = await forms.read_form(request)
    user = form.required("user").strip()
    form.check()
    await execute(request, actor, command(group_name=_read_name(request), username=user))
    return json_reply(render_group(render.base_url(request), await _find_group(request), email=True))
