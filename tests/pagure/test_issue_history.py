"""The statistics of a tracker."""

import itertools
from datetime import datetime, timedelta
from typing import Any

import pytest

from tests.pagure.trackers import Tracker

STATS, DETAILED = "/nethack/issues/history/stats", "/nethack/issues/history/detailed_stats"


async def open_aged_issue(
    tracker: Tracker, opened: float, closed: float | None = None, *, reopened: bool = False
) -> None:
    """Open an issue with events so many days in the past."""
    number = await tracker.issue(private="1")
    if closed is not None:
        await tracker.alice.post(f"/nethack/issue/{number}/status", status="Closed")
    if reopened:
        await tracker.alice.post(f"/nethack/issue/{number}/status", status="Open")
    await tracker.forge.db.execute(
        "update issues set created_at = now() - $2::interval, closed_at = now() - $3::interval where number = $1",
        number,
        timedelta(days=opened),
        None if closed is None else timedelta(days=closed),
    )


async def read_stats(tracker: Tracker, path: str) -> list[Any]:
    """Return the values, newest first."""
    status, body = await tracker.forge.nobody.pagure(path)
    assert (status, list(body)) == (200, ["stats"])
    return [body["stats"][start] for start in sorted(body["stats"], reverse=True)]


async def test_the_statistics_count_what_was_opened_and_closed_in_each_week(tracker: Tracker) -> None:
    assert await read_stats(tracker, STATS) == [0] * 53
    await open_aged_issue(tracker, 0)
    await open_aged_issue(tracker, 10)
    await open_aged_issue(tracker, 30, 15)
    await open_aged_issue(tracker, 30, 15, reopened=True)
    await open_aged_issue(tracker, 1000)
    await open_aged_issue(tracker, 1000, 900)
    # Opened then and open today, and closed then; nothing before: an issue of old is still open.
    assert await read_stats(tracker, STATS) == [1, 1, 2, 0, 1, *[0] * 48]
    assert await read_stats(tracker, DETAILED + "?weeks_range=5") == [
        {"closed_ticket": 0, "count": 3, "open_ticket": 1},
        {"closed_ticket": 0, "count": 2, "open_ticket": 1},
        {"closed_ticket": 2, "count": 3, "open_ticket": 0},
        {"closed_ticket": 0, "count": 3, "open_ticket": 0},
        {"closed_ticket": 0, "count": 1, "open_ticket": 2},
    ]


async def test_issues_closed_without_a_date_are_taken_off_unless_there_are_older_closings(tracker: Tracker) -> None:
    await open_aged_issue(tracker, 0)
    await open_aged_issue(tracker, 9, 1)
    await open_aged_issue(tracker, 30, 2)
    await open_aged_issue(tracker, 30, 2)
    await tracker.forge.db.execute("update issues set closed_at = null where number = 4")
    assert await read_stats(tracker, STATS) == [2, *[0] * 52]
    await open_aged_issue(tracker, 1000, 900)
    assert await read_stats(tracker, STATS) == [3, *[0] * 52]


async def test_weeks_are_counted_back_from_tomorrow(tracker: Tracker) -> None:
    _, body = await tracker.alice.pagure(STATS)
    starts = [datetime.fromisoformat(start) for start in sorted(body["stats"])]
    assert {after - before for before, after in itertools.pairwise(starts)} == {timedelta(days=7)}
    age = await tracker.forge.db.fetchval("select now() at time zone 'utc' - $1::timestamp", starts[-1])
    assert timedelta(days=6) <= age < timedelta(days=6, minutes=5)


@pytest.mark.parametrize(("given", "weeks"), [("", 53), ("2", 2), ("x", 53), ("0", 53), ("-3", 53), ("9" * 8, 1040)])
async def test_the_range_is_a_number_of_weeks_or_a_year_by_default(tracker: Tracker, given: str, weeks: int) -> None:
    assert len(await read_stats(tracker, f"{DETAILED}?weeks_range={given}")) == weeks


async def test_a_disabled_tracker_has_no_statistics(tracker: Tracker) -> None:
    await tracker.configure(issue_tracker=False)
    for path in (STATS, DETAILED):
        status, body = await tracker.alice.pagure(path)
        assert (status, body["error_code"]) == (404, "ETRACKERDISABLED")
        assert (await tracker.alice.pagure(path.replace("nethack", "other")))[1]["error_code"] == "ENOPROJECT"
