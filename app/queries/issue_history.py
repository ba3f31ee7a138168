"""Weekly counts of issues that were opened, closed and open."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from app.database import Database

WEEK = timedelta(days=7)

# Weeks are counted back from $2. A reopened issue counts as closed in the week it was closed, but not as gone. Issues
# that were closed without a date have no week.
CHANGES = """
    select   week, sum(opened) as opened, sum(kept) as kept, sum(closed) as closed, sum(gone) as gone
    from     (select floor(extract(epoch from $2 - created_at) / $3)::int as week,
                     1 as opened, (status = 'Open')::int as kept, 0 as closed, 0 as gone
              from   issues
              where  project_id = $1
              union all
              select floor(extract(epoch from $2 - closed_at) / $3)::int, 0, 0, 1, (status = 'Closed')::int
              from   issues
              where  project_id = $1 and (closed_at is not null or status = 'Closed')) as changes
    group by week
    order by week desc
"""


NOTHING: Mapping[str, int] = {"opened": 0, "kept": 0, "closed": 0, "gone": 0}


@dataclass(frozen=True)
class Week:
    """A week's counts. `open` is the number of issues that were open at its start. `balance` is Pagure's number: issues
    opened in the week that are open today, and those closed in it, less those closed without a date, at least 0.
    """

    start: datetime
    opened: int
    closed: int
    open: int
    balance: int


async def list_weeks(db: Database, project_id: int, end: datetime, weeks: int) -> list[Week]:
    """List the last weeks before `end`, oldest first, private issues included."""
    changes: dict[int | None, Mapping[str, int]] = {
        row["week"]: row for row in await db.fetch(CHANGES, project_id, end, WEEK.total_seconds())
    }
    undated = changes.pop(None, NOTHING)
    # Where something was closed before these weeks, Pagure takes it that everything closed since has a date.
    ignored = (
        0
        if any(row["closed"] for week, row in changes.items() if week is not None and week >= weeks)
        else undated["closed"]
    )
    open_count = sum(row["opened"] - row["gone"] for week, row in changes.items() if week is not None and week >= weeks)
    listed = []
    for week in reversed(range(weeks)):
        row = changes.get(week, NOTHING)
        balance = max(0, row["kept"] + row["closed"] - ignored)
        listed.append(Week(end - (week + 1) * WEEK, row["opened"], row["closed"], open_count, balance))
        open_count += row["opened"] - row["gone"]
    return listed
