"""Renderers of rows as Pagure's JSON."""

import hashlib
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any
from urllib.parse import quote

import orjson
from aiohttp import web

from app.actor import NOBODY, Actor
from app.core import paths
from app.core.access import GRANTS, may
from app.core.project_settings import get_setting
from app.core.pull_requests import review_score
from app.dialects.pagure.words import comment_text
from app.http.keys import SETTINGS
from app.http.pagination import page_address
from app.queries.paging import Listing

Row = Mapping[str, Any]

fullname = paths.fullname

TYPES_WITH_DATA = ("list", "date")  # the types of custom fields whose `key_data` is shown


def timestamp(at: datetime | str | None) -> str | None:
    """Format whole seconds since the epoch, as a string. In rows nested in JSON, times are text."""
    if at is None:
        return None
    moment = datetime.fromisoformat(at) if isinstance(at, str) else at
    return str(int(moment.timestamp()))


def user(base: str, name: str, fullname: str | None) -> dict[str, Any]:
    path = f"user/{name}"
    return {"name": name, "fullname": fullname or name, "url_path": path, "full_url": f"{base}/{path}"}


def add_emails(shown: dict[str, Any], email: str | None) -> dict[str, Any]:
    """Add their e-mail address to a rendered user."""
    return {**shown, "default_email": email, "emails": [email] if email else []}


def project(base: str, row: Row, actor: Actor = NOBODY) -> dict[str, Any]:
    """Render the project with its ancestors, up to the first that is deleted or that the actor may not read.

    Access to a private fork does not include access to its parent.
    """
    shown: dict[str, Any] | None = None
    for ancestor in reversed(list(_visible_ancestors(row, actor))):
        shown = _project(base, ancestor, shown)
    return _project(base, row, shown)


def _visible_ancestors(row: Row, actor: Actor) -> Iterator[Row]:
    """Yield the parent, its parent and so on."""
    parent: int | None = row["parent_id"]
    for ancestor in row["line"] or []:
        if ancestor["project_id"] != parent or not may(actor, "read-project", ancestor):
            break
        yield ancestor
        parent = ancestor["parent_id"]


def _project(base: str, row: Row, parent: dict[str, Any] | None) -> dict[str, Any]:
    access = row["access"]
    return {
        "access_groups": group_by_level(access["group"]),
        "access_users": {"owner": [row["owner"]], **group_by_level(access["user"])},
        "close_status": row["close_status"],
        "custom_keys": [key[:2] for key in row["custom_keys"]],
        "date_created": timestamp(row["created_at"]),
        "date_modified": timestamp(row["modified_at"]),
        "description": row["description"],
        "full_url": f"{base}/{row['path']}",
        "fullname": fullname(row),
        "id": row["project_id"],
        "milestones": row["milestones"],
        "name": row["name"],
        "namespace": row["namespace"],
        "parent": parent,
        "priorities": row["priorities"],
        "tags": row["topics"],
        "url_path": row["path"],
        "user": user(base, row["owner"], row["owner_fullname"]),
    }


def group_by_level(grants: Mapping[str, Mapping[str, Any]]) -> dict[str, list[str]]:
    """Group the names by their level; each has one grant at most."""
    names: dict[str, list[str]] = {level: [] for level in GRANTS}
    for name, grant in sorted(grants.items()):
        names[grant["level"]].append(name)
    return names


def short_project(row: Row) -> dict[str, Any]:
    return {
        "name": row["name"],
        "namespace": row["namespace"],
        "description": row["description"],
        "fullname": row["path"],
    }


def issue(base: str, project: Row, row: Row, thread: list[Row] | None) -> dict[str, Any]:
    assignee = row["assignee"]
    closer = row["closed_by"]
    places = row.get("places")
    return {
        **({"boards": [place(base, project, each) for each in places]} if places else {}),
        "assignee": user(base, assignee, row["assignee_fullname"]) if assignee else None,
        "blocks": [str(number) for number in row.get("blocks") or ()],
        "close_status": row["close_status"],
        "closed_at": timestamp(row["closed_at"]),
        "closed_by": user(base, closer, row["closed_by_fullname"]) if closer else None,
        "comments": [comment(base, project, each) for each in thread or []],
        "content": row["content"],
        "custom_fields": custom_fields(project, row),
        "date_created": timestamp(row["created_at"]),
        "depends": [str(number) for number in row["depends"]],
        "full_url": f"{base}/{project['path']}/issue/{row['number']}",
        "id": row["number"],
        "last_updated": timestamp(row["updated_at"]),
        "milestone": row["milestone"],
        "priority": row["priority"],
        "private": row["private"],
        "related_prs": row["related_prs"],
        "status": row["status"],
        "tags": row["tags"],
        "title": row["title"],
        "user": user(base, row["author"], row["author_fullname"]),
    }


def tag(row: Row) -> dict[str, Any]:
    return {"tag": row["tag"], "tag_color": row["color"], "tag_description": row["description"]}


def board(base: str, project: Row, row: Row) -> dict[str, Any]:
    return {
        "active": row["active"],
        "full_url": f"{base}/{project['path']}/boards/{quote(row['board'], safe='')}",
        "name": row["board"],
        "status": [board_status(status) for status in row["statuses"]],
        "tag": tag(row),
    }


