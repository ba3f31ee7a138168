"""Pagure's statistics of a tracker."""

from datetime import UTC, datetime, timedelta

from aiohttp import web

from app.core.issues import require_tracker
from app.dialects.pagure import auth, forms
from app.dialects.pagure.urls import PagureRoutes, find_project
from app.http.keys import DATABASE
from app.http.responses import json_reply
from app.queries import issue_history
from app.queries.issue_history import Week

routes = PagureRoutes()

WEEKS = 53
MAX_WEEKS = 1040


async def _list_weeks(request: web.Request, weeks: int) -> dict[str, Week]:
    """Weeks by their beginning, counted back from tomorrow."""
    _, project = await find_project(request, auth.ignore_bad_token)
    require_tracker(project, writing=False)
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    found = await issue_history.list_weeks(request.config_dict[DATABASE], project["project_id"], tomorrow, weeks)
    return {week.start.replace(tzinfo=None).isoformat(timespec="seconds"): week for week in found}


@routes.project("GET", "/issues/history/stats", "read-issues")
async def stats(request: web.Request) -> web.Response:
    return json_reply({"stats": {start: week.open for start, week in (await _list_weeks(request, WEEKS)).items()}})


@routes.project("GET", "/issues/history/detailed_stats", "read-issues")
async def detailed_stats(request: web.Request) -> web.Response:
    given = (forms.Query(request).text("weeks_range") or "").strip()
    weeks = min(int(given), MAX_WEEKS) if given.isascii() and given.isdigit() and len(given) < 10 else WEEKS
    found = await _list_weeks(request, weeks or WEEKS)
    return json_reply(
        {
            "stats": {
                start: {"closed_ticket": week.closed, "count": week.open, "open_ticket": week.opened}
                for start, week in found.items()
            }
        }
    )
