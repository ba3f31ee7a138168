"""The status, milestone and assignee of issues."""

from typing import Any

import pytest

from app.core.issue_metadata import AddDependency
from app.errors import Forbidden, Invalid, NotFound
from tests.pagure.trackers import DENIED, EDITED, UNCHANGED, Tracker, invalid_input, refusal

CLOSED = "- Issue status updated to: Closed (was: Open)"


@pytest.mark.parametrize(
    ("before", "form", "message", "after", "remark"),
    [
        ({}, {"status": "Closed"}, EDITED, ("Closed", None), CLOSED),
        (
            {},
            {"status": "Closed", "close_status": "Fixed"},
            EDITED,
            ("Closed", "Fixed"),
            f"- Issue close_status updated to: Fixed\n{CLOSED}",
        ),
        (
            {},
            {"status": "Fixed"},
            EDITED,
            ("Closed", "Fixed"),
            f"- Issue close_status updated to: Fixed\n{CLOSED}",
        ),
        ({}, {"status": "Closed", "close_status": ""}, EDITED, ("Closed", None), CLOSED),
        (
            {},
            {"status": "Fixed", "close_status": ""},
            EDITED,
            ("Closed", "Fixed"),
            f"- Issue close_status updated to: Fixed\n{CLOSED}",
        ),
        ({}, {"status": "Open"}, UNCHANGED, ("Open", None), None),
        ({}, {"status": "Open", "close_status": "Fixed"}, UNCHANGED, ("Open", None), None),
        (
            {"status": "Fixed"},
            {"status": "Open"},
            EDITED,
            ("Open", None),
            "- Issue status updated to: Open (was: Closed)",
        ),
        (
            {"status": "Fixed"},
            {"status": "Invalid"},
            EDITED,
            ("Closed", "Invalid"),
            "- Issue close_status updated to: Invalid (was: Fixed)",
        ),
        (
            {"status": "Fixed"},
            {"status": "Closed"},
            EDITED,
            ("Closed", None),
            "- Issue close_status updated to: None (was: Fixed)",
        ),
        (
            {"status": "Closed"},
            {"status": "Fixed"},
            EDITED,
            ("Closed", "Fixed"),
            "- Issue close_status updated to: Fixed",
        ),
        ({"status": "Fixed"}, {"status": "Fixed"}, UNCHANGED, ("Closed", "Fixed"), None),
    ],
)
async def test_an_issue_is_closed_with_or_without_a_reason_and_reopened(
    tracker: Tracker,
    before: dict[str, str],
    form: dict[str, str],
    message: dict[str, str],
    after: tuple[str, str | None],
    remark: str | None,
) -> None:
    await tracker.issue()
    if before:
        assert (await tracker.alice.post("/nethack/issue/1/status", **before))[0] == 200
    notes = await tracker.list_notes()
    assert await tracker.alice.post("/nethack/issue/1/status", **form) == (200, message)
    shown = await tracker.view()
    assert (shown["status"], shown["close_status"]) == after
    assert await tracker.list_notes() == notes + ([remark] if remark else [])


@pytest.mark.parametrize(
    ("form", "errors"),
    [
        ({}, {"status": ["Not a valid choice"]}),
        ({"status": "closed"}, {"status": ["Not a valid choice"]}),
        ({"status": ""}, {"status": ["This field is required."]}),
        ({"status": "Closed", "close_status": "Later"}, {"close_status": ["Not a valid choice"]}),
        ({"status": "Fixed", "close_status": "Fixed"}, {"status": ["Not a valid choice"]}),
        (
            {"status": "x", "close_status": "y"},
            {"status": ["Not a valid choice"], "close_status": ["Not a valid choice"]},
        ),
    ],
)
async def test_an_invalid_status_is_refused(tracker: Tracker, form: dict[str, str], errors: dict[str, Any]) -> None:
    await tracker.issue()
    assert await tracker.alice.post("/nethack/issue/1/status", **form) == invalid_input(**errors)
    assert (await tracker.view())["comments"] == []


async def test_a_reopened_issue_still_names_who_closed_it(tracker: Tracker) -> None:
    carol = await tracker.add_person("carol", "ticket", fullname="Carol Closer")
    await tracker.issue()
    assert [(await tracker.view())[key] for key in ("closed_at", "closed_by")] == [None, None]
    await carol.json("POST", "/api/0/nethack/issue/1/status", {"status": "Closed", "close_status": "Fixed"})
    closed = await tracker.view()
    assert closed["closed_by"] == {
        "full_url": f"{tracker.forge.url}/user/carol",
        "fullname": "Carol Closer",
        "name": "carol",
        "url_path": "user/carol",
    }
    assert closed["closed_at"] == closed["last_updated"]
    await tracker.alice.post("/nethack/issue/1/status", status="Open")
    reopened = await tracker.view()
    assert [reopened[key] for key in ("closed_at", "closed_by")] == [closed["closed_at"], closed["closed_by"]]
    assert (await tracker.alice.pagure("/nethack/issues"))[1]["issues"] == [reopened]


