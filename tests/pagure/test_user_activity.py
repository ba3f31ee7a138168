"""The public activity of users: over the last year, and on one day."""

import html
import re
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from app.queries import activity
from events.projections import rebuild
from events.projects import ProjectDiscarded
from events.record import NewEvent, record
from tests.conftest import Client, Forge, git
from tests.pagure.test_user_pull_requests import open_pull_request, wait_until_idle
from tests.pagure.trackers import Tracker

KEYS = {"date", "date_created", "description", "description_mk", "id", "ref_id", "type", "user"}
NO_USER = (404, {"error": "No such user found", "error_code": "ENOUSER"})


async def view_day(forge: Forge, name: str, query: str = "", on: str | None = None) -> list[Any]:
    """View the activity of a user on a day, today by default."""
    status, found = await forge.nobody.pagure(f"/user/{name}/activity/{on or datetime.now(UTC).date()}{query}")
    assert status == 200, found
    activities = found["activities"]
    assert isinstance(activities, list)
    return activities


async def list_done(forge: Forge, name: str) -> list[tuple[str, str, str]]:
    return [(each["type"], each["ref_id"], each["description"]) for each in await view_day(forge, name)]


def strip_markup(markup: str) -> str:
    return html.unescape(re.sub("<.*?>", "", markup))


async def set_times(forge: Forge, *moments: str) -> None:
    """Set the times of all activity, in order."""
    rows = await forge.db.fetch("select activity_id from activity order by activity_id")
    for row, moment in zip(rows, moments, strict=True):
        at = datetime.fromisoformat(moment)
        await forge.db.execute("update activity set at = $2 where activity_id = $1", row["activity_id"], at)


async def test_all_activity_on_an_issue_is_recorded(forge: Forge, tracker: Tracker) -> None:
    alice = tracker.alice
    await tracker.issue()
    await alice.post("/nethack/issue/1/comment", comment="Really.")
    for status in ("Closed", "Closed", "Open"):
        assert (await alice.post("/nethack/issue/1/status", status=status))[0] == 200
    await alice.post("/nethack/issue/1/milestone", milestone="v1")
    bob = await tracker.add_person("bob", "ticket")
    await bob.post("/nethack/issue/1/status", status="Closed")
    assert await list_done(forge, "alice") == [
        ("created", str(tracker.project_id), "alice created Project nethack"),
        ("created", "1", "alice created issue nethack#1"),
        ("commented", "1", "alice commented on issue nethack#1"),
        ("closed", "1", "alice closed issue nethack#1"),
        ("open", "1", "alice opened issue nethack#1"),
    ]
    assert await list_done(forge, "bob") == [("closed", "1", "bob closed issue nethack#1")]


async def test_all_activity_on_a_pull_request_is_recorded(forge: Forge, tracker: Tracker, tmp_path: Path) -> None:
    alice = tracker.alice
    await push_commits(await clone(forge, alice, "nethack", tmp_path / "work"), "topic", "stranger")
    await open_pull_request(alice, branch_from="topic")
    await alice.post("/nethack/pull-request/1/comment", comment="Please.")
    await alice.post("/nethack/pull-request/1/close")
    await alice.post("/nethack/pull-request/1/reopen")
    await alice.post("/nethack/pull-request/1/assign", assignee="alice")
    bob = await tracker.add_person("bob", "commit")
    assert (await bob.post("/nethack/pull-request/1/merge"))[0] == 200
    assert (await list_done(forge, "alice"))[1:] == [
        ("created", "1", "alice created PR nethack#1"),
        ("commented", "1", "alice commented on PR nethack#1"),
        ("closed", "1", "alice closed PR nethack#1"),
        ("open", "1", "alice opened PR nethack#1"),
    ]
    assert await list_done(forge, "bob") == [("merged", "1", "bob merged PR nethack#1")]


