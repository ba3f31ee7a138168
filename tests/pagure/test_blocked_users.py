"""What users cannot do to a project that has blocked them, administrators of the forge included."""

from pathlib import Path
from typing import Any

import pytest

from app.core.commit_references import ApplyCommitReference
from app.errors import Forbidden
from tests.conftest import Client, Forge, commit, git
from tests.pagure.pulls import open_pull_request, push_commit, wait_for_pull_request
from tests.pagure.trackers import Tracker
from tests.receiver import Receiver
from tests.subscriptions import list_deliveries, open_issue, subscribe, wait_for_delivery

BLOCKED = "You have been blocked from this project."


async def block(keeper: Client, *names: str) -> None:
    bound = await keeper.limited(project="nethack")
    status, body = await bound.request("POST", "/api/0/nethack/blockuser", data=[("username", name) for name in names])
    assert status == 200, body


async def ask(client: Client, method: str, path: str, body: Any = None) -> tuple[int, str]:
    status, problem = await client.json(method, path, body)
    return status, (problem or {}).get("detail", "")


@pytest.mark.usefixtures("sent_at_once")
async def test_a_blocked_administrator_cannot_subscribe_or_change_a_subscription(
    forge: Forge, nethack: Client, receiver: Receiver
) -> None:
    mine, theirs = await subscribe(forge.admin, receiver), await subscribe(nethack, receiver)
    await open_issue(nethack)
    await receiver.wait_for(2)
    delivered = await wait_for_delivery(forge.admin, mine, status="delivered")
    await block(nethack, "admin")
    new = {"url": receiver.url, "project": "nethack"}
    own = f"/v1/subscriptions/{mine['id']}"
    for method, path, body in (
        ("POST", "/v1/subscriptions", new),
        ("PATCH", own, {"active": False}),
        ("PATCH", own, {"url": f"{receiver.url}/elsewhere"}),
        ("POST", f"{own}/ping", None),
        ("POST", f"{own}/secret", None),
        ("POST", f"{own}/replay", {"after": 0}),
        ("POST", f"/v1/deliveries/{delivered['id']}/redeliver", None),
        ("DELETE", f"/v1/subscriptions/{theirs['id']}", None),
    ):
        assert await ask(forge.admin, method, path, body) == (403, BLOCKED), (method, path)
    assert (await forge.admin.get(own))[0] == 200
    assert delivered in await list_deliveries(forge.admin, mine)
    assert await ask(forge.admin, "DELETE", own) == (204, "")
    await block(nethack)
    assert await ask(forge.admin, "POST", "/v1/subscriptions", new) == (201, "")


async def test_a_blocked_administrator_changes_nothing_through_git_or_the_native_api(
    forge: Forge, nethack: Client, tmp_path: Path
) -> None:
    work = tmp_path / "work"
    await git("clone", "-q", forge.admin.git_url("nethack"), str(work))
    await block(nethack, "admin")
    await commit(work)
    assert "You are blocked from this project." in await git("push", "origin", "HEAD:main", cwd=work, fails=True)
    await git("fetch", "-q", "origin", cwd=work)
    assert await ask(forge.admin, "PATCH", "/v1/projects/nethack/tracker", {"milestones": {}}) == (403, BLOCKED)
    assert await ask(forge.admin, "POST", "/v1/projects/nethack/mirror") == (403, BLOCKED)
    status, body = await forge.admin.request("PATCH", "/api/0/nethack", data={"main_admin": "admin"})
    assert (status, body["error_code"]) == (403, "EUBLOCKED")
    assert (await forge.admin.post("/fork", repo="nethack"))[0] == 200


async def test_a_push_of_a_blocked_user_to_a_fork_does_not_reach_a_pull_request(
    forge: Forge, nethack: Client, bob: Client, tmp_path: Path
) -> None:
    number = (await open_pull_request(bob))["id"]
    await forge.idle()
    _, shown = await nethack.pagure(f"/nethack/pull-request/{number}")
    await block(nethack, "bob")
    unwanted = await push_commit(tmp_path / "bob", "topic", "two")
    await forge.idle()
    _, after = await nethack.pagure(f"/nethack/pull-request/{number}")
    for name in ("project", "repo_from"):  # these tell when they were changed
        del after[name], shown[name]
    assert after == shown
    assert (await nethack.post(f"/nethack/pull-request/{number}/merge"))[0] == 200
    await forge.idle()
    history = await git("ls-remote", nethack.git_url("nethack"))
    assert shown["commit_stop"] in history
    assert unwanted not in history
    assert (await nethack.pagure("/nethack/c/" + unwanted + "/info"))[0] == 404


async def test_a_pull_request_follows_the_pushes_of_a_user_who_is_not_blocked_any_more(
    forge: Forge, nethack: Client, bob: Client, tmp_path: Path
) -> None:
    number = (await open_pull_request(bob))["id"]
    await forge.idle()
    await block(nethack, "bob")
    await push_commit(tmp_path / "bob", "topic", "two")
    await forge.idle()
    await block(nethack)
    newest = await push_commit(tmp_path / "bob", "topic", "three")
    await wait_for_pull_request(nethack, number, "commit_stop", newest)


async def test_a_commit_of_a_user_who_was_blocked_meanwhile_closes_no_issue(nethack: Client, tracker: Tracker) -> None:
    number = await tracker.issue()
    await tracker.add_person("bob", "commit")
    fixes = {"number": number, "noun": None, "fixes": True, "commit_id": "0" * 40}
    await block(nethack, "bob")
    with pytest.raises(Forbidden, match="blocked"):
        await tracker.execute(ApplyCommitReference, username="bob", **fixes)
