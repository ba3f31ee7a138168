"""The number of SQL statements of listings: two at most, one for the actor and the object, one for the page."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Client, Forge, commit, git
from tests.routes import list_calls

COUNT, MAX_STATEMENTS = 20, 2
HOOK = {"url": "http://127.0.0.1:9/", "project": "nethack"}
FAR = "page=50&repopage=50&forkpage=50"  # beyond the last page of every listing
# Every listing by its route: the key of its rows, empty for short listings, and the paths to request.
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
# Routes that show a single object or nothing from the database.
OTHERS = """
    /api/0/version /api/0/-/version /api/0/error_codes /api/0/-/error_codes /api/0/task/{task}/status /api/0/_plugins
    /api/0/{P} /api/0/{P}/options /api/0/{P}/git/urls /api/0/{P}/webhook/token /api/0/{P}/hascommit /api/0/{P}/tag/{tag}
    /api/0/{P}/issue/{issue} /api/0/{P}/issue/{issue}/comment/{comment} /api/0/pull-requests/{uid}
    /api/0/{P}/pull-request/{request} /api/0/{P}/pull-request/{request}/comment/{comment}
    /api/0/{P}/pull-request/{request}/diffstats /api/0/{P}/c/{hash}/info
    /v1/users/{username} /v1/tasks/{id} /v1/events/{seq} /v1/subscriptions/{id} /v1/deliveries/{id}
"""


def test_every_get_route_is_listed_here() -> None:
    reads = (call for call in list_calls() if call.prefix and call.route.method == "GET")
    assert {f"{call.prefix}{call.path}".rstrip("/") for call in reads} == {*LISTINGS, *OTHERS.split()}


async def push_refs(alice: Client, work: Path) -> str:
    """Push twenty files, branches and tags of one commit, and return its id."""
    await git("clone", "-q", alice.git_url("nethack"), str(work))
    await git("checkout", "-qb", "branch0", cwd=work)
    for number in range(COUNT):
        (work / f"file{number}").write_text("text")
    await git("add", ".", cwd=work)
    sha = await commit(work)
    refs = (f"HEAD:refs/{kind}{number}" for number in range(COUNT) for kind in ("heads/branch", "tags/v"))
    await git("push", "-q", "origin", *refs, cwd=work)
    return sha


async def fill(forge: Forge, alice: Client) -> None:
    """Create twenty of everything except flags and deliveries."""
    for number in range(COUNT):
        await forge.admin.json("POST", "/v1/users", {"username": f"user{number}", "email": f"user{number}@example.org"})
        await alice.json("POST", "/v1/groups", {"name": f"group{number}"})
        await alice.post("/new", name=f"listed{number}", description="d", wait="0")
        await alice.post(f"/listed{number}/git/modifyacls", user_type="group", name="group0", acl="commit")
        await alice.post("/nethack/new_issue", title="t", issue_content="c", tag=f"pet,tag{number}", assignee="alice")
        form = {"title": "t", "branch_to": "main", "branch_from": f"branch{number}"}
        assert (await alice.post("/nethack/pull-request/new", **form))[0] == 200
        await forge.admin.post("/nethack/watchers/update", watcher=f"user{number}", status="1")
        await alice.post("/nethack/git/generateacls")
        await alice.limited()
        await alice.limited(project="nethack")
        await alice.json("POST", "/v1/subscriptions", {**HOOK, "active": False})
    await alice.post("/nethack/git/modifyacls", user_type="user", name="user0", acl="commit")
    await alice.json(
        "POST",
        "/api/0/nethack/boards",
        {f"b{number}": {"active": True, "tag": f"tag{number}"} for number in range(COUNT)},
    )
    for number in range(1, 2 * COUNT):
        await asyncio.gather(
            alice.post(f"/nethack/issue/{number}/comment", comment="c"),
            alice.post(f"/nethack/pull-request/{number}/comment", comment="c"),
        )
    await forge.idle()


async def add_flags_and_deliveries(alice: Client, commit: str, subscription: str) -> None:
    """Add twenty flags to a commit and twenty deliveries to a subscription."""
    flag = {"username": "ci", "comment": "c", "url": "https://ci.example.org/1", "status": "success"}
    for number in range(COUNT):
        await alice.post(f"/nethack/c/{commit}/flag", uid=number, **flag)
        await alice.json("POST", f"/v1/subscriptions/{subscription}/ping")


@pytest.fixture
async def path_values(forge: Forge, nethack: Client, tmp_path: Path) -> dict[str, Any]:
    """Create twenty of everything; returns the values of the placeholders in the paths."""
    sha = await push_refs(nethack, tmp_path / "nethack")
    await fill(forge, nethack)
    _, subscription = await nethack.json("POST", "/v1/subscriptions", {**HOOK, "types": ["project.deleted"]})
    await add_flags_and_deliveries(nethack, sha, subscription["id"])
    await nethack.pagure("/nethack/connector")  # creates its key on first use
    _, newest = await nethack.pagure("/nethack/pull-requests?per_page=1")
    today = datetime.now(UTC).date().isoformat()
    return {"commit": sha, "request": newest["requests"][0]["id"], "subscription": subscription["id"], "today": today}


def build_requests(path_values: dict[str, Any]) -> list[tuple[str, str]]:
    """The paths to request, each with the key of its rows."""
    return [
        (("/v1/" if route.startswith("/v1") else "/api/0/") + path.format(**path_values), key)
        for route, (key, paths) in LISTINGS.items()
        for path in paths
    ]


def get_rows(body: Any, key: str) -> Any:
    for name in key.split("."):
        body = body[name]
    return body


def count_pages(body: Any) -> dict[str, int]:
    """The number of pages of each listing in the answer."""
    return {key: value["pages"] for key, value in body.items() if "pagination" in key and value}


async def test_a_listing_of_twenty_costs_two_statements_at_most(
    forge: Forge, nethack: Client, path_values: dict[str, Any], statements: list[str]
) -> None:
    counts: dict[tuple[str, str], int] = {}
    for reader in (nethack, forge.nobody):
        for path, key in build_requests(path_values):
            statements.clear()
            status, body = await reader.get(path)
            counts[reader.name, path] = len(statements)
            if status == 401 and reader is forge.nobody:
                continue
            assert status == 200, (path, body)
            assert not key or len(get_rows(body, key)) >= COUNT, path
            if pages := count_pages(body):
                far = f"{path}{'&' if '?' in path else '?'}{FAR}"
                statements.clear()
                assert count_pages((await reader.get(far))[1]) == pages, far
                counts[reader.name, far] = len(statements)
    assert {request: count for request, count in counts.items() if count > MAX_STATEMENTS} == {}
    assert all(count > 0 for (name, path), count in counts.items() if name)