def board_status(row: Row) -> dict[str, Any]:
    return {name: row[name] for name in ("bg_color", "close", "close_status", "default", "name")}


def place(base: str, project: Row, row: Row) -> dict[str, Any]:
    """Render the place of an issue on a board."""
    [status] = [each for each in row["board"]["statuses"] if each["name"] == row["status"]]
    return {"board": board(base, project, row["board"]), "rank": row["rank"], "status": board_status(status)}


def custom_fields(project: Row, issue: Row) -> list[dict[str, Any]]:
    """Render the custom fields that have a value in this issue, in the project's order."""
    shown = []
    for name, kind, *options in project["custom_keys"]:
        if name in issue["custom_fields"]:
            has_data = kind in TYPES_WITH_DATA and options and options[0] is not None
            data = orjson.dumps(options[0]).decode() if has_data else None
            shown.append({"key_data": data, "key_type": kind, "name": name, "value": issue["custom_fields"][name]})
    return shown


def comment(base: str, project: Row, row: Row) -> dict[str, Any]:
    return {
        "comment": comment_text(f"{base}/{project['path']}", row),
        "date_created": timestamp(row["created_at"]),
        "edited_on": None,
        "editor": None,
        "id": row["comment_id"],
        "notification": row["notification"],
        "parent": None,
        "reactions": {},
        "user": user(base, row["author"], row["author_fullname"]),
    }


def pull_request(base: str, target: Row, row: Row, actor: Actor = NOBODY, *, comments: bool = True) -> dict[str, Any]:
    source, closer, assignee = row["source"], row["closed_by"], row["assignee"]
    min_score = get_setting(target, "minimum_score_to_merge")
    return {
        "assignee": user(base, assignee, row["assignee_fullname"]) if assignee else None,
        "branch": row["branch"],
        "branch_from": row["branch_from"],
        "cached_merge_status": row["merge_status"],
        "closed_at": timestamp(row["closed_at"]),
        "closed_by": user(base, closer, row["closed_by_fullname"]) if closer else None,
        "comments": [pull_request_comment(base, target, each) for each in (row["thread"] or [] if comments else [])],
        "commit_start": row["commit_start"],
        "commit_stop": row["commit_stop"],
        "date_created": timestamp(row["created_at"]),
        "full_url": f"{base}/{target['path']}/pull-request/{row['number']}",
        "id": row["number"],
        "initial_comment": row["initial_comment"],
        "last_updated": timestamp(row["last_updated"]),
        "project": project(base, target, actor),
        "remote_git": row["remote_git"],
        "repo_from": project(base, source, actor) if source else None,
        "status": row["status"],
        "tags": row["tags"],
        "threshold_reached": review_score(row) >= min_score if min_score >= 0 else None,
        "title": row["title"],
        "uid": row["uid"],
        "updated_on": timestamp(row["updated_on"]),
        "user": user(base, row["author"], row["author_fullname"]),
    }


def pull_request_comment(base: str, project: Row, row: Row) -> dict[str, Any]:
    return {
        **comment(base, project, row),
        "commit": row["commit"],
        "filename": row["filename"],
        "line": row["line"],
        "tree": row["tree"],
    }


def flag(base: str, row: Row, *, email: str | None = None) -> dict[str, Any]:
    """Render a flag; with an `email`, its author's address is shown too, which is for the author's own eyes only."""
    shown = user(base, row["author"], row["author_fullname"])
    return {
        "comment": row["comment"],
        "commit_hash": row["commit"],
        "date_created": timestamp(row["created_at"]),
        "date_updated": timestamp(row["updated_at"]),
        "percent": row["percent"],
        "status": row["status"],
        "url": row["url"],
        "user": {**shown, "default_email": email, "emails": [email]} if email else shown,
        "username": row["username"],
    }


def avatar_url(email: str | None, size: int) -> str | None:
    if not email:
        return None
    digest = hashlib.sha256(email.encode()).hexdigest()
    return f"https://seccdn.libravatar.org/avatar/{digest}?s={size}&d=retro"


def pagination(request: web.Request, found: Listing, key: str = "page") -> dict[str, Any]:
    """Render links to the other pages with the query of this one; `key` is the parameter for the page number."""
    page, pages = found.page, found.pages
    query = [
        (name, value)
        for name, value in request.query.items()
        if name not in (key, "per_page", "endpoint") and not name.startswith("_")
    ]

    url = page_address(request, [("per_page", str(page.size)), *query])

    def link(number: int) -> str:
        return f"{url}&{key}={number}"

    return {
        "first": link(1),
        "last": link(max(pages, 1)),  # page 1 of an empty listing, as `first`
        "next": link(page.number + 1) if page.number < pages else None,
        key: page.number,
        "pages": pages,
        "per_page": page.size,
        "prev": link(page.number - 1) if page.number > 1 else None,
    }


def base_url(request: web.Request) -> str:
    return request.config_dict[SETTINGS].url


def project_url(request: web.Request, project: Row) -> str:
    """Return the URL of the project's web page."""
    return f"{base_url(request)}/{project['path']}"