async def test_an_issue_with_open_dependencies_cannot_be_closed(tracker: Tracker) -> None:
    for _ in range(3):
        await tracker.issue()
    await tracker.execute(AddDependency, number=1, depends_on=3)
    await tracker.execute(AddDependency, number=1, depends_on=2)
    await tracker.execute(AddDependency, number=2, depends_on=3)
    assert (await tracker.view(1))["depends"] == ["2", "3"]
    assert [(await tracker.view(3))[key] for key in ("depends", "blocks")] == [[], ["1", "2"]]
    _, listing = await tracker.alice.pagure("/nethack/issues")
    assert [(each["depends"], each["blocks"]) for each in listing["issues"]] == [
        ([], ["1", "2"]), (["3"], ["1"]), (["2", "3"], [])
    ]  # fmt: skip
    _, everywhere = await tracker.alice.pagure("/user/alice/issues?assignee=false&order=asc")
    assert [each["blocks"] for each in everywhere["issues_created"]] == [[], ["1"], ["1", "2"]]
    assert await tracker.list_notes() == ["- Issue marked as depending on: #3", "- Issue marked as depending on: #2"]
    no = refusal("ENOCODE", "You cannot close a ticket that has ticket depending that are still open.")
    assert await tracker.alice.post("/nethack/issue/1/status", status="Closed") == no
    for number in (3, 2, 1):
        assert (await tracker.alice.post(f"/nethack/issue/{number}/status", status="Closed"))[0] == 200


async def test_dependencies_stay_in_the_project_and_are_not_circular(tracker: Tracker) -> None:
    for _ in range(3):
        await tracker.issue()
    await tracker.execute(AddDependency, number=1, depends_on=2)
    await tracker.execute(AddDependency, number=2, depends_on=3)
    assert (await tracker.execute(AddDependency, number=1, depends_on=2)).events == []
    for number, depends_on in ((1, 1), (3, 1), (2, 1)):
        with pytest.raises(Invalid):
            await tracker.execute(AddDependency, number=number, depends_on=depends_on)
    with pytest.raises(NotFound):
        await tracker.execute(AddDependency, number=1, depends_on=99)
    await tracker.add_person("bob", "ticket")
    await tracker.issue(private="1")
    with pytest.raises(Forbidden):
        await tracker.execute(AddDependency, username="bob", number=1, depends_on=4)


async def test_a_milestone_is_set_and_removed(tracker: Tracker) -> None:
    await tracker.issue()
    story = [
        ({"milestone": "v1"}, EDITED, "v1", "- Issue set to the milestone: v1"),
        ({"milestone": "v1"}, UNCHANGED, "v1", None),
        ({"milestone": "v2"}, EDITED, "v2", "- Issue set to the milestone: v2 (was: v1)"),
        ({}, EDITED, None, "- Issue set to the milestone: None (was: v2)"),
        ({"milestone": ""}, UNCHANGED, None, None),
    ]
    for form, message, milestone, _ in story:
        assert await tracker.alice.post("/nethack/issue/1/milestone", **form) == (200, message)
        assert (await tracker.view())["milestone"] == milestone
    assert await tracker.list_notes() == [remark for *_, remark in story if remark]
    assert await tracker.alice.post("/nethack/issue/1/milestone", milestone="v3") == invalid_input(
        milestone=["Not a valid choice"]
    )


async def test_an_assignee_is_set_changed_and_removed(tracker: Tracker) -> None:
    await tracker.add_person("bob", fullname="Bob Builder")
    await tracker.add_person("carol")
    await tracker.issue()
    story = [
        ({"assignee": " bob "}, "Issue assigned", "bob", "- Issue assigned to bob"),
        ({"assignee": "BOB@example.org"}, "Nothing to change", "bob", None),
        ({"assignee": "carol@example.org"}, "Issue assigned", "carol", "- Issue assigned to carol (was: bob)"),
        ({"assignee": ""}, "Assignee reset", None, "- Assignee reset"),
        ({}, "Nothing to change", None, None),
        ({"assignee": "bob"}, "Issue assigned", "bob", "- Issue assigned to bob"),
    ]
    for form, message, assignee, _ in story:
        assert await tracker.alice.post("/nethack/issue/1/assign", **form) == (200, {"message": message})
        shown = (await tracker.view())["assignee"]
        assert (shown and shown["name"]) == assignee
    assert shown["fullname"] == "Bob Builder"
    assert await tracker.list_notes() == [remark for *_, remark in story if remark]
    no = refusal("ENOCODE", 'No user "ghost" found')
    assert await tracker.alice.post("/nethack/issue/1/assign", assignee="ghost") == no


async def test_an_assignee_has_access_to_a_private_issue_while_assigned(tracker: Tracker) -> None:
    bob = await tracker.add_person("bob")
    await tracker.issue(private="1")
    assert await bob.pagure("/nethack/issue/1") == DENIED
    await tracker.alice.post("/nethack/issue/1/assign", assignee="bob")
    assert (await bob.pagure("/nethack/issue/1"))[0] == 200
    assert (await bob.post("/nethack/issue/1/comment", comment="Mine"))[0] == 200
    assert await bob.post("/nethack/issue/1/assign") == (200, {"message": "Assignee reset"})
    assert await bob.pagure("/nethack/issue/1") == DENIED
    assert await bob.post("/nethack/issue/1/assign", assignee="bob") == DENIED
