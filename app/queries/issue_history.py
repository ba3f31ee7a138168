"""Weekly counts of issues that were opened, closed and open."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from app.database import Database

WEEK = timedelta(days=7)

# Weeks are counted back from $2. A reopened issue counts as closed in the week it was closed, but not as gone.
CHANGES = """
    select   week, sum(opened) as opened, sum(closed) as closed, sum(gone) as gone
    from     (select floor(extract(epoch from $2 - created_at) / $3)::int as week, 1 as opened, 0 as closed, 0 as gone
              from   issues
              where  project_id = $1
              union all
              select floor(extract(epoch from $2 - closed_at) / $3)::int, 0, 1, (status = 'Closed')::int
              from   issues
              where  project_id = $1 and closed_at is not null) as changes
    group by week
    order by week desc
"""


@dataclass(frozen=True)
class Week:
    """A week's counts. `open` is the number of issues that were open at its start."""

    start: datetime
    opened: int
    closed: int
    open: int


async def list_weeks(db: Database, project_id: int, end: datetime, weeks: int) -> list[Week]:
    """List the last weeks before `end`, oldest first, private issues included."""
    changes = {row["week"]: row for row in await db.fetch(CHANGES, project_id, end, WEEK.total_seconds())}
    open_count = sum(row["opened"] - row["gone"] for week, row in changes.items() if week >= weeks)
    listed = []
    for week in reversed(range(weeks)):
        row = changes.get(week) or {"opened": 0, "closed": 0, "gone": 0}
        listed.append(Week(end - (week + 1) * WEEK, row["opened"], row["closed"], open_count))
        open_count += row["opened"] - row["gone"]
    return listed
