"""Old events, which contain sentences where new ones contain data, are rendered as before."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from app.actor import Actor
from app.dialects.pagure import words
from app.dialects.pagure.hooks.envelope import RENDERERS
from app.dialects.pagure.hooks.registry import HookContext
from app.feed import pages
from app.queries import projects
from app.queries.feed import FeedFilter
from events.projections.rebuild import rebuild
from tests.conftest import Client, Forge, commit, git
from tests.pagure.pulls import open_pull_request, push_commit, wait_for_pull_request
from tests.pagure.trackers import Tracker

ADMIN = Actor("admin", admin=True)
UPDATE = "update events set data = $2 where position = $1"


async def test_what_was_said_in_sentences_is_told_as_it_was(
    forge: Forge, tracker: Tracker, bob: Client, tmp_path: Path
) -> None:
    issue = await _issue_story(tracker)
    number, task = await _pull_request_story(tracker.alice, bob, tmp_path, issue)
    await forge.idle()
    paths = [f"/nethack/issue/{issue}", f"/nethack/pull-request/{number}"]
    shown = [await tracker.alice.pagure(path) for path in paths]
    told = await _messages(forge)
    assert {topic for topic, _ in told} >= {
        "pull-request.rebased",
        "pull-request.updated",
        "pull-request.comment.added",
    }
    failed = "Nothing to do, this pull-request has no commits"

    changed = await _rewrite(forge)
    assert changed == {"issue.updated", "issue.commented", "pull-request.updated", "pull-request.merged", "task.failed"}
    await rebuild(forge.db)
    assert [await tracker.alice.pagure(path) for path in paths] == shown
    assert await _messages(forge) == told
    assert (await forge.admin.get(f"/v1/tasks/{task}"))[1]["message"] == failed


async def _issue_story(tracker: Tracker) -> int:
    alice = tracker.alice
    number = await tracker.issue()
    for path, form in (
        ("/milestone", {"milestone": "v1"}),
        ("/assign", {"assignee": "bob"}),
        ("/assign", {}),
        ("/custom", {"reviewer": "carol", "size": "small"}),
        ("/custom", {"reviewer": "", "size": "large"}),
        ("/status", {"status": "Closed", "close_status": "Fixed"}),
        ("/status", {"status": "Open"}),
        ("/comment", {"comment": "+1"}),
    ):
        assert (await alice.post(f"/nethack/issue/{number}{path}", **form))[0] == 200, path
    assert (await alice.post("/nethack/tags/new", tag="dev", tag_color="red"))[0] == 200
    status, _ = await alice.json("POST", "/api/0/nethack/boards", {"dev": {"tag": "dev", "active": True}})
    assert status == 200
    done = {"Done": {"rank": 1, "default": True, "close": True, "close_status": "Shipped", "bg_color": "red"}}
    assert (await alice.json("POST", "/api/0/nethack/boards/dev/status", done))[0] == 200
    place = {str(number): {"rank": 1, "status": "Done"}}
    assert (await alice.json("POST", "/api/0/nethack/boards/dev/add_issue", place))[0] == 200
    return number


async def _pull_request_story(alice: Client, bob: Client, tmp_path: Path, issue: int) -> tuple[int, str]:
    number = (await open_pull_request(bob, allow_rebase="1"))["id"]
    path, work = f"/nethack/pull-request/{number}", tmp_path / "bob"
    await push_commit(work, "topic", "two")
    await _remarked(alice, number, "1 new commit added")
    for end, form in (("/assign", {"assignee": "bob"}), ("/assign", {}), ("/close", {}), ("/reopen", {})):
        assert (await alice.post(path + end, **form))[0] == 200, end
    main = tmp_path / "main"
    await git("clone", "-q", alice.git_url("nethack"), str(main))
    assert (await alice.post("/nethack/settings/Pagure/install"))[0] == 200
    await commit(main, "ahead")
    await git("commit", "-q", "--allow-empty", "-m", f"Relates to #{issue}", cwd=main)
    await git("push", "-q", "origin", "HEAD:main", cwd=main)
    assert (await bob.post(path + "/rebase"))[0] == 200
    await _remarked(alice, number, "rebased onto")
    assert await alice.post(path + "/merge") == (200, {"message": "Changes merged!"})
    await wait_for_pull_request(alice, number, "status", "Merged")
    empty = (await open_pull_request(bob))["id"]
    status, body = await alice.post(f"/nethack/pull-request/{empty}/merge", wait="0")
    assert status == 200
    return number, body["taskid"]


async def _remarked(client: Client, number: int, text: str) -> None:
    """Wait until the pull request has a comment that contains this text."""
    while True:
        _, found = await client.pagure(f"/nethack/pull-request/{number}")
        if any(text in each["comment"] for each in found["comments"]):
            return
        await client.forge.idle()


async def _messages(forge: Forge) -> list[tuple[str, Any]]:
    """Return the messages of web hooks for all events."""
    newest = await forge.db.fetchval("select max(seq) from numbers")
    page = await pages.read_page(forge.db, ADMIN, 0, newest, 1000, FeedFilter())
    root, told = forge.settings.repositories, []
    for row in page.rows:
        if row["type"] in RENDERERS and row["type"].startswith(("issue.", "pull-request.")):
            project = await projects.by_id(forge.db, row["project_id"])
            event = pages.render_event(row, ADMIN)
            told += await RENDERERS[row["type"]](
                HookContext(db=forge.db, base=forge.url, root=root, event=event, data=row["data"], project=project)
            )
    return told


async def _rewrite(forge: Forge) -> set[str]:
    """Rewrite all events in their old form. Returns the types of those that differ."""
    changed = set()
    rows = await forge.db.fetch("select position, type, actor, data from events order by position")
    async with forge.db.acquire() as connection:
        await connection.execute("set session_replication_role = replica")  # events are never changed
        for row in rows:
            old = _as_it_was(f"{forge.url}/nethack", row)
            if old != row["data"]:
                changed.add(row["type"])
                await connection.execute(
                    "update events set data = $2 where position = $1", row["position"], json.dumps(old)
                )
        await connection.execute("set session_replication_role = default")
    return changed


def _as_it_was(home: str, row: Mapping[str, Any]) -> dict[str, Any]:
    data = dict(row["data"])
    match row["type"]:
        case "issue.updated":
            data["details"] = words.describe_changes(data["changed"], data.pop("previous"))
        case "issue.commented":
            note = data.pop("note")
            data["comment"] = words.describe_note(home, row["actor"], note) if note else data["comment"]
        case "pull-request.updated" | "pull-request.merged":
            data["note"] = words.describe_note(home, row["actor"], data["note"]) if data["note"] else None
        case "task.failed" | "project.discarded":
            data["reason"] = words.describe_failure(data["reason"], data.pop("params"))
    return data
