"""Filters of listings of issues and pull requests, read from the query string."""

import re
from datetime import UTC, datetime
from typing import Any

from app.dialects.pagure.errors import ApiError
from app.dialects.pagure.forms import Query
from app.queries.filters import Span


def parse_status(value: str | None) -> dict[str, Any]:
    """Parse the status of issues. The default is open; an unknown word is a close status."""
    match (value or "Open").lower():
        case "all":
            return {"status": None}
        case "closed":
            return {"status": None, "not_status": "Open"}
        case "open":
            return {"status": "Open"}
        case _:
            return {"status": None, "close_status": value}


PULL_REQUEST_STATUSES = {"open": "Open", "closed": "Closed", "merged": "Merged", "true": "Open", "1": "Open"}


def parse_pull_request_status(value: str | None) -> dict[str, Any]:
    """Parse the status of pull requests. The default is open; an unknown word matches nothing."""
    match (value or "open").lower():
        case "all":
            return {"status": None}
        case "0" | "false":
            return {"status": None, "not_status": "Open"}
        case given:
            return {"status": PULL_REQUEST_STATUSES.get(given, "none of them")}


def parse_assignee(value: str | None) -> dict[str, Any]:
    """Parse an assignee: a boolean for any or none, or a user name."""
    if value and value.lower() in ("1", "true", "0", "false"):
        return {"assigned": value.lower() in ("1", "true")}
    return {"assignee": value}


def parse_moment(value: str | None) -> datetime | None:
    """Parse seconds since the epoch, or a day, which stands for its beginning in UTC. Raises ApiError."""
    if not value:
        return None
    if re.fullmatch(r"[0-9]+", value, re.ASCII):
        try:
            return datetime.fromtimestamp(int(value), UTC)
        except (ValueError, OverflowError, OSError):  # ValueError also for thousands of digits
            raise ApiError(400, "ETIMESTAMP") from None
    try:
        return datetime.strptime(value, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        raise ApiError(400, "EDATETIME") from None


def read_tags(query: Query) -> list[str]:
    return [tag.strip() for tag in query.all("tags") if tag.strip()]


def read_issue_filters(query: Query) -> dict[str, Any]:
    """Read the filters that every listing of issues takes."""
    return {
        **parse_status(query.text("status")),
        "tags": read_tags(query),
        "milestones": [name for name in query.all("milestones") if name],
        "no_stones": query.flag("no_stones"),
        "since": parse_moment(query.text("since")),
    }


def read_ranges(query: Query) -> dict[str, Any]:
    """Read the ranges `A..B` of creation, update and closing; either end may be missing, and `A` alone is the start."""
    return {name: _parse_range(query.text(name)) for name in ("created", "updated", "closed")}


def _parse_range(value: str | None) -> Span:
    start, _, end = (value or "").partition("..")
    return parse_moment(start), parse_moment(end)
