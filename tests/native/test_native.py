"""Users, tokens, tasks and the feed of the native API."""

import asyncio

import pytest

from app.feed import pages
from tests.conftest import Client, Forge, wait_for_waiters


async def test_only_administrators_create_users(forge: Forge, alice: Client) -> None:
    command = {"username": "bob", "email": "bob@example.org"}
    assert (await alice.json("POST", "/v1/users", command))[0] == 403
    assert (await forge.nobody.json("POST", "/v1/users", command))[0] == 401
    status, bob = await forge.admin.json("POST", "/v1/users", command)
    assert (status, bob) == (201, {"username": "bob", "fullname": "bob", "admin": False, "email": "bob@example.org"})
    status, problem = await forge.admin.json("POST", "/v1/users", command | {"email": "other@example.org"})
    assert (status, problem["type"], problem["errors"][0]["pointer"]) == (409, "/problems/conflict", "/username")
    assert "email" not in (await alice.get("/v1/users/bob"))[1]
    limited = await forge.admin.limited(acls=["modify_project"])
    assert "email" not in (await limited.get("/v1/users/bob"))[1]
    assert (await forge.admin.get("/v1/users/bob"))[1]["email"] == "bob@example.org"


@pytest.mark.parametrize(
    ("body", "pointers"),
    [
        ({"username": "x", "email": "e@x.org", "color": 1}, ["/color"]),
        ({"email": "e@x.org"}, ["/username"]),
        ({"username": 5, "email": "e@x.org"}, ["/username"]),
        ({"username": "../x", "email": "e@x.org"}, ["/username"]),
        ({"username": "x", "email": "nonsense"}, ["/email"]),
        ({"username": "x", "email": "e@x.org", "fullname": "a\x00b"}, ["/fullname"]),
        ({"username": "x", "email": "e@x.org", "password": "short"}, ["/password"]),
    ],
)
async def test_errors_point_to_the_invalid_field(forge: Forge, body: object, pointers: list[str]) -> None:
    status, problem = await forge.admin.json("POST", "/v1/users", body)
    assert (status, [error["pointer"] for error in problem["errors"]]) == (422, pointers)
    assert forge.admin.headers["Content-Type"].startswith("application/problem+json")
    assert problem["instance"] == forge.admin.headers["X-Request-Id"]


async def test_a_token_is_shown_once_and_can_be_revoked(forge: Forge, alice: Client) -> None:
    status, issued = await alice.json("POST", "/v1/users/alice/tokens", {"description": "laptop"})
    assert (status, issued["token"][:3], len(issued["token"])) == (201, "pf_", 49)
    laptop = Client(forge, issued["token"])
    assert await laptop.post("/-/whoami") == (200, {"username": "alice"})
    _, listed = await alice.get("/v1/users/alice/tokens?limit=1")
    assert [set(token) & {"token"} for token in listed["tokens"]] == [set()]
    assert listed["next"] is not None
    _, rest = await alice.get(f"/v1/users/alice/tokens?cursor={listed['next']}")
    assert len(rest["tokens"]) == 1
    assert (await alice.json("DELETE", f"/v1/tokens/{issued['id']}"))[0] == 204
    assert (await laptop.post("/-/whoami"))[0] == 401
    assert (await alice.json("DELETE", f"/v1/tokens/{issued['id']}"))[0] == 404


async def test_a_limited_token_cannot_create_tokens(forge: Forge) -> None:
    limited = await forge.user("bob", acls=["issue_create"])
    assert (await limited.json("POST", "/v1/users/bob/tokens", {"description": "wider"}))[0] == 403


async def test_no_secret_is_in_the_log(forge: Forge, alice: Client) -> None:
    command = {"username": "bob", "email": "bob@example.org", "password": "correct horse battery"}
    await forge.admin.json("POST", "/v1/users", command)
    record = await forge.db.fetchval(
        "select (select string_agg(data::text, '') from events) || (select string_agg(body::text, '') from commands)"
    )
    assert alice.token is not None
    for secret in (alice.token, forge.admin.token, "correct horse battery"):
        assert secret not in record


async def test_a_long_poll_returns_as_soon_as_an_event_happens(forge: Forge, nethack: Client) -> None:
    head = await forge.numbered()
    poll = asyncio.create_task(forge.nobody.get(f"/v1/events?after={head}&wait=50"))
    await wait_for_waiters(1)
    await nethack.post("/nethack/new_issue", title="t", issue_content="c")
    async with asyncio.timeout(20):  # much less than the wait
        _, page = await poll
    assert [event["type"] for event in page["events"]] == ["issue.opened"]
    assert page["events"][0]["project"]["path"] == "nethack"
    assert page["next"] == head + 1
    _, empty = await forge.nobody.get(f"/v1/events?after={head + 1}&wait=1")
    assert (empty["events"], empty["next"]) == ([], head + 1)


async def test_a_filtered_reader_moves_past_what_it_may_not_see(forge: Forge, nethack: Client) -> None:
    await forge.idle()
    head = await forge.numbered()
    _, page = await forge.nobody.get("/v1/events?types=user.*")
    assert (page["events"], page["next"]) == ([], head)