async def test_an_activity_is_shown_key_by_key(forge: Forge, nethack: Client) -> None:
    await nethack.post("/nethack/new_issue", title="Hungry dog", issue_content="c")
    await open_pull_request(nethack, title="Feed it")
    project, issue, request = await view_day(forge, "alice")
    at = (await nethack.pagure("/nethack/issue/1"))[1]["date_created"]
    assert project.keys() == issue.keys() == request.keys() == KEYS
    today = datetime.fromtimestamp(int(at), UTC).date().isoformat()
    assert issue == {
        "date": today,
        "date_created": at,
        "description": "alice created issue nethack#1",
        "description_mk": '<div class="markdown"><p>alice created issue '
        '<a href="/nethack/issue/1" title="Hungry dog">nethack#1</a></p></div>',
        "id": issue["id"],
        "ref_id": "1",
        "type": "created",
        "user": {
            "full_url": f"{forge.url}/user/alice", "fullname": "alice", "name": "alice", "url_path": "user/alice",
        },
    }  # fmt: skip
    assert isinstance(project["id"], int)
    assert project["id"] < issue["id"] < request["id"]
    assert '<a href="/nethack">nethack</a>' in project["description_mk"]
    assert '<a href="/nethack/pull-request/2" title="Feed it">nethack#2</a>' in request["description_mk"]
    status, found = await forge.nobody.pagure(f"/user/ALICE@example.org/activity/{today}?username=alice")
    assert (status, found) == (200, {"activities": [project, issue, request], "date": today})


async def test_the_words_of_users_are_escaped(forge: Forge, nethack: Client) -> None:
    title = """"><script>alert('&amp;')</script>"""
    await nethack.post("/nethack/new_issue", title=title, issue_content="c")
    [_, issue] = await view_day(forge, "alice")
    assert "<script" not in issue["description_mk"]
    assert f' title="{html.escape(title)}">' in issue["description_mk"]
    assert strip_markup(issue["description_mk"]) == issue["description"]


async def test_forks_are_named_with_their_full_name(forge: Forge, nethack: Client) -> None:
    bob = await forge.user("bob")
    await bob.post("/fork", repo="nethack")
    assert await view_day(forge, "bob") == []
    key = await bob.limited(project="fork/bob/nethack")
    assert (await key.post("/fork/bob/nethack/options/update", pull_requests="1"))[0] == 200
    await open_pull_request(bob, "/fork/bob/nethack")
    [found] = await view_day(forge, "bob")
    assert found["description"] == "bob created PR forks/bob/nethack#1"
    assert 'href="/fork/bob/nethack/pull-request/1"' in found["description_mk"]


async def test_private_activity_is_never_recorded(forge: Forge, tracker: Tracker, tmp_path: Path) -> None:
    alice = tracker.alice
    number = await tracker.issue(private="1")
    await alice.post(f"/nethack/issue/{number}/comment", comment="c")
    await alice.post(f"/nethack/issue/{number}/status", status="Closed")
    whole = await forge.user("alice")
    await whole.post("/new", name="secret", description="d", private="1", create_readme="1")
    key = await whole.limited(project="alice/secret")
    await key.post("/alice/secret/new_issue", title="t", issue_content="c")
    await key.post("/alice/secret/issue/1/comment", comment="c")
    await key.post("/alice/secret/issue/1/status", status="Closed")
    await push_commits(await clone(forge, key, "alice/secret", tmp_path / "work"), "topic", "alice")
    await open_pull_request(key, "/alice/secret", branch_from="topic")
    await key.post("/alice/secret/pull-request/2/comment", comment="c")
    await key.post("/alice/secret/pull-request/2/close")
    await key.post("/alice/secret/pull-request/2/reopen")
    assert (await key.post("/alice/secret/pull-request/2/merge"))[0] == 200
    await wait_until_idle(forge)
    rows = await forge.db.fetch("select subject, type from activity")
    assert [tuple(row) for row in rows] == [("project", "created")]
    assert sum((await alice.pagure("/user/alice/activity/stats"))[1].values()) == 1


# ---------------------------------------------------------------- commits


