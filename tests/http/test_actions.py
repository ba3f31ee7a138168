"""The action that a route declares is enforced in every dialect. The tests are generated from the routes."""

import re
from typing import Any

import pytest
from aiohttp import web

from app.core import access
from app.core.access import ACTIONS, Action, Level, Token
from app.http.routes import Routes, admit_nobody
from tests.conftest import Client, Forge
from tests.routes import Call, list_calls

# Values for the parameters of paths.
NAMES = {
    "repo": "nethack", "path": "nethack", "issue": "1", "request": "1", "comment": "1", "tag": "pet", "username": "bob",
    "name": "hackers", "group": "hackers", "hash": "deadbeef", "id": "00000000-0000-0000-0000-000000000001", "seq": "1",
}  # fmt: skip
# Valid input for calls whose dialect checks the input first.
INPUTS: dict[str, dict[str, Any]] = {
    "PATCH /api/0/{P}": {"data": {"main_admin": "bob"}},
}
REFUSED = (401, 403)


def build_url(call: Call) -> str:
    path = (call.prefix + call.path).replace("/{P}", "/nethack")
    filled = re.sub(r"\{(\w+)\}", lambda found: NAMES.get(found[1], "x"), path)
    # Refs are advertised for pushes only if the query names the service.
    return filled + ("?service=git-receive-pack" if filled.endswith("/info/refs") else "")


async def call_route(client: Client, call: Call) -> int:
    options = INPUTS.get(f"{call.route.method} {call.prefix}{call.path}", {})
    headers = {"Authorization": f"token {client.token}"} if client.token else {}
    url = client.forge.url + build_url(call)
    async with client.forge.session.request(call.route.method, url, headers=headers, **options) as answer:
        await answer.read()
        return answer.status


def find_calls(**wanted: Any) -> list[Call]:
    """Find the routes whose actions have these attributes, one of each."""
    found = {}
    for call in list_calls():
        action = ACTIONS["push" if call.path.endswith("/info/refs") else call.route.action]
        if all(getattr(action, name) == value for name, value in wanted.items()):
            found[call.route.method, call.prefix + call.path] = call
    return list(found.values())


@pytest.fixture
async def bob(forge: Forge, nethack: Client) -> Client:
    """Bob, an administrator of alice's project, which has a tag and an issue."""
    await nethack.post("/nethack/new_issue", title="t", issue_content="c", tag="pet")
    bob = await forge.user("bob")
    status, body = await nethack.post("/nethack/git/modifyacls", user_type="user", name="bob", acl="admin")
    assert status == 200, body
    assert (await bob.post("/new", name="other", description="d"))[0] == 200
    return bob


async def test_every_route_refuses_a_token_without_its_scope(bob: Client) -> None:
    limited = await bob.limited(acls=["internal_access"])
    asked = 0
    for call in list_calls():
        if ACTIONS[call.route.action].token in (Token.NONE, Token.OPTIONAL, Token.ANY):
            continue
        assert await call_route(limited, call) in REFUSED, call.line
        asked += 1
    assert asked > 60
    for call in find_calls(writes=True):
        assert await call_route(limited, call) in REFUSED, call.line


async def test_every_route_that_takes_a_user_refuses_anonymous_requests(forge: Forge, bob: Client) -> None:
    for call in list_calls():
        if ACTIONS[call.route.action].token not in (Token.NONE, Token.OPTIONAL):
            assert await call_route(forge.nobody, call) == 401, call.line


async def test_every_route_that_writes_refuses_a_token_of_another_project(bob: Client) -> None:
    bound = await bob.limited(project="other")
    # A fork belongs to its user, wherever the token is bound.
    asked = [call for call in find_calls(writes=True, blocks=True) if call.route.of_project]
    for call in asked:
        assert await call_route(bound, call) in REFUSED, call.line
    assert len(asked) > 40


async def test_native_routes_outside_of_projects_refuse_a_token_of_a_project(bob: Client) -> None:
    bound = await bob.limited(project="other")
    asked = [call for call in find_calls(writes=True) if call.prefix == "/v1" and not call.route.of_project]
    scoped = [call for call in asked if isinstance(ACTIONS[call.route.action].token, frozenset)]
    for call in scoped:
        assert await call_route(bound, call) == 403, call.line
    assert {call.route.action for call in scoped} == {"create-group", "manage-members"}


async def test_native_routes_answer_a_hidden_project_like_a_missing_one(nethack: Client, bob: Client) -> None:
    status, body = await nethack.post("/new", name="moria", description="d", private="1")
    assert status == 200, body
    limited = await bob.limited(acls=["internal_access"])
    asked = [call for call in list_calls() if call.prefix == "/v1" and call.route.of_project]
    for call in asked:
        for path in ("alice/moria", "alice/nothing"):
            url = (call.prefix + call.path).replace("{path}", path)
            assert (await limited.request(call.route.method, url))[0] == 404, (call.line, path)
    assert len(asked) >= 2


async def test_every_route_that_writes_refuses_a_blocked_owner(forge: Forge, nethack: Client, bob: Client) -> None:
    alice = await nethack.limited(project="nethack")
    assert (await alice.post("/nethack/blockuser", username="alice"))[0] == 200
    before = await forge.db.fetchval("select count(*) from events")
    asked = [call for call in find_calls(writes=True, blocks=True) if call.route.of_project]
    for call in asked:
        assert await call_route(alice, call) == 403, call.line
    assert len(asked) > 40
    assert await forge.db.fetchval("select count(*) from events") == before


async def handler(request: web.Request) -> web.Response:
    return web.Response()


def test_a_route_without_an_action_cannot_be_added() -> None:
    with pytest.raises(LookupError, match="unknown action"):
        Routes(admit_nobody).add("GET", "/", "")(handler)


def test_a_route_whose_action_declares_no_token_cannot_be_added(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(access.ACTIONS, "paint-project", Action(Level.WRITE))
    with pytest.raises(LookupError, match="declares no token"):
        Routes(admit_nobody).add("POST", "/{repo}/paint", "paint-project")(handler)
