"""What the managers of a subscription see and get once they may see less than before."""

from typing import Any

import pytest

from tests.conftest import Client, Forge
from tests.receiver import Receiver
from tests.subscriptions import list_deliveries, open_issue, subscribe, wait_for_delivery

pytestmark = pytest.mark.usefixtures("sent_at_once")

CAVE = "alice/cave"
NO_RIGHT = "Its owner may no longer read the project."


async def grant(alice: Client, party: str, name: str, acl: str, path: str = CAVE) -> None:
    status, body = await alice.post(f"/{path}/git/modifyacls", user_type=party, name=name, acl=acl)
    assert status == 200, body


@pytest.fixture
async def bob(forge: Forge, alice: Client) -> Client:
    """Bob, a member of the group that may read alice's private project."""
    assert (await alice.post("/new", name="cave", description="d", private="1"))[0] == 200
    bob = await forge.user("bob")
    assert (await alice.json("POST", "/v1/groups", {"name": "hackers"}))[0] == 201
    assert (await alice.json("PUT", "/v1/groups/hackers/members/bob"))[0] == 204
    await grant(alice, "group", "hackers", "ticket")
    return bob


async def view(client: Client, subscription: Any) -> Any:
    return (await client.get(f"/v1/subscriptions/{subscription['id']}"))[1]


async def leave(alice: Client) -> None:
    assert (await alice.json("DELETE", "/v1/groups/hackers/members/bob"))[0] == 204


async def revoke(alice: Client) -> None:
    await grant(alice, "group", "hackers", "")


@pytest.mark.parametrize("take_away", [leave, revoke], ids=["leaves the group", "group loses access"])
async def test_a_subscription_ends_with_the_right_to_read_its_project(
    forge: Forge, alice: Client, bob: Client, receiver: Receiver, take_away: Any
) -> None:
    subscription = await subscribe(bob, receiver, project=CAVE)
    await open_issue(alice, CAVE)
    [got] = await receiver.wait_for(1)
    await wait_for_delivery(bob, subscription, status="delivered")
    await take_away(alice)
    ended = await view(bob, subscription)
    assert (ended["status"], ended["active"], ended["reason"]) == ("ended", False, NO_RIGHT)
    await open_issue(alice, CAVE)
    await forge.numbered()
    assert await list_deliveries(bob, subscription) == []
    assert (await bob.get(f"/v1/deliveries/{got.id}"))[0] == 404
    assert (await bob.json("POST", f"/v1/deliveries/{got.id}/redeliver"))[0] == 404
    replay = f"/v1/subscriptions/{subscription['id']}/replay"
    assert await bob.json("POST", replay, {"after": 0}) == (202, {"count": 0})
    await grant(alice, "user", "bob", "ticket")
    assert (await view(bob, subscription))["status"] == "ended"
    assert len(receiver.received) == 1


async def test_a_subscription_stays_while_another_right_does(
    forge: Forge, alice: Client, bob: Client, receiver: Receiver
) -> None:
    subscription = await subscribe(bob, receiver, project=CAVE, types=["issue.*"])
    await grant(alice, "user", "bob", "ticket")
    await leave(alice)
    assert (await view(bob, subscription))["status"] == "active"
    await grant(alice, "user", "bob", "")
    assert (await view(bob, subscription))["status"] == "ended"


@pytest.mark.parametrize("retain", [True, False])
async def test_a_transferred_private_project_ends_subscriptions_of_its_former_owner(
    forge: Forge, alice: Client, bob: Client, receiver: Receiver, retain: bool
) -> None:
    await grant(alice, "user", "bob", "ticket")
    await revoke(alice)  # of which alice is a member too
    hers, his = await subscribe(alice, receiver, project=CAVE), await subscribe(bob, receiver, project=CAVE)
    transfer = {"main_admin": "bob", "retain_access": retain}
    assert (await alice.json("PATCH", f"/api/0/{CAVE}", transfer))[0] == 200
    assert (await view(alice, hers))["status"] == ("active" if retain else "ended")
    assert (await view(bob, his))["status"] == "active"


async def test_a_replay_and_the_list_leave_out_what_the_owner_may_not_see(
    forge: Forge, nethack: Client, receiver: Receiver
) -> None:
    bob = await forge.user("bob")
    assert (await nethack.post("/nethack/git/modifyacls", user_type="user", name="bob", acl="commit"))[0] == 200
    subscription = await subscribe(bob, receiver, types=["issue.*"])
    await open_issue(nethack, private="1")
    await open_issue(nethack)
    await receiver.wait_for(2)
    await wait_for_delivery(bob, subscription, status="delivered")
    assert len(await list_deliveries(bob, subscription)) == 2
    assert (await nethack.post("/nethack/git/modifyacls", user_type="user", name="bob", acl="ticket"))[0] == 200
    [left] = await list_deliveries(bob, subscription)
    assert left["type"] == "issue.opened"
    replay = f"/v1/subscriptions/{subscription['id']}/replay"
    assert await bob.json("POST", replay, {"after": 0}) == (202, {"count": 1})
    assert len(await receiver.wait_for(3)) == 3
    assert (await nethack.post("/nethack/options/update", issue_tracker=""))[0] == 200
    assert await list_deliveries(bob, subscription) == []
    assert await bob.json("POST", replay, {"after": 0}) == (202, {"count": 0})


async def test_a_task_of_a_private_project_is_hidden_when_access_ends(forge: Forge, alice: Client, bob: Client) -> None:
    await grant(alice, "user", "bob", "commit")
    await leave(alice)
    status, queued = await bob.post("/alice/cave/git/generateacls", wait="0")
    assert status == 200, queued
    await forge.numbered()
    bound = await bob.limited(project=CAVE)
    path = f"/v1/tasks/{queued['taskid']}"
    for reader in (bob, bound):
        assert len((await reader.get("/v1/tasks"))[1]["tasks"]) == 2
        assert (await reader.get(path))[0] == 200
    await grant(alice, "user", "bob", "")
    for reader in (bob, bound):
        assert (await reader.get("/v1/tasks"))[1]["tasks"] == []
        assert (await reader.get(path))[0] == 404