async def push_commits(work: Path, branch: str, *authors: str) -> list[str]:
    """Push a commit by each of these authors together and return their ids."""
    made = []
    for author in authors:
        who = f"{author} <{author.upper()}@example.org>"
        await git("commit", "-q", "--allow-empty", "--author", who, "-m", "m", cwd=work)
        made.append((await git("rev-parse", "HEAD", cwd=work)).strip())
    await git("push", "-q", "origin", f"HEAD:{branch}", cwd=work)
    return made


async def clone(forge: Forge, client: Client, path: str, folder: Path) -> Path:
    await git("clone", "-q", client.git_url(path), str(folder))
    return folder


async def test_commits_count_for_their_authors_once_they_are_on_the_default_branch(
    forge: Forge, nethack: Client, tmp_path: Path
) -> None:
    await forge.user("bob")
    work = await clone(forge, nethack, "nethack", tmp_path / "work")
    made = await push_commits(work, "main", "alice", "bob", "stranger", "alice")
    await push_commits(work, "topic", "bob")
    await wait_until_idle(forge)
    first, last = (await view_day(forge, "alice"))[1:]
    assert [first["ref_id"], last["ref_id"]] == [made[0], made[3]]
    assert first["id"] < last["id"]
    assert (first["type"], first["description"]) == ("committed", f"alice committed on nethack#{made[0]}")
    assert first["description_mk"] == (
        f'<div class="markdown"><p>alice committed on <a href="/nethack/c/{made[0]}">nethack#{made[0]}</a></p></div>'
    )
    assert await list_done(forge, "bob") == [("committed", made[1], f"bob committed on nethack#{made[1]}")]
    assert await view_day(forge, "admin") == []


async def test_commits_are_grouped_by_project_and_come_first(forge: Forge, nethack: Client, tmp_path: Path) -> None:
    await nethack.post("/new", name="angband", description="d", create_readme="1")
    await push_commits(await clone(forge, nethack, "nethack", tmp_path / "one"), "main", "alice", "alice", "alice")
    await wait_until_idle(forge)
    [made] = await push_commits(await clone(forge, nethack, "angband", tmp_path / "two"), "main", "alice")
    await wait_until_idle(forge)
    plain = await view_day(forge, "alice")
    for flag in ("1", "true"):
        grouped = await view_day(forge, "alice", f"?grouped={flag}")
        assert [each.keys() for each in grouped[:2]] == [{"description_mk"}, {"description_mk"}]
        assert grouped[0]["description_mk"] == (
            '<div class="markdown"><p><a href="/user/alice">@alice</a> pushed 3 commits to '
            '<a href="/nethack">nethack</a></p></div>'
        )
        assert strip_markup(grouped[1]["description_mk"]) == f"alice committed on angband#{made}"
        assert grouped[2:] == [each for each in plain if each["type"] != "committed"]
    assert len(plain) == 6
    assert await view_day(forge, "alice", "?grouped=no") == plain


async def test_commits_of_a_private_project_are_not_recorded(forge: Forge, alice: Client, tmp_path: Path) -> None:
    await alice.post("/new", name="secret", description="d", private="1", create_readme="1")
    await push_commits(await clone(forge, alice, "alice/secret", tmp_path / "work"), "main", "alice")
    await wait_until_idle(forge)
    assert await forge.db.fetchval("select count(*) from events where type = 'commits.landed'") == 1
    assert await view_day(forge, "alice") == []


# ---------------------------------------------------------------- days and zones


async def test_the_last_year_is_counted_day_by_day(forge: Forge, nethack: Client) -> None:
    for _ in range(4):
        await nethack.post("/nethack/new_issue", title="t", issue_content="c")
    today = datetime.now(UTC).date()
    before = today - timedelta(days=40)
    first, early = today - timedelta(days=364), today - timedelta(days=365)
    moments = (f"{early}T23:59:59+00:00", f"{first}T00:00:00+00:00", f"{before}T00:00:00+00:00")
    await set_times(forge, *moments, f"{before}T23:59:59.9+00:00", f"{today}T00:00:00+00:00")
    counts = {first.isoformat(): 1, before.isoformat(): 2, today.isoformat(): 1}
    for query in ("", "?format=isoformat", "?format=x", "?username=alice", "?tz=UTC", "?tz=Nowhere/Nothing"):
        assert await forge.nobody.pagure(f"/user/alice/activity/stats{query}") == (200, counts), query
    noons = {str(int(datetime.fromisoformat(f"{each}T12:00:00+00:00").timestamp())): counts[each] for each in counts}
    assert await forge.nobody.pagure("/user/alice/activity/stats?format=timestamp") == (200, noons)
    assert await forge.nobody.pagure("/user/alice@example.org/activity/stats") == (200, counts)
    await forge.user("bob")
    assert await forge.nobody.pagure("/user/bob/activity/stats") == (200, {})


