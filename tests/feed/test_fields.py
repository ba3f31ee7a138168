"""Which fields of events are shown, and to whom."""

import re
from dataclasses import fields

import pytest

from app.feed.fields import ADMINISTRATORS, READERS, select_fields
from events.event import TYPES, Event
from tests.conftest import Client, Forge
from tests.test_schema import documented

OLD = {"details"}  # fields that only old events have


@pytest.mark.parametrize("event", TYPES.values(), ids=lambda event: event.type)
def test_the_page_says_who_may_see_each_field(event: type[Event]) -> None:
    rows = re.findall(r"^\| `(\w+)` \| (.*) \|$", documented()[event.type], flags=re.MULTILINE)
    shown = set(READERS[event.type].split()) - OLD
    to_administrators = set(ADMINISTRATORS.get(event.type, "").split())
    assert {name for name, text in rows if "(*administrators*)" in text} == to_administrators
    assert {name for name, text in rows if "(*" not in text} == shown
    assert shown | to_administrators <= {field.name for field in fields(event)}  # type: ignore[arg-type]


def test_a_field_that_is_not_listed_is_hidden_from_everybody() -> None:
    assert READERS.keys() == TYPES.keys() >= ADMINISTRATORS.keys()
    data = {"project_id": 1, "path": "x", "color": "red"}
    for administers in (True, False):
        assert select_fields("project.deleted", data, administers=administers) == {"project_id": 1, "path": "x"}
        assert select_fields("project.painted", data, administers=administers) == {}


async def list_events(client: Client, *types: str) -> dict[str, dict[str, object]]:
    _, page = await client.get(f"/v1/events?types={','.join(types)}&limit=1000")
    return {event["type"]: event["data"] for event in page["events"]}


async def test_only_administrators_of_a_project_see_its_settings_in_the_feed(forge: Forge, alice: Client) -> None:
    form = {"url": "https://example.org/nethack", "avatar_email": "a@b.c"}
    assert (await alice.post("/new", name="nethack", description="d", **form))[0] == 200
    bob, carol = await forge.user("bob"), await forge.user("carol")
    for name, acl in (("bob", "admin"), ("carol", "commit")):
        assert (await alice.post("/nethack/git/modifyacls", user_type="user", name=name, acl=acl))[0] == 200
    bound = await alice.limited(project="nethack")
    assert (await bound.post("/nethack/blockuser", username="carol"))[0] == 200
    assert (await alice.post("/nethack/options/update", **{"Web-hooks": "https://example.org/hook"}))[0] == 200
    assert (await alice.post("/nethack/settings/IRC/install", server="x", room="#r", nick_pass="secret"))[0] == 200
    assert (await bob.post("/fork", repo="nethack"))[0] == 200
    await forge.numbered()
    wanted = {
        "project.created": form,
        "project.users-blocked": {"usernames": ["carol"]},
    }
    scoped = await alice.limited(acls=["modify_project"])
    hidden = {"project.created", "project.configured", "project.users-blocked", "plugin.installed", "project.forked"}
    for reader in (forge.nobody, carol, scoped):
        events = await list_events(reader, *hidden)
        assert events.keys() == hidden
        for event_type, data in events.items():
            assert not data.keys() & {*form, "settings", "usernames", "fields", "secrets"}, event_type
    for reader in (alice, bob, bound, forge.admin):
        events = await list_events(reader, *hidden)
        for event_type, fields_ in wanted.items():
            assert fields_.items() <= events[event_type].items()
        assert "example.org" in str(events["project.configured"]["settings"])
        assert events["plugin.installed"]["secrets"] == ["nick_pass"]
        assert "server" in str(events["plugin.installed"]["fields"])
    for reader, sees in ((bob, True), (alice, False)):  # the fork is bob's
        assert ("settings" in (await list_events(reader, "project.forked"))["project.forked"]) == sees


async def test_a_tracker_that_is_switched_off_is_hidden_in_the_feed(forge: Forge, nethack: Client) -> None:
    await nethack.post("/nethack/new_issue", title="t", issue_content="c", tag="pet")
    await nethack.post("/nethack/tags/new", tag="new", tag_color="red")
    assert (await nethack.json("PATCH", "/v1/projects/nethack/tracker", {"milestones": {"v1": {}}}))[0] == 200
    await nethack.json("POST", "/api/0/nethack/boards", {"dev": {"active": True, "tag": "pet"}})
    types = ("issue.*", "tag.*", "board.*", "tracker.*")
    await forge.numbered()
    seen = {"issue.opened", "tag.defined", "tracker.configured", "board.defined"}
    assert (await list_events(forge.nobody, *types)).keys() == seen
    for value, shown in (("", set()), ("1", seen)):
        assert (await nethack.post("/nethack/options/update", issue_tracker=value))[0] == 200
        await forge.numbered()
        for reader in (forge.nobody, nethack):
            assert (await list_events(reader, *types)).keys() == shown
        assert (await list_events(forge.admin, *types)).keys() == seen