async def test_a_private_projects_task_is_hidden(forge: Forge, alice: Client) -> None:
    _, queued = await alice.post("/new", name="s", description="d", private="1", wait="0")
    path = f"/v1/tasks/{queued['taskid']}?wait=20"
    assert (await alice.get(path))[1]["status"] == "succeeded"
    assert (await (await forge.user("bob")).get(path))[0] == 404
    assert (await alice.get("/v1/tasks/nonsense"))[0] == 404


@pytest.mark.parametrize("query", ["wait=56", "wait=x", "color=1", "after=-1", "wait=1&wait=2"])
async def test_errors_name_the_invalid_parameter(forge: Forge, query: str) -> None:
    status, problem = await forge.nobody.get(f"/v1/events?{query}")
    assert (status, problem["errors"][0]["pointer"][0]) == (422, "?")


async def test_a_bound_token_reads_no_other_private_project(forge: Forge, alice: Client) -> None:
    for name in ("one", "two"):
        await alice.post("/new", name=name, description="d", private="1")
    _, queued = await alice.post("/new", name="three", description="d", wait="0")
    _, issued = await alice.json("POST", "/v1/users/alice/tokens", {"description": "d", "project": "alice/one"})
    bound = Client(forge, issued["token"], "alice")
    await forge.numbered()
    assert [(await bound.pagure(f"/alice/{name}"))[0] for name in ("one", "two")] == [200, 404]
    assert (await bound.pagure("/alice/two/git/branches"))[0] == 404
    assert (await bound.pagure("/three/git/urls"))[0] == 200
    assert (await bound.get(f"/v1/tasks/{queued['taskid']}"))[0] == 404  # of another project
    one = (await alice.pagure("/alice/one"))[1]["id"]
    events = (await bound.get("/v1/events"))[1]["events"]
    assert {event["project"]["id"] for event in events} == {one}
    assert (await bound.get("/v1/events?project=alice/two"))[0] == 404


async def test_a_long_poll_with_a_revoked_token_is_refused(forge: Forge, alice: Client) -> None:
    _, issued = await alice.json("POST", "/v1/users/alice/tokens", {"description": "d"})
    revoked = Client(forge, issued["token"], "alice")
    await forge.numbered()
    head = (await alice.get("/v1/events"))[1]["head"]
    waiting = asyncio.create_task(revoked.get(f"/v1/events?after={head}&wait=20&types=project.created"))
    await wait_for_waiters(1)
    assert (await alice.request("DELETE", f"/v1/tokens/{issued['id']}"))[0] == 204
    await alice.post("/new", name="secret", description="d", private="1")
    assert (await waiting)[0] == 401


async def test_the_seq_of_a_task_never_decreases(forge: Forge, alice: Client) -> None:
    _, queued = await alice.post("/new", name="nethack", description="d", wait="0")
    seen = []
    while True:
        _, task = await alice.get(f"/v1/tasks/{queued['taskid']}")
        seen.append(task["seq"])
        if task["status"] == "succeeded":
            break
    await forge.numbered()
    seen.append((await alice.get(f"/v1/tasks/{queued['taskid']}"))[1]["seq"])
    assert seen == sorted(seen)
    assert seen[0] > 0


async def test_a_page_of_the_feed_scans_a_limited_number_of_events(
    forge: Forge, alice: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "MAX_SCANNED", 2)
    for name in ("one", "two", "three"):
        await alice.post("/new", name=name, description="d")
    await forge.numbered()
    after, found = 0, 0
    while True:
        _, page = await alice.get(f"/v1/events?types=repository.created&after={after}")
        found += len(page["events"])
        if page["next"] == after:
            break
        after = page["next"]
    assert (found, after) == (3, page["head"])
    waited = (await alice.get("/v1/events?types=repository.created&wait=5"))[1]
    assert len(waited["events"]) == 1


async def test_an_unchanged_page_is_not_sent_again(forge: Forge, alice: Client) -> None:
    assert (await alice.get("/v1/users/alice"))[0] == 200
    known = {"If-None-Match": alice.headers["ETag"]}
    assert await alice.get("/v1/users/alice", headers=known) == (304, None)
    status, _ = await alice.get("/v1/users/admin", headers=known)
    assert (status, alice.headers["ETag"] != known["If-None-Match"]) == (200, True)


@pytest.mark.parametrize("name", ["v1", "API", "fork", "healthz"])
async def test_a_user_cannot_have_a_reserved_name(forge: Forge, name: str) -> None:
    status, problem = await forge.admin.json("POST", "/v1/users", {"username": name, "email": "e@example.org"})
    assert (status, problem["errors"][0]["pointer"]) == (422, "/username")


async def test_the_health_endpoints_answer(forge: Forge) -> None:
    assert await forge.nobody.get("/healthz") == (200, {"status": "alive"})
    status, ready = await forge.nobody.get("/readyz")
    assert (status, ready["status"]) == (200, "ready"), ready