@pytest.mark.parametrize("zone", ["Asia/Kathmandu", "America/St_Johns", "Pacific/Kiritimati", "Europe/Paris"])
async def test_days_begin_at_midnight_of_the_time_zone(forge: Forge, nethack: Client, zone: str) -> None:
    await nethack.post("/nethack/new_issue", title="t", issue_content="c")
    today = datetime.now(ZoneInfo(zone)).date()
    for back in (30, 200):  # one of them with the other daylight saving time
        midnight = datetime.combine(today - timedelta(days=back), datetime.min.time(), ZoneInfo(zone))
        await set_times(forge, (midnight - timedelta(seconds=1)).isoformat(), midnight.isoformat())
        eve, here = (midnight - timedelta(seconds=1)).date(), midnight.date()
        stats = f"/user/alice/activity/stats?tz={zone}"
        assert await nethack.pagure(stats) == (200, {eve.isoformat(): 1, here.isoformat(): 1})
        noons = [datetime.combine(each, datetime.min.time(), ZoneInfo(zone)).replace(hour=12) for each in (eve, here)]
        assert await nethack.pagure(f"{stats}&format=timestamp") == (
            200,
            {str(int(noon.timestamp())): 1 for noon in noons},
        )
        [project] = await view_day(forge, "alice", f"?tz={zone}", eve.isoformat())
        [issue] = await view_day(forge, "alice", f"?tz={zone}", here.isoformat())
        assert (project["description"], issue["description"]) == (
            "alice created Project nethack",
            "alice created issue nethack#1",
        )
        assert issue["date"] == midnight.astimezone(UTC).date().isoformat()


@pytest.mark.parametrize(
    "zone", ["Nowhere", "Europe", "../../etc/passwd", "/etc/localtime", "%C3%A9", "a" * 5000, "zone.tab", "Europe/"]
)
async def test_an_unknown_time_zone_means_utc(forge: Forge, nethack: Client, zone: str) -> None:
    plain = await view_day(forge, "alice")
    assert await view_day(forge, "alice", f"?tz={zone}") == plain
    stats = await nethack.pagure("/user/alice/activity/stats")
    assert await nethack.pagure(f"/user/alice/activity/stats?tz={zone}") == stats


@pytest.mark.parametrize("written", ["2020-02-29", "20200229", "2020-2-29"])
async def test_several_date_formats_are_accepted(forge: Forge, nethack: Client, written: str) -> None:
    await set_times(forge, "2020-02-29T12:00:00+00:00")
    status, found = await forge.nobody.pagure(f"/user/alice/activity/{written}")
    assert (status, found["date"], len(found["activities"])) == (200, "2020-02-29", 1)


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        ("2016-02-30", "day is out of range for month"), ("2015-02-29", "day is out of range for month"),
        ("2016-01-00", "day is out of range for month"), ("2016-13-01", "month must be in 1..12"),
        ("0000-01-01", "year 0 is out of range"), ("9999-12-31", "year 9999 is out of range"),
        ("yesterday", "Unknown string format: yesterday"), ("2016-01-02T03", "Unknown string format: 2016-01-02T03"),
        ("%00", "Unknown string format"), ("%D9%A2016-01-02", "Unknown string format: \u0662016-01-02"),
    ],
)  # fmt: skip
async def test_an_invalid_date_is_refused_before_anything_else(forge: Forge, written: str, reason: str) -> None:
    assert await forge.nobody.pagure(f"/user/ghost/activity/{written}") == (
        400,
        {"error": reason, "error_code": "ENOCODE"},
    )


