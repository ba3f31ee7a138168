"""That a project was deleted is told to everybody who might read it before, in every format."""

from typing import Any

import pytest

from tests.conftest import Client, Forge
from tests.receiver import Receiver
from tests.subscriptions import open_issue, subscribe, wait_for_delivery

pytestmark = pytest.mark.usefixtures("sent_at_once")

FORMATS = ("standard", "pagure", "cloudevents")


async def delete(owner: Client, path: str) -> None:
    bound = await owner.limited(project=path)
    status, body = await bound.post(f"/{path}/delete")
    assert status == 200, body


def find_type(got: Any) -> str:
    """The type or topic of a delivery in any format."""
    found: str = got.json.get("topic") or got.json["type"]
    return found


@pytest.mark.parametrize("everything", [True, False], ids=["all projects", "this project"])
@pytest.mark.parametrize("private", ["", "1"], ids=["public", "private"])
async def test_subscriptions_of_every_format_hear_that_a_project_was_deleted(
    forge: Forge, alice: Client, receiver: Receiver, everything: bool, private: str
) -> None:
    assert (await alice.post("/new", name="cave", description="d", private=private))[0] == 200
    path = "alice/cave" if private else "cave"
    project = None if everything else path
    _, shown = await alice.pagure(f"/{path}")
    reader = forge.admin if everything else alice
    made = [
        await subscribe(reader, receiver, project=project, format=name, types=["project.deleted"]) for name in FORMATS
    ]
    await delete(alice, path)
    got = await receiver.wait_for(3)
    assert sorted(map(find_type, got)) == ["project.deleted"] * 3
    for subscription in made:
        await wait_for_delivery(reader, subscription, status="delivered", reason=None)
    [message] = [each.json["msg"] for each in got if "msg" in each.json]
    assert (message["project"], message["agent"]) == (shown, "alice")
    for event in (each.json["data"] for each in got if "data" in each.json):
        data = event.get("data", event)
        assert "snapshot" not in str(data)


async def test_a_deleted_fork_is_shown_with_its_parent_that_was_deleted_after_it(
    forge: Forge, nethack: Client, receiver: Receiver
) -> None:
    assert (await nethack.post("/fork", repo="nethack"))[0] == 200
    await subscribe(forge.admin, receiver, project=None, format="pagure", types=["project.deleted"], active=True)
    _, fork = await nethack.pagure("/fork/alice/nethack")
    assert fork["parent"]["name"] == "nethack"
    receiver.responses = [500]
    await delete(nethack, "fork/alice/nethack")
    await delete(nethack, "nethack")
    got = await receiver.wait_for(1)
    assert got[0].json["msg"]["project"] == fork


async def test_the_feed_tells_of_a_deleted_project_to_those_who_might_read_it(forge: Forge, alice: Client) -> None:
    bob, carol = await forge.user("bob"), await forge.user("carol")
    for path, private in (("nethack", ""), ("cave", "1")):
        assert (await alice.post("/new", name=path, description="d", private=private))[0] == 200
    status, _ = await alice.post("/alice/cave/git/modifyacls", user_type="user", name="bob", acl="ticket")
    assert status == 200
    for path in ("nethack", "alice/cave"):
        await open_issue(alice, path)
        await delete(alice, path)
    await forge.numbered()
    for reader, paths in (
        (forge.nobody, ["nethack"]), (carol, ["nethack"]), (bob, ["nethack", "alice/cave"]),
        (alice, ["nethack", "alice/cave"]),
    ):  # fmt: skip
        _, page = await reader.get("/v1/events?types=project.deleted")
        assert [event["data"]["path"] for event in page["events"]] == paths
        assert [event["data"].keys() for event in page["events"]] == [{"project_id", "path"}] * len(paths)
        _, page = await reader.get("/v1/events?types=issue.*")
        assert len(page["events"]) == (2 if reader is alice else 0)
