"""Queries of public activity."""

from datetime import datetime

from app.database import Database, Row

MAX_ENTRIES = 5_000  # activities listed for one day


async def count_by_day(db: Database, username: str, moments: list[datetime]) -> dict[int, int]:
    """Count a user's activities between each two neighbours of `moments`, by index of the first; empty spans are left
    out.

    An index-only scan answers this. Stored counts would be needed for every time zone, and concurrent activities of a
    user would contend for one row.
    """
    rows = await db.fetch(
        """
        select   width_bucket(at, $2::timestamptz[]) - 1 as place, count(*) as total
        from     activity
        where    username = $1 and at >= $3 and at < $4
        group by place
        order by place
        """,
        username,
        moments,
        moments[0],
        moments[-1],
    )
    return {row["place"]: row["total"] for row in rows}


async def list_between(db: Database, username: str, start: datetime, end: datetime) -> list[Row]:
    """List a user's activities from `start` to before `end`, the oldest first, with project and title; at most
    MAX_ENTRIES.
    """
    return await db.fetch(
        """
        select    activity.*, projects.path, projects.forker, coalesce(issues.title, pull_requests.title) as title
        from      activity
        join      projects using (project_id)
        left join issues        on activity.subject = 'issue'
                               and issues.project_id = activity.project_id and issues.number = activity.number
        left join pull_requests on activity.subject = 'pull request'
                               and pull_requests.project_id = activity.project_id
                               and pull_requests.number = activity.number
        where     activity.username = $1 and activity.at >= $2 and activity.at < $3
        order by  activity_id
        limit     $4
        """,
        username,
        start,
        end,
        MAX_ENTRIES,
    )
