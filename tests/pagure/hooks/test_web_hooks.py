"""The option `Web-hooks`: its subscriptions, what they are sent, and who may change them."""

import asyncio
import base64
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from app.core.web_hooks import storing_web_hooks
from app.stores import deliveries as store
from events.projections import rebuild
from tests.conftest import Client, Forge, commit, git
from tests.pagure.hooks.conftest import Hook
from tests.pagure.test_sharing import grant_access
from tests.receiver import ReceivedRequest
from tests.subscriptions import list_deliveries, open_issue, wait_for_delivery
from workers import delivery


async def list_subscriptions(client: Client) -> list[Any]:
    status, page = await client.get("/v1/subscriptions")
    assert status == 200
    return list(page["subscriptions"])


async def test_each_line_is_a_subscription_that_shows_only_its_host(forge: Forge, nethack: Client) -> None:
    hooks = " https://one.example.org/a?key=x \r\n\nhttp://[::1]:80/b\nnothing\nHTTPS://user:word@Two.example.org\n"
    status, _ = await nethack.post("/nethack/options/update", **{"Web-hooks": hooks})
    assert status == 200
    made = await list_subscriptions(nethack)
    assert sorted(each["host"] for each in made) == ["[::1]", "one.example.org", "two.example.org"]
    for each in made:
        assert each.pop("host")
        assert each == {
            "id": each["id"],
            "owner": None,
            "project": "nethack",
            "types": None,
            "format": "pagure",
            "ordered": True,
            "active": True,
            "status": "active",
            "reason": None,
            "failures": each["failures"],
            "failing_since": each["failing_since"],
            "created_at": each["created_at"],
            "changed_at": each["created_at"],
        }
    before = await forge.db.fetch("select * from subscriptions order by subscription_id")
    await rebuild.rebuild(forge.db)
    assert await forge.db.fetch("select * from subscriptions order by subscription_id") == before


async def test_a_login_in_a_web_hook_is_sent_but_never_shown(forge: Forge, hook: Hook) -> None:
    port = hook.receiver.url.partition("//")[2]
    url = f"http://user:canary%40word@{port}?key=a%2Fb"
    await hook.set(url)
    await hook.next("project.edit")
    masked = f"http://********@{port}?key=a%2Fb"
    [hooks] = [(await hook.client.pagure("/nethack/options"))[1]["settings"]["Web-hooks"]]
    assert hooks == masked
    # An address that is sent back as it was shown is still the one that was set.
    await hook.set(masked, "http://127.0.0.2:9/other")
    await hook.next("project.edit")
    await open_issue(hook.client)
    await hook.next("issue.new")
    got = hook.receiver.received[-1]
    assert got.raw_path == "/hook?key=a%2Fb"
    assert base64.b64decode(got.headers["authorization"].removeprefix("Basic ")) == b"user:canary@word"
    for table in await forge.db.fetch("select tablename from pg_tables where schemaname in ('live', 'public')"):
        rows = await forge.db.fetch(f"select t::text as row from {table['tablename']} t")
        assert not [row for row in rows if "canary" in row["row"] or "a%2Fb" in row["row"]], table


async def test_a_malformed_address_of_a_web_hook_is_refused(forge: Forge, nethack: Client) -> None:
    for line in ("http://a b/", "https://user:pa/ss@example.org/", "http://h/%zz", "https:///x", "http://h:99999/"):
        status, body = await nethack.post("/nethack/options/update", **{"Web-hooks": f"https://h/\n{line}"})
        assert (status, body["errors"]) == (400, {"web_hooks": ["Invalid input."]}), line
    assert await forge.db.fetchval("select count(*) from subscription_endpoints") == 0


async def test_addresses_of_a_refused_change_are_not_kept(forge: Forge, hook: Hook) -> None:
    bob = await forge.user("bob")
    status, _ = await bob.post("/nethack/options/update", **{"Web-hooks": "https://example.org/"})
    assert status == 401
    with pytest.raises(RuntimeError):
        async with storing_web_hooks(forge.db, 1, "https://example.org/\n" + hook.receiver.url):
            raise RuntimeError
    assert await forge.db.fetchval("select count(*) from subscription_endpoints") == 1
    await store.delete_orphans(forge.db)
    assert await forge.db.fetchval("select count(*) from subscription_endpoints") == 1


