"""Endpoints for the activity of a user: over the last year, and on one day."""

import asyncio
import re
from calendar import monthrange
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from html import escape
from typing import Any
from zoneinfo import ZoneInfo

from aiohttp import web

from app.database import Row
from app.dialects.pagure import forms, render
from app.dialects.pagure.errors import ApiError
from app.dialects.pagure.urls import PagureRoutes
from app.dialects.pagure.users import find_user
from app.http import requests
from app.http.keys import DATABASE
from app.http.responses import json_reply
from app.queries import activity

routes = PagureRoutes()

YEAR = 365  # days, including today
DATES = (re.compile(r"([0-9]{4})-([0-9]{1,2})-([0-9]{1,2})"), re.compile(r"([0-9]{4})([0-9]{2})([0-9]{2})"))

TYPES = {"reopened": "open"}
VERBS = {
    "created": "created",
    "commented": "commented on",
    "closed": "closed",
    "reopened": "opened",
    "merged": "merged",
    "committed": "committed on",
}
NOUNS = {"issue": "issue ", "pull request": "PR ", "project": "Project ", "commit": ""}
PATHS = {"issue": "issue/{number}", "pull request": "pull-request/{number}", "commit": "c/{commit}"}


def _parse_zone(name: str | None) -> tzinfo:
    """Parse the name of a time zone; an unknown one means UTC."""
    try:
        return ZoneInfo(name or "UTC")
    except (KeyError, ValueError, OSError):  # unknown, malformed, a folder of zones
        return UTC


def _day_start(day: date, zone: tzinfo) -> datetime:
    """Return the beginning of a day in UTC. Raises OverflowError for the first or last day of the calendar."""
    return datetime.combine(day, time(), zone).astimezone(UTC)


def _date_error(reason: str) -> ApiError:
    return ApiError(400, "ENOCODE", message=reason)


def _parse_day(text: str) -> date:
    match = next(filter(None, (pattern.fullmatch(text) for pattern in DATES)), None)
    if match is None:
        raise _date_error(f"Unknown string format: {text}" if requests.is_storable(text) else "Unknown string format")
    year, month, day = map(int, match.groups())
    if year == 0:
        raise _date_error("year 0 is out of range")
    if not 1 <= month <= 12:
        raise _date_error("month must be in 1..12")
    if not 1 <= day <= monthrange(year, month)[1]:
        raise _date_error("day is out of range for month")
    return date(year, month, day)


@routes.call("GET", "/user/{username}/activity/stats", "read-activity")
async def show_stats(request: web.Request) -> web.Response:
    query = forms.Query(request)
    zone = _parse_zone(query.text("tz"))
    user = await find_user(request)
    tomorrow = datetime.now(zone).date() + timedelta(days=1)
    days = [tomorrow - timedelta(days=n) for n in range(YEAR, -1, -1)]
    moments = [_day_start(day, zone) for day in days]
    found = await activity.count_by_day(request.config_dict[DATABASE], user["username"], moments)
    if query.text("format") == "timestamp":
        noons = [datetime.combine(day, time(12), zone) for day in days]
        return json_reply({render.timestamp(noons[index]): total for index, total in found.items()})
    return json_reply({days[index].isoformat(): total for index, total in found.items()})


@routes.call("GET", "/user/{username}/activity/{date}", "read-activity")
async def show_day(request: web.Request) -> web.Response:
    query = forms.Query(request)
    day, zone = _parse_day(request.match_info["date"]), _parse_zone(query.text("tz"))
    try:
        start, end = (_day_start(each, zone) for each in (day, day + timedelta(days=1)))
    except OverflowError:
        raise _date_error(f"year {day.year} is out of range") from None
    user = await find_user(request)
    rows = await activity.list_between(request.config_dict[DATABASE], user["username"], start, end)
    author = render.user(render.base_url(request), user["username"], user["fullname"])
    # Rendered in a thread: there may be thousands of entries.
    shown = await asyncio.to_thread(_render_day, author, rows, grouped=bool(query.flag("grouped")))
    return json_reply({"activities": shown, "date": day.isoformat()})


def _render_day(author: dict[str, Any], rows: list[Row], *, grouped: bool) -> list[dict[str, Any]]:
    if not grouped:
        return [_render_entry(author, row) for row in rows]
    commits = [row for row in rows if row["subject"] == "commit"]
    return _group_pushes(commits) + [_render_entry(author, row) for row in rows if row["subject"] != "commit"]


def _render_entry(author: dict[str, Any], row: Row) -> dict[str, Any]:
    return {
        "date": row["at"].date().isoformat(),
        "date_created": render.timestamp(row["at"]),
        "description": _describe(row) + _describe_subject(row),
        "description_mk": _paragraph(escape(_describe(row)) + _link_subject(row)),
        "id": row["activity_id"],
        "ref_id": str(row["number"] or row["commit"] or row["project_id"]),
        "type": TYPES.get(row["type"], row["type"]),
        "user": author,
    }


def _describe(row: Row) -> str:
    return f"{row['username']} {VERBS[row['type']]} {NOUNS[row['subject']]}"


def _describe_subject(row: Row) -> str:
    """Name the project, issue, pull request or commit of an entry."""
    fullname = render.fullname(row)
    return fullname if row["subject"] == "project" else f"{fullname}#{row['number'] or row['commit']}"


def _link_subject(row: Row) -> str:
    """Render the subject of an entry as a link with its title."""
    path = "/".join(filter(None, (row["path"], PATHS.get(row["subject"], "").format(**row))))
    return _link(path, _describe_subject(row), row["title"])


def _link(path: str, text: str, title: str | None = None) -> str:
    """Render a link. Users' words are escaped."""
    attribute = f' title="{escape(title)}"' if title else ""
    return f'<a href="/{escape(path)}"{attribute}>{escape(text)}</a>'


def _paragraph(markup: str) -> str:
    return f'<div class="markdown"><p>{markup}</p></div>'


def _group_pushes(rows: list[Row]) -> list[dict[str, Any]]:
    """Render commits by project, with one sentence for several commits of a project."""
    by_project: dict[int, list[Row]] = {}
    for row in rows:
        by_project.setdefault(row["project_id"], []).append(row)
    return [{"description_mk": _paragraph(_describe_push(commits))} for commits in by_project.values()]


def _describe_push(commits: list[Row]) -> str:
    first = commits[0]
    if len(commits) == 1:
        return escape(_describe(first)) + _link_subject(first)
    user = _link(f"user/{first['username']}", f"@{first['username']}")
    return f"{user} pushed {len(commits)} commits to {_link(first['path'], render.fullname(first))}"
