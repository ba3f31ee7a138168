"""The reply to a request that was carried out and whose process then died is rendered for the retry.

One story goes through every route that writes. Each request is sent with a key of its own to a forge that dies after
the command and before the reply is stored, and then again. The retry has to get what would have been the first reply.
"""

import asyncio
import re
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from app.core import pushes
from tests import routes
from tests.conftest import Client, Forge, git
from tests.http.lossy import LossyForge
from tests.pagure.pulls import push_commit
from tests.receiver import Receiver
from workers.reactions import REACTIONS

# Routes that read only, git's own protocol, builds, which have no user to hold a key, and what does no harm if it is
# done twice: deliveries, pulls of a mirror, and a new secret, which replaces the one that was not shown.
# JSON-RPC has one route for all of its methods, and is not in this story yet.
EXEMPT = re.compile(
    "whoami|git-receive-pack|git-upload-pack|/info/lfs/|/ci/jenkins/|/ping|/replay|/redeliver|/mirror|/secret|/_admin/api"
)
API = "/api/0"
REPO = f"{API}/nethack"
FLAG = {"username": "CI", "comment": "c", "url": "https://h.example/", "status": "success"}


async def write_in_tracker(lossy: LossyForge, bound: Client) -> None:
    send = lossy.send
    tracker = {"milestones": {"v1": {"date": "2030-01-01"}}, "custom_keys": [["docs", "text"]]}
    await send("PATCH", "/v1/projects/nethack/tracker", body=tracker)
    for number in (1, 2):
        _, opened = await send("POST", f"{REPO}/new_issue", form={"title": "t", "issue_content": "c"})
        assert opened["issue"]["id"] == number
    await send("POST", f"{REPO}/tags/new", form={"tag": "urgent", "tag_color": "red", "tag_description": "d"})
    await send("POST", f"{REPO}/issue/1", form={"title": "u", "issue_content": "d"}, by=bound)
    await send("POST", f"{REPO}/issue/1/comment", form={"comment": "c"})
    await send("POST", f"{REPO}/issue/1/assign", form={"assignee": "alice"}, by=bound)
    await send("POST", f"{REPO}/issue/1/custom/docs", form={"value": "v"}, by=bound)
    await send("POST", f"{REPO}/issue/1/custom", form={"docs": "w"}, by=bound)
    await send("POST", f"{REPO}/issue/1/milestone", form={"milestone": "v1"}, by=bound)
    await send("POST", f"{REPO}/issue/1/status", form={"status": "Closed"}, by=bound)
    await send("POST", f"{REPO}/issue/1/subscribe", form={"status": "True"}, by=bound)
    await send("POST", f"{REPO}/boards", body={"dev": {"active": True, "tag": "urgent"}})
    await send("POST", f"{REPO}/boards/dev/status", body={"Todo": {"rank": 1, "default": True}})
    await send("POST", f"{REPO}/boards/dev/add_issue", body={"2": {"status": "Todo", "rank": 1}})
    await lossy.client.forge.numbered()
    _, feed = await lossy.client.get("/v1/events?types=issue.opened")
    uid = str(feed["events"][1]["data"]["uid"])
    await send("POST", f"{REPO}/boards/dev/update_issue", body={uid: {"status": "Todo", "rank": 2}})
    await send("POST", f"{REPO}/boards/delete", form={"name": "dev"})
    await send("DELETE", f"{REPO}/tag/urgent", by=bound)
    assert (await lossy.client.pagure("/nethack/issues?status=all"))[1]["total_issues"] == 2


async def write_refs(lossy: LossyForge) -> None:
    send = lossy.send
    await send("POST", f"{REPO}/git/branch", form={"branch": "dev", "from_branch": "main"})
    branches = (await lossy.client.pagure("/nethack/git/branches?with_commits=1"))[1]["branches"]
    commit = branches["main"]
    await send("POST", f"{REPO}/git/tags", form={"tagname": "v1", "commit_hash": commit, "message": "m"})
    await send("POST", f"{REPO}/git/alias/new", form={"alias_from": "devel", "alias_to": "dev"})
    await send("POST", f"{REPO}/git/alias/drop", form={"alias_from": "devel", "alias_to": "dev"})
    await send("POST", f"{REPO}/git/branches", form={"branch_name": "dev"})
    await send("POST", f"{REPO}/git/branches", form={"branch_name": "main"})
    await send("POST", f"{REPO}/c/{commit}/flag", form=FLAG)


async def write_in_pull_requests(lossy: LossyForge, bound: Client, work: Path) -> None:
    send = lossy.send
    await git("clone", "-q", lossy.client.git_url("nethack"), str(work), cwd=work.parent)
    await push_commit(work, "topic", "one")
    opening = {
        "title": "t",
        "branch_to": "main",
        "branch_from": "topic",
        "initial_comment": "c",
        "repo_from": "nethack",
    }
    _, opened = await send("POST", f"{REPO}/pull-request/new", form=opening)
    await lossy.client.forge.idle()  # its merge status is found a moment later
    pull = f"{REPO}/pull-request/{opened['id']}"
    await send("POST", pull, form={"title": "u", "initial_comment": "d"}, by=bound)
    await send("POST", f"{pull}/comment", form={"comment": "c"})
    await send("POST", f"{pull}/assign", form={"assignee": "alice"}, by=bound)
    await send("POST", f"{pull}/subscribe", form={"status": "True"}, by=bound)
    await send("POST", f"{pull}/flag", form=FLAG)
    await send("POST", f"{pull}/close", by=bound)
    await send("POST", f"{pull}/reopen", by=bound)
    await send("POST", f"{pull}/rebase", form={"wait": "1"}, by=bound)
    await send("POST", f"{pull}/merge", form={"wait": "1"}, by=bound)


