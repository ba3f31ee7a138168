"""Access to changes of issues."""

import pytest

from tests.conftest import Client
from tests.pagure.trackers import DENIED, FORMS, Tracker

METADATA = {"/status", "/milestone", "/assign", "/custom/reviewer", "/custom"}


@pytest.mark.parametrize(
    ("who", "level", "allowed"),
    [
        ("stranger", None, set()),
        ("author", None, {"/status", ""}),
        ("assignee", None, {"/status", "/assign"}),
        ("helper", "ticket", METADATA),
        ("collaborator", "collaborator", METADATA),
        ("committer", "commit", {*METADATA, ""}),
    ],
)
async def test_each_role_may_change_what_it_is_allowed_to(
    tracker: Tracker, who: str, level: str | None, allowed: set[str]
) -> None:
    author, actor = await tracker.add_person("author"), await tracker.add_person(who, level)
    await tracker.add_person("assignee")
    await tracker.issue(author, assignee="assignee")
    for path, form in sorted(FORMS.items()):
        status, body = await actor.post(f"/nethack/issue/1{path}", **form)
        assert (status == 200) == (path in allowed), (path, body)
        if path not in allowed:
            assert (status, body) == DENIED
            assert await actor.post(f"/nethack/issue/1{path}", status="") == DENIED  # checked before the form
        await tracker.alice.post("/nethack/issue/1/assign", assignee="assignee")


async def test_open_metadata_access_does_not_include_private_issues(
    tracker: Tracker,
) -> None:
    bob = await tracker.add_person("bob")
    await tracker.issue()
    await tracker.issue(private="1")
    await tracker.configure(open_metadata_access_to_all=True)
    for path in sorted(METADATA):
        assert (await bob.post(f"/nethack/issue/1{path}", **FORMS[path]))[0] == 200
    for path in ("", "/subscribe", "/comment", *sorted(METADATA)):
        assert await bob.post(f"/nethack/issue/2{path}", **FORMS.get(path, {})) == DENIED
    assert await bob.post("/nethack/issue/1", **FORMS[""]) == DENIED


@pytest.mark.parametrize("path", [*FORMS, "/subscribe", "/comment"])
async def test_every_change_checks_token_tracker_and_issue_in_this_order(tracker: Tracker, path: str) -> None:
    form = FORMS.get(path, {"status": "1", "comment": "c"})
    here, missing = f"/nethack/issue/1{path}", f"/nethack/issue/99{path}"
    await tracker.issue()
    assert (await tracker.forge.nobody.post(missing, **form))[1]["errors"] == "Invalid token"
    weak = await tracker.token("alice", "nethack", "issue_create")
    assert (await weak.post(here, **form))[1]["errors"].startswith("Missing ACLs: issue_")
    status, body = await tracker.alice.post(missing, **form)
    assert (status, body) == (404, {"error": "Issue not found", "error_code": "ENOISSUE"})
    assert (await tracker.alice.post(f"/nethack/issue/{'9' * 20}{path}", **form))[1]["error_code"] == "ENOISSUE"
    assert (await tracker.alice.post(f"/nethack/issue/one{path}", **form))[0] == 404
    assert (await tracker.alice.post(f"/other/issue/1{path}", **form))[1]["error_code"] == "ENOPROJECT"
    await tracker.configure(issue_tracker_read_only=True)
    status, body = await tracker.alice.post(missing, **form)
    assert (status, body["error_code"]) == (401, "ETRACKERREADONLY")
    await tracker.configure(issue_tracker=False)
    status, body = await tracker.alice.post(missing, **form)
    assert (status, body["error_code"]) == (404, "ETRACKERDISABLED")


@pytest.mark.parametrize("path", [*FORMS, "/subscribe", "/comment"])
async def test_most_changes_take_a_token_bound_to_the_project(tracker: Tracker, nethack: Client, path: str) -> None:
    form = FORMS.get(path, {"status": "1", "comment": "c"})
    await tracker.issue()
    await nethack.post("/new", name="other", description="d")
    elsewhere = await tracker.token("alice", "other")
    status, body = await elsewhere.post(f"/nethack/issue/99{path}", **form)
    assert (status, body["error_code"], "errors" in body) == (401, "EINVALIDTOK", False)
    status, body = await nethack.post(f"/nethack/issue/1{path}", **form)
    if path in ("/status", "/comment"):
        assert status == 200
    else:
        assert (status, body["error_code"], "errors" in body) == (401, "EINVALIDTOK", False)
    assert (await tracker.alice.post(f"/nethack/issue/1{path}", **form))[0] == 200