async def test_the_first_day_of_the_calendar_can_be_out_of_range(forge: Forge, alice: Client) -> None:
    assert await view_day(forge, "alice", on="0001-01-01") == []
    status, body = await forge.nobody.pagure("/user/alice/activity/0001-01-01?tz=Asia/Tokyo")
    assert (status, body["error"]) == (400, "year 1 is out of range")


async def test_the_activity_of_an_unknown_user_is_not_found(forge: Forge) -> None:
    for name in ("ghost", "%00"):
        for path in ("stats", "2016-01-02", "stats?tz=x"):
            assert await forge.nobody.pagure(f"/user/{name}/activity/{path}") == NO_USER


# ---------------------------------------------------------------- what comes of it later


async def test_activity_is_deleted_with_its_project(forge: Forge, nethack: Client) -> None:
    await nethack.post("/new", name="angband", description="d", wait="0")
    await nethack.post("/nethack/new_issue", title="t", issue_content="c")
    await wait_until_idle(forge)
    assert (await (await nethack.limited(project="nethack")).post("/nethack/delete"))[0] == 200
    assert [what for _, _, what in await list_done(forge, "alice")] == ["alice created Project angband"]
    assert await forge.db.fetchval("select count(*) from activity") == 1


async def test_a_failed_creation_of_a_project_is_no_activity(forge: Forge, alice: Client) -> None:
    await alice.post("/new", name="nethack", description="d")
    project = (await alice.pagure("/nethack"))[1]["id"]
    failed = NewEvent(ProjectDiscarded(project_id=project, path="nethack", reason="no room"), None)
    async with forge.db.acquire() as connection:
        await record(connection, ("test", b"{}"), [failed], command_id=uuid.uuid4(), actor="alice")
    assert await forge.db.fetchval("select count(*) from activity") == 0


async def test_a_rebuild_restores_activity(forge: Forge, tracker: Tracker, tmp_path: Path) -> None:
    alice = tracker.alice
    await tracker.issue()
    await alice.post("/nethack/issue/1/comment", comment="c")
    await alice.post("/nethack/issue/1/status", status="Closed")
    work = await clone(forge, alice, "nethack", tmp_path / "work")
    await push_commits(work, "topic", "alice", "bob")
    await open_pull_request(alice, branch_from="topic")
    assert (await alice.post("/nethack/pull-request/2/merge"))[0] == 200
    await wait_until_idle(forge)
    rows = "select t::text from activity t order by activity_id"
    before = await forge.db.fetch(rows)
    assert len(before) == 7
    await rebuild.rebuild(forge.db)
    assert await forge.db.fetch(rows) == before


async def test_either_page_takes_two_statements(forge: Forge, nethack: Client, statements: list[str]) -> None:
    for n in range(3):
        await nethack.post("/nethack/new_issue", title="t", issue_content="c")
        statements.clear()
        assert sum((await forge.nobody.pagure("/user/alice/activity/stats"))[1].values()) == n + 2
        assert len(statements) == 2
        statements.clear()
        assert len(await view_day(forge, "alice")) == n + 2
        assert len(statements) == 2


async def test_the_listing_of_a_day_is_limited_and_its_count_is_not(forge: Forge, nethack: Client) -> None:
    await forge.db.execute(
        """
        insert into activity (project_id, activity_id, username, type, subject, commit, at)
        select project_id, n, 'alice', 'committed', 'commit', n, now()
        from   projects, generate_series(1, $1::int) as n
        """,
        activity.MAX_ENTRIES,
    )
    entries = await view_day(forge, "alice")
    assert [entries[0]["ref_id"], entries[-1]["ref_id"]] == ["1", str(activity.MAX_ENTRIES)]
    assert list((await nethack.pagure("/user/alice/activity/stats"))[1].values()) == [activity.MAX_ENTRIES + 1]
