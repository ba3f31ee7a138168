"""A listing of twenty costs two statements at most: one finds who asks and about what, one the page."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Client, Forge, commit, git
from tests.routes import list_calls

COUNT, MOST = 20, 2
HOOK = {"url": "http://127.0.0.1:9/", "project": "nethack"}
FAR = "page=50&repopage=50&forkpage=50"  # there is no such page of anything
# Every listing by its route: what its rows are under, unless it has few, and how it is asked for.
LISTINGS: dict[str, tuple[str, list[str]]] = {
    "/api/0/projects": ("projects", ["projects", "projects?pattern=listed*", "projects?short=1&username=alice"]),
    "/api/0/users": ("users", ["users"]),
    "/api/0/user/{username}": ("repos", ["user/alice"]),
    "/api/0/user/{username}/issues": ("issues_created", ["user/alice/issues", "user/alice/issues?assignee=0"]),
    "/api/0/user/{username}/requests/filed": ("requests", ["user/alice/requests/filed"]),
    "/api/0/user/{username}/requests/actionable": ("requests", ["user/user0/requests/actionable"]),
    "/api/0/user/{username}/activity/{date}": ("activities", ["user/alice/activity/{today}"]),
    "/api/0/user/{username}/activity/stats": ("", ["user/alice/activity/stats"]),
    "/api/0/groups": ("groups", ["groups", "groups?extended=1"]),
    "/api/0/group/{group}": ("projects", ["group/group0?projects=1", "group/group0?projects=1&acl=commit"]),
    "/api/0/{P}/issues": ("issues", ["nethack/issues", "nethack/issues?tags=pet&order=asc"]),
    "/api/0/{P}/issues/history/stats": ("stats", ["nethack/issues/history/stats"]),
    "/api/0/{P}/issues/history/detailed_stats": ("stats", ["nethack/issues/history/detailed_stats"]),
    "/api/0/{P}/tags": ("tags", ["nethack/tags"]),
    "/api/0/{P}/boards": ("boards", ["nethack/boards"]),
    "/api/0/{P}/pull-requests": ("requests", ["nethack/pull-requests", "nethack/pull-requests?author=alice"]),
    "/api/0/{P}/pull-request/{request}/flag": ("flags", ["nethack/pull-request/{request}/flag"]),
    "/api/0/{P}/c/{hash}/flag": ("flags", ["nethack/c/{commit}/flag"]),
    "/api/0/{P}/git/branches": ("branches", ["nethack/git/branches", "nethack/git/branches?with_commits=1"]),
    "/api/0/{P}/git/tags": ("tags", ["nethack/git/tags", "nethack/git/tags?with_commits=1"]),
    "/api/0/{P}/git/alias": ("", ["nethack/git/alias"]),
    "/api/0/{P}/tree": ("", ["nethack/tree"]),
    "/api/0/{P}/tree/{address}": ("content", ["nethack/tree/branch0"]),
    "/api/0/{P}/watchers": ("watchers", ["nethack/watchers"]),
    "/api/0/{P}/contributors": ("", ["nethack/contributors"]),
    "/api/0/{P}/connector": ("connector.api_tokens", ["nethack/connector"]),
    "/api/0/{P}/settings/plugins": ("", ["nethack/settings/plugins"]),
    "/v1/tasks": ("tasks", ["tasks", "tasks?actor=alice", "tasks?project=nethack"]),
    "/v1/events": ("events", ["events", "events?project=nethack"]),
    "/v1/events/digest": ("", ["events/digest"]),
    "/v1/users/{username}/tokens": ("tokens", ["users/alice/tokens"]),
    "/v1/subscriptions": ("subscriptions", ["subscriptions"]),
    "/v1/subscriptions/{id}/deliveries": ("deliveries", ["subscriptions/{subscription}/deliveries"]),
}
# What shows one thing, or nothing out of the database.
OTHERS = """
    /api/0/version /api/0/-/version /api/0/error_codes /api/0/-/error_codes /api/0/task/{task}/status /api/0/_plugins
    /api/0/{P} /api/0/{P}/options /api/0/{P}/git/urls /api/0/{P}/webhook/token /api/0/{P}/hascommit /api/0/{P}/tag/{tag}
    /api/0/{P}/issue/{issue} /api/0/{P}/issue/{issue}/comment/{comment} /api/0/pull-requests/{uid}
    /api/0/{P}/pull-request/{request} /api/0/{P}/pull-request/{request}/comment/{comment}
    /api/0/{P}/pull-request/{request}/diffstats /api/0/{P}/c/{hash}/info
    /v1/users/{username} /v1/tasks/{id} /v1/events/{seq} /v1/subscriptions/{id} /v1/deliveries/{id}
