"""Messages that are sent late show issues, pull requests and flags as they were right after the event."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Client, Forge
from tests.pagure.pulls import open_pull_request, push_commit
from tests.pagure.trackers import Tracker
from tests.receiver import Receiver
from tests.subscriptions import list_deliveries, subscribe

pytestmark = pytest.mark.usefixtures("sent_at_once")


async def hear_everything(client: Client, receiver: Receiver, types: list[str]) -> list[Any]:
    """Replay all events of these types, now that everything has happened, and return the messages."""
    await client.forge.idle()
    subscription = await subscribe(client, receiver, format="pagure", types=types)
    replay = f"/v1/subscriptions/{subscription['id']}/replay"
    assert (await client.json("POST", replay, {"after": 0}))[0] == 202
    async with asyncio.timeout(20):
        while await list_deliveries(client, subscription, "?status=waiting"):
            await asyncio.sleep(0.05)
    return [got.json for got in receiver.received]


async def change(client: Client, path: str, **form: Any) -> None:
    status, body = await client.post(path, **form)
    assert status == 200, body


async def test_an_assignment_that_was_reset_is_told_with_its_assignee(
    forge: Forge,
    tracker: Tracker,
    receiver: Receiver,
) -> None:
    number = await tracker.issue()
    await forge.user("bob")
    for assignee in ("bob", "", "bob", ""):
        await change(tracker.alice, f"/nethack/issue/{number}/assign", assignee=assignee)
    told = await hear_everything(forge.admin, receiver, ["issue.*"])
    assignees = [
        (each["topic"], each["msg"]["issue"]["assignee"] and each["msg"]["issue"]["assignee"]["name"]) for each in told
    ]
    assert assignees == [
        ("issue.new", None),
        *[("issue.assigned.added", "bob"), ("issue.assigned.reset", None)] * 2,
    ]  # fmt: skip


async def test_every_message_of_an_issue_shows_it_as_it_was(
    forge: Forge,
    tracker: Tracker,
    receiver: Receiver,
) -> None:
    alice, one = tracker.alice, "/nethack/issue/1"
    await forge.user("bob")
    states = []
    for path, form in (
        ("/nethack/new_issue", {"title": "T", "issue_content": "C", "tag": "pet,dog"}),
        (one, {"title": "U", "issue_content": "D"}),
        (f"{one}/assign", {"assignee": "bob"}),
        (f"{one}/comment", {"comment": "First"}),
        (f"{one}/status", {"status": "Closed", "close_status": "Fixed"}),
        (f"{one}/milestone", {"milestone": "v1"}),
        (f"{one}/status", {"status": "Open"}),
        (f"{one}/assign", {"assignee": ""}),
        (f"{one}/comment", {"comment": "Second"}),
    ):
        await change(alice, path, **form)
        states.append((await alice.pagure(one))[1])
    await change(alice, f"{one}/custom/reviewer", value="bob")
    assert (await alice.request("DELETE", "/api/0/nethack/tag/dog"))[0] == 200
    told = await hear_everything(forge.admin, receiver, ["issue.*"])
    assert [each["topic"] for each in told[:2]] == ["issue.new", "issue.edit"]
    assert len(told) == len(states)
    for message, state in zip(told, states, strict=True):
        shown = message["msg"]["issue"]
        for name in state.keys() - {"project"}:
            assert shown[name] == state[name], (message["topic"], name)


async def test_every_message_of_a_pull_request_shows_it_as_it_was(
    forge: Forge,
    nethack: Client,
    bob: Client,
    receiver: Receiver,
    tmp_path: Path,
) -> None:
    number = (await open_pull_request(bob))["id"]
    one = f"/nethack/pull-request/{number}"
    await forge.idle()
    bound, states = await nethack.limited(project="nethack"), []
    for path, form in (
        (f"{one}/comment", {"comment": "+1"}),
        (one, {"title": "New", "initial_comment": "Words"}),
        (f"{one}/assign", {"assignee": "bob"}),
        (f"{one}/assign", {"assignee": ""}),
        (f"{one}/close", {}),
        (f"{one}/reopen", {}),
        (
            f"{one}/flag",
            {"username": "CI", "comment": "Started", "url": "https://ci.example", "uid": "1", "percent": "0"},
        ),
        (
            f"{one}/flag",
            {"username": "CI", "comment": "Done", "url": "https://ci.example", "uid": "1", "percent": "100"},
        ),
    ):
        await change(bound, path, **form)
        await forge.idle()
        states.append((await nethack.pagure(one))[1])
    await push_commit(tmp_path / "bob", "topic", "two")
    await forge.idle()
    await change(bound, f"{one}/merge")
    types = ["pull-request.*", "commit.flagged"]
    told = await hear_everything(forge.admin, receiver, types)
    topics = [each["topic"] for each in told]
    expected = {
        "pull-request.comment.added": states[0], "pull-request.initial_comment.edited": states[1],
        "pull-request.assigned.added": states[2], "request.assigned.added": states[2],
        "pull-request.assigned.reset": states[3], "pull-request.closed": states[4],
        "pull-request.reopened": states[5], "pull-request.flag.added": states[6],
        "pull-request.flag.updated": states[7],
    }  # fmt: skip
    for topic, state in expected.items():
        shown = told[topics.index(topic)]["msg"]["pullrequest"]
        without = {"project", "repo_from"} | ({"comments"} if "initial" in topic or "flag" in topic else set())
        for name in state.keys() - without:
            assert shown[name] == state[name], (topic, name)
    flags = [each["msg"]["flag"] for each in told if each["topic"].startswith("commit.flag.")]
    assert [(flag["comment"], flag["percent"]) for flag in flags] == [("Started", 0), ("Done", 100)]
    assert told[topics.index("pull-request.new")]["msg"]["pullrequest"]["comments"] == []
