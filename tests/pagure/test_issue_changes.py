"""Subscribing to issues, editing them, and rules for every change."""

import asyncio
from typing import Any

from app.core.issue_metadata import AddDependency
from app.core.projects import BlockUsers
from app.core.tags import DefineTag, DeleteTag
from events.projections import rebuild
from tests.pagure.trackers import FORMS, Tracker, invalid_input


async def test_users_who_see_an_issue_may_subscribe_to_it(tracker: Tracker) -> None:
    bob = await tracker.add_person("bob")
    await tracker.issue()
    for form, message in (
        ({"status": "1"}, "User subscribed"),
        ({"status": "yes"}, "User subscribed"),
        ({"status": "0"}, "You are no longer watching this issue"),
        ({}, "You are no longer watching this issue"),
    ):
        status, body = await bob.post("/nethack/issue/1/subscribe", **form)
        avatar = body.pop("avatar_url")
        assert avatar.startswith("https://seccdn.libravatar.org/avatar/")
        assert avatar.endswith("?s=30&d=retro")
        assert (status, body) == (200, {"message": message, "user": "bob"})
    stored = await tracker.forge.db.fetch("select number, username, subscribed from issue_subscriptions")
    assert [tuple(row) for row in stored] == [(1, "bob", False)]
    assert await tracker.list_notes() == []


async def test_an_issue_is_edited_by_number_or_uid(tracker: Tracker) -> None:
    ann = await tracker.add_person("ann")
    await tracker.issue(ann)
    await ann.post("/nethack/issue/1/comment", comment="Really")
    uid = await tracker.forge.db.fetchval("select uid from issues")
    for key, editor in (("1", ann), (uid, tracker.alice)):
        title = f" Fed by {editor.name} "
        status, body = await editor.post(f"/nethack/issue/{key}", title=title, issue_content=" Done.")
        assert (status, body) == (200, {"issue": await tracker.view(), "message": "Issue edited"})
        assert (body["issue"]["title"], body["issue"]["content"]) == (title.strip(), " Done.")
    assert [comment["comment"] for comment in body["issue"]["comments"]] == ["Really"]
    again = await ann.post("/nethack/issue/1", title="Fed by alice", issue_content=" Done.", private="1")
    assert again == (200, body)


async def test_editing_takes_a_title_and_content_and_changes_nothing_else(tracker: Tracker) -> None:
    await tracker.issue()
    required = ["This field is required."]
    assert await tracker.alice.post("/nethack/issue/1") == invalid_input(title=required, issue_content=required)
    choice = ["Not a valid choice"]
    form = {"title": "t", "issue_content": "c", "milestone": "v1", "priority": "1"}
    assert await tracker.alice.post("/nethack/issue/1", **form) == invalid_input(milestone=choice, priority=choice)
    assert (await tracker.alice.post("/nethack/issue/1", **{**form, "milestone": "", "priority": ""}))[0] == 200


async def test_the_comment_about_a_change_names_its_author(tracker: Tracker) -> None:
    bob = await tracker.add_person("bob", "ticket", fullname="Bob Builder")
    await tracker.issue()
    await bob.post("/nethack/issue/1/status", status="Closed", close_status="Fixed")
    [comment] = (await tracker.view())["comments"]
    assert set(comment) == {
        "comment", "date_created", "edited_on", "editor", "id", "notification", "parent", "reactions", "user",
    }  # fmt: skip
    assert (comment["notification"], comment["user"]["fullname"]) == (True, "Bob Builder")
    assert comment["comment"] == (
        "**Metadata Update from @bob**:\n"
        "- Issue close_status updated to: Fixed\n"
        "- Issue status updated to: Closed (was: Open)"
    )
    status, one = await bob.pagure(f"/nethack/issue/1/comment/{comment['id']}")
    assert (status, one["comment"], one["notification"]) == (200, comment["comment"], True)