async def test_administrators_see_web_hooks_and_only_the_option_changes_them(forge: Forge, hook: Hook) -> None:
    bob, carol = await forge.user("bob"), await forge.user("carol")
    await grant_access(hook.client, "bob", "admin")
    await grant_access(hook.client, "carol", "commit")
    await hook.next("project.user.added", "project.user.added")
    [made] = await list_subscriptions(bob)
    assert await list_subscriptions(carol) == []
    here = f"/v1/subscriptions/{made['id']}"
    assert (await carol.get(here))[0] == 404
    for method, path, body in (
        ("PATCH", here, {"active": False}), ("PATCH", here, {"url": hook.receiver.url + "/elsewhere"}),
        ("PATCH", here, {"headers": {"X-A": "b"}}), ("DELETE", here, None), ("POST", here + "/secret", {}),
    ):  # fmt: skip
        status, problem = await bob.json(method, path, body)
        assert status == 409, path
        assert problem["detail"] == "This subscription belongs to the project's option `Web-hooks`; change it there."
    assert await forge.db.fetchval("select count(*) from subscription_endpoints") == 1
    assert await list_subscriptions(bob) == [made]


async def test_a_ping_is_the_test_notification(hook: Hook) -> None:
    [made] = await list_subscriptions(hook.client)
    status, _ = await hook.client.json("POST", f"/v1/subscriptions/{made['id']}/ping")
    assert status == 202
    assert await hook.next("Test.notification") == [{"content": "Test message"}]


async def test_the_body_is_encoded_as_pagure_encodes_it(hook: Hook) -> None:
    await open_issue(hook.client, title="Hungry dog")
    await hook.next("issue.new")
    got = hook.receiver.received[-1]
    assert got.body == json.dumps(json.loads(got.body), sort_keys=True, separators=(", ", ": ")).encode()
    assert got.headers["user-agent"].startswith("polyforge/")
    assert got.headers["webhook-signature"].startswith("v1,")
    await open_issue(hook.client, title="Müde")
    await hook.next("issue.new")
    assert b"M\\u00fcde" in hook.receiver.received[-1].body


async def test_a_retry_sends_the_same_message_with_the_same_id(hook: Hook) -> None:
    hook.receiver.responses = [503, 503]
    await open_issue(hook.client)
    await hook.next("issue.new", "issue.new", "issue.new")
    tries = hook.receiver.received[-3:]
    assert len({got.id for got in tries}) == len({got.json["msg_id"] for got in tries}) == 1
    counts = [got.json["i"] for got in tries]
    assert counts == sorted(set(counts))


async def test_an_event_of_several_messages_is_retried_from_the_failed_one(hook: Hook, tmp_path: Path) -> None:
    work = tmp_path / "work"
    await git("clone", "-q", hook.client.git_url("nethack"), str(work))
    await commit(work, "one")
    hook.receiver.responses = [200, 503]
    await git("push", "-q", "origin", "HEAD:topic", cwd=work)
    await hook.next("git.branch.creation", "git.receive", "git.receive")
    first, failed, again = hook.receiver.received[-3:]
    assert [failed.id, again.id] == [f"{first.id}-1"] * 2
    assert failed.json["msg_id"] == again.json["msg_id"] != first.json["msg_id"]
    [made] = await list_subscriptions(hook.client)
    row = await wait_for_delivery(hook.client, made, status="delivered", type="ref.updated")
    assert [tried["status"] for tried in row["attempts"]] == [200, 503, 200]
    assert (await hook.client.json("POST", f"/v1/deliveries/{first.id}/redeliver"))[0] == 202
    await hook.next("git.branch.creation", "git.receive")
    assert [got.id for got in hook.receiver.received[-2:]] == [first.id, again.id]


async def test_an_unreachable_url_does_not_delay_another(hook: Hook) -> None:
    urls = [f"{hook.receiver.url}/{n}" for n in range(3)]
    await hook.set(*reversed(urls), "http://127.0.0.2:9/refused")
    await open_issue(hook.client)
    got = (await hook.receiver.wait_for(hook.seen + 6))[hook.seen :]
    for url in urls:
        path = url.removeprefix(hook.receiver.url.removesuffix("/hook"))
        assert [each.json["topic"] for each in got if each.path == path] == ["project.edit", "issue.new"]
    assert len({each.id for each in got}) == 6