"""


def test_every_listing_is_counted_here() -> None:
    read = (call for call in list_calls() if call.prefix and call.route.method == "GET")
    assert {f"{call.prefix}{call.path}".rstrip("/") for call in read} == {*LISTINGS, *OTHERS.split()}


async def push(alice: Client, work: Path) -> str:
    """Twenty files, branches and tags; the commit that all of them are in."""
    await git("clone", "-q", alice.git_url("nethack"), str(work))
    await git("checkout", "-qb", "branch0", cwd=work)
    for n in range(COUNT):
        (work / f"file{n}").write_text("text")
    await git("add", ".", cwd=work)
    sha = await commit(work)
    refs = (f"HEAD:refs/{kind}{n}" for n in range(COUNT) for kind in ("heads/branch", "tags/v"))
    await git("push", "-q", "origin", *refs, cwd=work)
    return sha


async def fill(forge: Forge, alice: Client) -> None:
    """Twenty of everything else."""
    for n in range(COUNT):
        await forge.admin.json("POST", "/v1/users", {"username": f"user{n}", "email": f"user{n}@example.org"})
        await alice.json("POST", "/v1/groups", {"name": f"group{n}"})
        await alice.post("/new", name=f"listed{n}", description="d", wait="0")
        await alice.post(f"/listed{n}/git/modifyacls", user_type="group", name="group0", acl="commit")
        await alice.post("/nethack/new_issue", title="t", issue_content="c", tag=f"pet,tag{n}", assignee="alice")
        form = {"title": "t", "branch_to": "main", "branch_from": f"branch{n}"}
        assert (await alice.post("/nethack/pull-request/new", **form))[0] == 200
        await forge.admin.post("/nethack/watchers/update", watcher=f"user{n}", status="1")
        await alice.post("/nethack/git/generateacls")
        await alice.limited()
        await alice.limited(project="nethack")
        await alice.json("POST", "/v1/subscriptions", {**HOOK, "active": False})
    await alice.post("/nethack/git/modifyacls", user_type="user", name="user0", acl="commit")
    await alice.json(
        "POST", "/api/0/nethack/boards", {f"b{n}": {"active": True, "tag": f"tag{n}"} for n in range(COUNT)}
    )
    for n in range(1, 2 * COUNT):
        await asyncio.gather(
            alice.post(f"/nethack/issue/{n}/comment", comment="c"),
            alice.post(f"/nethack/pull-request/{n}/comment", comment="c"),
        )
    await forge.idle()


async def remark(alice: Client, commit: str, subscription: str) -> None:
    """Twenty flags of a commit, and twenty deliveries of a subscription."""
    said = {"username": "ci", "comment": "c", "url": "https://ci.example.org/1", "status": "success"}
    for n in range(COUNT):
        await alice.post(f"/nethack/c/{commit}/flag", uid=n, **said)
        await alice.json("POST", f"/v1/subscriptions/{subscription}/ping")


@pytest.fixture
async def named(forge: Forge, nethack: Client, tmp_path: Path) -> dict[str, Any]:
    """Twenty of everything, and what names some of it."""
    sha = await push(nethack, tmp_path / "nethack")
    await fill(forge, nethack)
    _, made = await nethack.json("POST", "/v1/subscriptions", {**HOOK, "types": ["project.deleted"]})
    await remark(nethack, sha, made["id"])
    await nethack.pagure("/nethack/connector")  # its key is made when it is first asked for
    _, newest = await nethack.pagure("/nethack/pull-requests?per_page=1")
    today = datetime.now(UTC).date().isoformat()
    return {"commit": sha, "request": newest["requests"][0]["id"], "subscription": made["id"], "today": today}


def asked(named: dict[str, Any]) -> list[tuple[str, str]]:
    """Each way to ask for each listing, and what its rows are under."""
    return [
        (("/v1/" if route.startswith("/v1") else "/api/0/") + way.format(**named), rows)
        for route, (rows, ways) in LISTINGS.items()
        for way in ways
    ]


def rows_of(body: Any, rows: str) -> Any:
    for name in rows.split("."):
        body = body[name]
    return body


def pages(body: Any) -> dict[str, int]:
    """How many pages each listing of the answer has."""
    return {key: value["pages"] for key, value in body.items() if "pagination" in key and value}


async def test_a_listing_of_twenty_costs_two_statements_at_most(
    forge: Forge, nethack: Client, named: dict[str, Any], statements: list[str]
) -> None:
    taken: dict[tuple[str, str], int] = {}
    for reader in (nethack, forge.nobody):
        for path, rows in asked(named):
            statements.clear()
            status, body = await reader.get(path)
            taken[reader.name, path] = len(statements)
            if status == 401 and reader is forge.nobody:
                continue
            assert status == 200, (path, body)
            assert not rows or len(rows_of(body, rows)) >= COUNT, path
            if counted := pages(body):
                far = f"{path}{'&' if '?' in path else '?'}{FAR}"
                statements.clear()
                assert pages((await reader.get(far))[1]) == counted, far
                taken[reader.name, far] = len(statements)
    assert {ask: count for ask, count in taken.items() if count > MOST} == {}
    assert all(count > 0 for (name, path), count in taken.items() if name)