async def test_concurrent_changes_are_all_applied(tracker: Tracker) -> None:
    await tracker.issue()
    changes = [
        ("/status", {"status": "Fixed"}),
        ("/status", {"status": "Invalid"}),
        ("/milestone", {"milestone": "v1"}),
        ("/assign", {"assignee": "alice"}),
        ("/custom", {"reviewer": "bob", "size": "small"}),
        ("/comment", {"comment": "c"}),
    ]
    answers = await asyncio.gather(*(tracker.alice.post(f"/nethack/issue/1{path}", **form) for path, form in changes))
    assert [status for status, _ in answers] == [200] * len(changes)
    shown = await tracker.view()
    assert (shown["status"], shown["milestone"], shown["assignee"]["name"]) == ("Closed", "v1", "alice")
    assert len(shown["custom_fields"]) == 2
    assert len(shown["comments"]) == 7
    stored = await tracker.forge.db.fetch("select version from events where stream like 'issue-%/1' order by version")
    assert [row["version"] for row in stored] == list(range(1, 9))
    assert await tracker.forge.db.fetchval("select version from issues") == 8
    last = max(
        (comment for comment in shown["comments"] if "status" in comment["comment"]), key=lambda each: each["id"]
    )
    assert f"close_status updated to: {shown['close_status']}" in last["comment"]


async def test_a_rebuild_restores_every_change_of_an_issue(tracker: Tracker) -> None:
    bob = await tracker.add_person("bob", "ticket", fullname="Bob Builder")
    await tracker.issue(tag="pet,food", priority="1", milestone="v2")
    await tracker.issue(bob, private="1")
    for path, form in FORMS.items():
        assert (await tracker.alice.post(f"/nethack/issue/1{path}", **form))[0] == 200
    await tracker.alice.post("/nethack/issue/1/custom", reviewer="", size="small", docs="https://a.example")
    await tracker.alice.post("/nethack/issue/1/assign", assignee="bob")
    await bob.post("/nethack/issue/1/assign")
    await bob.post("/nethack/issue/1/status", status="Open")
    await bob.post("/nethack/issue/1/milestone")
    await bob.post("/nethack/issue/2/subscribe", status="1")
    await bob.post("/nethack/issue/1/subscribe")
    await bob.post("/nethack/issue/2/comment", comment="c")
    await tracker.execute(AddDependency, number=1, depends_on=2)
    await tracker.execute(DefineTag, tag="urgent", color="red", description="Now")
    await tracker.execute(DeleteTag, tag="food")
    await tracker.execute(BlockUsers, usernames=["bob"])
    await tracker.forge.numbered()
    shown, rows = [await tracker.view(1), await tracker.view(2)], await tracker.forge.rows()
    assert (shown[0]["tags"], shown[0]["depends"], shown[0]["priority"]) == (["pet"], ["2"], 1)
    await rebuild.rebuild(tracker.forge.db)
    assert await tracker.forge.rows() == rows
    assert [await tracker.view(1), await tracker.view(2)] == shown


async def test_changes_work_without_a_body_and_reset_absent_fields(tracker: Tracker) -> None:
    await tracker.issue(milestone="v1", assignee="alice")
    await tracker.alice.post("/nethack/issue/1/custom/reviewer", value="bob")

    async def bare(path: str) -> tuple[int, Any]:
        return await tracker.alice.request("POST", f"/api/0/nethack{path}", skip_auto_headers=["Content-Type"])

    required = ["This field is required."]
    assert await bare("/new_issue") == invalid_input(title=required, issue_content=required)
    assert await bare("/issue/1") == invalid_input(title=required, issue_content=required)
    assert await bare("/issue/1/comment") == invalid_input(comment=required)
    assert await bare("/issue/1/status") == invalid_input(status=["Not a valid choice"])
    assert await bare("/issue/1/custom") == invalid_input()
    assert await bare("/issue/1/milestone") == (200, {"message": "Successfully edited issue #1"})
    assert await bare("/issue/1/assign") == (200, {"message": "Assignee reset"})
    assert await bare("/issue/1/custom/reviewer") == (200, {"message": "Custom field reviewer reset (from bob)"})
    shown = await tracker.view()
    assert (shown["milestone"], shown["assignee"], shown["custom_fields"]) == (None, None, [])


async def test_blocked_users_can_read_and_change_nothing(tracker: Tracker) -> None:
    bob = await tracker.add_person("bob", "commit")
    await tracker.issue()
    await tracker.execute(BlockUsers, usernames=["bob"])
    no = (403, {"error": "You have been blocked from this project", "error_code": "EUBLOCKED"})
    for path in ("/new_issue", "/issue/99/comment", "/issue/99/subscribe", *(f"/issue/99{each}" for each in FORMS)):
        assert await bob.post(f"/nethack{path}") == no
    assert (await bob.pagure("/nethack/issue/1"))[0] == 200
