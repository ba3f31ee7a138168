"""Endpoints for the statistics of a tracker."""

from datetime import UTC, datetime, timedelta

from aiohttp import web

from app.actor import Actor
from app.database import Row
from app.dialects.pagure import forms
from app.dialects.pagure.trackers import require_readable_tracker
from app.dialects.pagure.urls import PagureRoutes
from app.http.keys import DATABASE
from app.http.responses import json_reply
from app.queries import issue_history
from app.queries.issue_history import Week

routes = PagureRoutes()

WEEKS = 53
MAX_WEEKS = 1040


async def _list_weeks(request: web.Request, project: Row, weeks: int) -> dict[str, Week]:
    """Return the statistics by the beginning of the week; weeks are counted back from tomorrow."""
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    found = await issue_history.list_weeks(request.config_dict[DATABASE], project["project_id"], tomorrow, weeks)
    return {week.start.replace(tzinfo=None).isoformat(timespec="seconds"): week for week in found}


@routes.project("GET", "/issues/history/stats", "read-issues", requires=require_readable_tracker)
async def show_stats(request: web.Request, _: Actor, project: Row) -> web.Response:
    weeks = await _list_weeks(request, project, WEEKS)
    return json_reply({"stats": {start: week.balance for start, week in weeks.items()}})


@routes.project("GET", "/issues/history/detailed_stats", "read-issues", requires=require_readable_tracker)
async def show_detailed_stats(request: web.Request, _: Actor, project: Row) -> web.Response:
    given = (forms.Query(request).text("weeks_range") or "").strip()
    weeks = min(int(given), MAX_WEEKS) if given.isascii() and given.isdigit() and len(given) < 10 else WEEKS
    found = await _list_weeks(request, project, weeks or WEEKS)
    return json_reply(
        {
            "stats": {
                start: {"closed_ticket": week.closed, "count": week.open, "open_ticket": week.opened}
                for start, week in found.items()
            }
        }
    )