async def test_deliveries_to_an_unchanged_url_continue(hook: Hook, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines before and after it are removed and added again; the line between them is not affected."""
    monkeypatch.setattr(delivery, "SCHEDULE", (0.1,) * 1000)
    gone = hook.receiver.url + "/gone"
    await hook.set(hook.receiver.url, gone)
    await hook.receiver.wait_for(hook.seen + 2)
    hook.receiver.responses = [503] * 1000
    await open_issue(hook.client, title="waits")
    await hook.receiver.wait_for(hook.seen + 4)
    await hook.set(hook.receiver.url)
    kept, ended = sorted(await list_subscriptions(hook.client), key=lambda each: str(each["status"]))
    assert (kept["status"], ended["status"], ended["active"]) == ("active", "ended", False)
    assert ended["reason"] == "The project's web hooks do not name it any more."
    row = await wait_for_delivery(hook.client, ended, status="suppressed", type="issue.opened")
    assert row["reason"] == ended["reason"]
    hook.receiver.responses = []
    await wait_for_delivery(hook.client, kept, status="delivered", type="project.configured")
    assert [each["type"] for each in await list_deliveries(hook.client, kept) if each["status"] == "delivered"][:2] == [
        "project.configured",
        "issue.opened",
    ]
    await hook.set(hook.receiver.url, gone)
    assert {each["status"] for each in await list_subscriptions(hook.client)} == {"active"}
    await wait_for_delivery(hook.client, ended, status="delivered", type="project.configured")
    await hook.client.post("/nethack/options/update", **{"Web-hooks": ""})
    assert {each["status"] for each in await list_subscriptions(hook.client)} == {"ended"}


async def test_a_web_hook_that_ended_long_ago_is_not_listed(forge: Forge, hook: Hook) -> None:
    """It cannot be deleted, and its deliveries are gone by then. It is listed again when its line is added again."""
    [made] = await list_subscriptions(hook.client)
    await hook.client.post("/nethack/options/update", **{"Web-hooks": ""})
    age = "update subscriptions set changed_at = now() - $1::interval"
    await forge.db.execute(age, timedelta(days=29))
    assert [each["id"] for each in await list_subscriptions(hook.client)] == [made["id"]]
    await forge.db.execute(age, timedelta(days=31))
    assert await list_subscriptions(hook.client) == []
    await hook.set(hook.receiver.url)
    assert [each["id"] for each in await list_subscriptions(hook.client)] == [made["id"]]


async def test_private_issues_are_not_sent(hook: Hook) -> None:
    await open_issue(hook.client, private="1")
    await hook.client.post("/nethack/issue/1/comment", comment="Secret")
    await open_issue(hook.client, title="public")
    [message] = await hook.next("issue.new")
    assert message["issue"]["title"] == "public"
    [made] = await list_subscriptions(hook.client)
    reasons = [each["reason"] for each in await list_deliveries(hook.client, made) if each["status"] == "suppressed"]
    assert reasons == ["This event is not public."] * 2


async def test_private_projects_have_no_web_hooks(hook: Hook) -> None:
    alice = hook.client
    await alice.post("/new", name="cave", description="d", private="1")
    status, _ = await alice.post("/alice/cave/options/update", **{"Web-hooks": hook.receiver.url})
    assert status == 200
    await open_issue(alice, "alice/cave")
    await open_issue(alice)
    await hook.next("issue.new")
    assert len(await list_subscriptions(alice)) == 1


async def test_a_fork_has_web_hooks_of_its_own(forge: Forge, hook: Hook) -> None:
    bob = await forge.user("bob")
    assert (await bob.post("/fork", repo="nethack"))[0] == 200
    await bob.post("/fork/bob/nethack/options/update", always_merge="1")
    await forge.numbered()
    fork = Hook(hook.receiver, bob, "fork/bob/nethack", "forks/bob/nethack")
    fork.seen = hook.seen
    await fork.set(hook.receiver.url + "/fork")
    [edited] = await fork.next("project.edit")
    assert (edited["fields"], edited["project"]["fullname"]) == (["Web-hooks"], "forks/bob/nethack")
    assert fork.token != hook.token


async def test_event_types_without_messages_get_no_delivery(hook: Hook) -> None:
    await hook.client.post("/nethack/watchers/update", watcher="alice", status="3")
    await hook.client.post("/nethack/tags/new", tag="urgent", tag_color="red")
    await open_issue(hook.client)
    await hook.next("issue.new")
    [made] = await list_subscriptions(hook.client)
    statuses = [(each["type"], each["status"], each["reason"]) for each in await list_deliveries(hook.client, made)]
    assert ("tag.defined", "suppressed", "The format does not support this type of event.") in statuses
    assert "watch.changed" not in {event_type for event_type, *_ in statuses}


async def delete_project(hook: Hook) -> None:
    token = await hook.client.limited(acls=["modify_project"], project="nethack")
    assert (await token.post("/nethack/delete"))[0] == 200


async def wait_for_topic(hook: Hook, topic: str) -> ReceivedRequest:
    """Wait until the newest message has this topic and return it."""
    async with asyncio.timeout(20):
        while (got := hook.receiver.received[-1]).json["topic"] != topic:
            await asyncio.sleep(0.02)
    return got


async def test_the_deletion_of_a_project_is_sent(forge: Forge, hook: Hook, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "SCHEDULE", (0.1,) * 1000)
    shown = (await hook.client.pagure("/nethack"))[1]
    hook.receiver.responses = [503] * 1000
    await open_issue(hook.client, title="never sent")
    await hook.receiver.wait_for(hook.seen + 1)
    await delete_project(hook)
    assert hook.message(await wait_for_topic(hook, "project.deleted")) == {"project": shown, "agent": "alice"}
    assert await forge.db.fetchval("select count(*) from project_secrets") == 1
    hook.receiver.responses = []
    async with asyncio.timeout(20):
        while await forge.db.fetchval("select count(*) from project_secrets"):
            await asyncio.sleep(0.02)
    assert await forge.db.fetchval("select count(*) from subscription_endpoints") == 0
    rows = await forge.db.fetch("select status from deliveries order by delivery_id")
    assert [row["status"] for row in rows[-2:]] == ["suppressed", "delivered"]


async def test_a_project_can_be_deleted_during_a_delivery(forge: Forge, hook: Hook) -> None:
    over = asyncio.Event()

    async def slowly(got: ReceivedRequest) -> web.StreamResponse:
        await over.wait()
        return web.Response()

    hook.receiver.responses = [slowly]
    await open_issue(hook.client)
    await hook.next("issue.new")
    await delete_project(hook)
    await forge.numbered()
    over.set()
    await hook.next("project.deleted")


async def test_a_large_message_is_sent_as_a_link(hook: Hook) -> None:
    await open_issue(hook.client, issue_content="x" * 300_000)
    [message] = await hook.next("issue.new")
    assert message.keys() == {"agent", "link"}
    _, event = await hook.client.get(message["link"])
    assert len(event["data"]["content"]) == 300_000


async def test_a_subscription_in_pagures_format_is_signed_with_its_own_secret(forge: Forge, hook: Hook) -> None:
    bob = await forge.user("bob")
    body = {"url": hook.receiver.url + "/bob", "project": "nethack", "format": "pagure", "types": ["issue.*"]}
    status, made = await bob.json("POST", "/v1/subscriptions", body)
    assert (status, made["owner"]) == (201, "bob")
    await hook.client.post("/nethack/options/update", **{"Web-hooks": ""})
    await open_issue(hook.client)
    own = Hook(hook.receiver, hook.client)
    own.token, own.seen = made["secret"], hook.seen
    [message] = await own.next("issue.new")
    assert message.keys() == {"issue", "project", "agent"}


async def test_a_transferred_project_keeps_its_web_hooks(forge: Forge, hook: Hook) -> None:
    bob = await forge.user("bob")
    assert (await hook.client.request("PATCH", "/api/0/nethack", data={"main_admin": "bob"}))[0] == 200
    assert [each["status"] for each in await list_subscriptions(bob)] == ["active"]
    assert await list_subscriptions(hook.client) == []
    await open_issue(bob)
    await hook.next("issue.new")


async def test_the_owner_sees_why_a_web_hook_has_ended(forge: Forge, hook: Hook) -> None:
    hook.receiver.responses = [410]
    await open_issue(hook.client)
    await hook.next("issue.new")
    [made] = await list_subscriptions(hook.client)
    await wait_for_delivery(hook.client, made, status="suppressed")
    bob = await forge.user("bob")
    await forge.numbered()
    for reader, count in ((hook.client, 1), (bob, 0), (forge.nobody, 0), (forge.admin, 1)):
        page = (await reader.get("/v1/events?types=subscription.changed"))[1]
        assert [event["data"]["changed"]["status"] for event in page["events"]] == ["ended"] * count


async def test_the_same_line_twice_is_one_subscription(nethack: Client) -> None:
    hooks = "https://example.org/\n" * 51 + "https://example.org/last"
    assert (await nethack.post("/nethack/options/update", **{"Web-hooks": hooks}))[0] == 200
    assert len(await list_subscriptions(nethack)) == 2


async def test_a_project_has_a_limited_number_of_web_hooks(nethack: Client) -> None:
    hooks = "\n".join(f"https://example.org/{n}" for n in range(51))
    status, body = await nethack.post("/nethack/options/update", **{"Web-hooks": hooks})
    assert (status, body["error_code"]) == (400, "EINVALIDREQ")
    assert await list_subscriptions(nethack) == []