async def write_settings(lossy: LossyForge, bound: Client, bob: Client) -> None:
    send = lossy.send
    await send(
        "POST", f"{REPO}/options/update", form={"Web-hooks": "https://h.example/", "roadmap_on_issues_page": "1"}
    )
    await send("POST", f"{REPO}/git/generateacls")
    await send("POST", f"{REPO}/git/modifyacls", form={"user_type": "user", "name": "bob", "acl": "commit"})
    await send("POST", f"{REPO}/settings/Mail/install", form={"mail_to": "a@b.example"})
    await send("POST", f"{REPO}/settings/Mail/remove")
    await send("POST", f"{REPO}/token/new", form={"acls": "commit_flag", "description": "d"})
    await send("POST", f"{REPO}/watchers/update", form={"watcher": "alice", "status": "3"}, by=bound)
    await send("PATCH", REPO, body={"main_admin": "bob", "retain_access": "true"})
    await send("PATCH", REPO, body={"main_admin": "alice"}, by=bob)
    await send("POST", f"{REPO}/blockuser", form={"username": "bob"}, by=bound)


async def write_users_and_groups(lossy: LossyForge, admin: Client) -> None:
    send = lossy.send
    await send("POST", "/v1/users", body={"username": "dave", "email": "d@example.org"}, by=admin)
    _, token = await send("POST", "/v1/users/alice/tokens", body={"description": "d"})
    await send("DELETE", f"/v1/tokens/{token['id']}")
    await send("POST", "/v1/groups", body={"name": "crew", "display_name": "Crew", "description": "d"}, by=admin)
    await send("PUT", "/v1/groups/crew/members/bob", by=admin)
    await send("DELETE", "/v1/groups/crew/members/bob", by=admin)
    await send("POST", f"{API}/group/crew/add", form={"user": "bob"}, by=admin)
    await send("POST", f"{API}/group/crew/remove", form={"user": "bob"}, by=admin)


async def subscribe(lossy: LossyForge, receiver: Receiver) -> None:
    send = lossy.send
    body = {"project": "nethack", "url": receiver.url, "types": ["issue.*"]}
    _, made = await send("POST", "/v1/subscriptions", body=body)
    address = f"/v1/subscriptions/{made['id']}"
    await send("PATCH", address, body={"types": ["project.*"]})
    await send("DELETE", address)


async def work_on_tasks(lossy: LossyForge) -> None:
    client, work, release = lossy.client, REACTIONS["create-repository"].work, asyncio.Event()

    async def hold(*arguments: Any) -> Any:
        answers = await work(*arguments)
        await release.wait()
        return answers

    object.__setattr__(REACTIONS["create-repository"], "work", hold)
    try:
        _, queued = await client.post("/new", name="omega", description="d", wait="0")
        await lossy.send("POST", f"/v1/tasks/{queued['taskid']}/cancel", goes_on=True)
    finally:
        release.set()
        object.__setattr__(REACTIONS["create-repository"], "work", work)


@pytest.mark.slow
async def test_every_write_whose_reply_got_lost_is_answered_as_it_would_have_been(
    forge: Forge, lossy: LossyForge, tmp_path: Path, receiver: Receiver
) -> None:
    bob = await forge.user("bob")
    bound = await lossy.client.limited(project="nethack")
    await write_in_tracker(lossy, bound)
    await write_refs(lossy)
    await write_in_pull_requests(lossy, bound, tmp_path / "work")
    await write_settings(lossy, bound, bob)
    await write_users_and_groups(lossy, forge.admin)
    await subscribe(lossy, receiver)
    await work_on_tasks(lossy)
    await lossy.send("POST", f"{API}/new", form={"name": "angband", "description": "d", "wait": "1"})
    await lossy.send("POST", f"{API}/fork", form={"repo": "nethack", "wait": "1"}, by=await forge.user("erin"))
    await lossy.send("POST", f"{REPO}/delete", by=bound)
    calls = [call for call in routes.list_calls() if call.route.method != "GET"]
    written = {f"{call.route.method} {call.prefix}{call.path.rstrip('/')}" for call in calls}
    assert {line for line in written if not EXEMPT.search(line)} - lossy.visited == set()


@pytest.mark.parametrize("recorded", [False, True], ids=["moved", "recorded"])
async def test_a_ref_that_was_moved_by_a_lost_request_is_the_answer_to_the_retry(
    nethack: Client, monkeypatch: pytest.MonkeyPatch, recorded: bool
) -> None:
    """The process dies after git has moved the ref, and before or after the move is in the log."""
    record = pushes.record_refs

    async def record_and_die(*arguments: Any, **options: Any) -> int:
        if recorded:
            await record(*arguments, **options)
        raise asyncio.CancelledError

    request = {"data": {"branch": "dev", "from_branch": "main"}, "headers": {"Idempotency-Key": "k"}}
    with monkeypatch.context() as dying:
        dying.setattr(pushes, "record_refs", record_and_die)
        with pytest.raises(aiohttp.ServerDisconnectedError):
            await nethack.request("POST", f"{REPO}/git/branch", **request)
    made = (200, {"message": "Project branch was created"})
    assert await nethack.request("POST", f"{REPO}/git/branch", **request) == made
    assert (await nethack.post("/nethack/git/branch", branch="dev", from_branch="main"))[0] == 400
    told = "select count(*) from events where type = 'ref.updated' and data ->> 'ref' = 'refs/heads/dev'"
    assert await nethack.forge.db.fetchval(told) == 1
