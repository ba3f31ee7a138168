"""The action that a JSON-RPC method declares is enforced. The tests are generated from the methods of both dialects."""

from typing import Any

import pytest

from app.core import access
from app.core.access import ACTIONS, Action, Level, Token
from app.database import Row
from app.dialects import kallithea, rhodecode
from app.dialects.jsonrpc.dialect import Call
from app.dialects.jsonrpc.methods import Method, Methods
from tests.conftest import Client, Forge
from tests.rpc import KALLITHEA, RHODECODE, Rpc

ADDRESSES = {"kallithea": KALLITHEA, "rhodecode": RHODECODE}
METHODS = [(each.dialect.name, method) for each in (kallithea, rhodecode) for method in each.dialect.methods.values()]
BAD_KEYS = {"kallithea": "Invalid API key", "rhodecode": "Invalid API KEY"}
FORBIDDEN, MISSING = "Access was denied to this resource.", "repository `{}` does not exist"
# Values of required arguments that methods can work with; each dialect makes its own things.
VALUES = {
    "repoid": "nethack", "userid": "bob", "usergroupid": "hackers", "perm": "repository.read", "repo_name": "{}-repo",
    "group_name": "{}-group", "username": "{}-user", "email": "{}@example.org", "revision": "tip", "raw_id": "tip",
    "root_path": "", "start_rev": "0", "limit": "1",
}  # fmt: skip


async def find_error(client: Client, dialect: str, method: Method, **known: Any) -> str | None:
    """Call a method with its required arguments; None if it succeeds."""
    values = {name: value.format(dialect) for name, value in VALUES.items()} | known
    args = {each.name: values[each.name] for each in method.arguments if each.required}
    sent = {"id": 7, "api_key": client.token, "method": method.name, "args": args}
    answer = await Rpc(client, ADDRESSES[dialect]).envelope(sent)
    error: str | None = answer["error"]
    return error


@pytest.fixture
async def alice(nethack: Client) -> Client:
    """Alice, with the projects nethack and other and a group, beside bob."""
    await nethack.forge.user("bob")
    assert (await nethack.post("/new", name="other", description="d", create_readme="1"))[0] == 200
    await nethack.json("POST", "/v1/groups", {"name": "hackers"})
    return nethack


async def test_every_method_takes_a_token_with_its_scope(alice: Client) -> None:
    limited = await alice.limited(acls=["internal_access"])
    for dialect, method in METHODS:
        open_to_all = ACTIONS[method.action].token in (Token.OPTIONAL, Token.ANY)
        expected = None if open_to_all else FORBIDDEN
        assert await find_error(limited, dialect, method) == expected, (dialect, method.name)


async def test_every_method_that_writes_refuses_a_token_of_another_project(alice: Client) -> None:
    bound = await alice.limited(project="other")
    for dialect, method in METHODS:
        action = ACTIONS[method.action]
        refused = action.token is Token.WHOLE or (action.writes and action.binds)
        expected = FORBIDDEN if refused else None
        assert await find_error(bound, dialect, method) == expected, (dialect, method.name)


async def test_every_method_that_changes_a_repository_refuses_its_blocked_owner(alice: Client) -> None:
    assert (await (await alice.limited(project="nethack")).post("/nethack/blockuser", username="alice"))[0] == 200
    for dialect, method in METHODS:
        action = ACTIONS[method.action]
        expected = None
        if action.administers:
            expected = FORBIDDEN
        elif method.repository is not None and action.writes:
            expected = MISSING.format("nethack")
        assert await find_error(alice, dialect, method) == expected, (dialect, method.name)


async def test_every_method_refuses_a_user_who_lacks_its_level(alice: Client) -> None:
    bob = await alice.forge.user("bob")
    for dialect, method in METHODS:
        action = ACTIONS[method.action]
        expected = None
        if action.administers:
            expected = FORBIDDEN
        elif action.level is not None and action.level > Level.READ:
            expected = MISSING.format("nethack")
        elif method.action == "manage-members":
            expected = "user group `hackers` does not exist"
        assert await find_error(bob, dialect, method) == expected, (dialect, method.name)


async def test_every_method_answers_a_hidden_repository_like_a_missing_one(alice: Client) -> None:
    assert (await alice.post("/new", name="secret", description="d", private="1"))[0] == 200
    bob = await alice.forge.user("bob")
    for dialect, method in METHODS:
        if method.repository is not None:
            for path in ("alice/secret", "nothing"):
                expected = FORBIDDEN if ACTIONS[method.action].administers else MISSING.format(path)
                assert await find_error(bob, dialect, method, repoid=path) == expected, (dialect, method.name)


async def test_every_method_refuses_a_key_that_is_unknown(forge: Forge) -> None:
    for dialect, method in METHODS:
        assert await find_error(Client(forge, "unknown"), dialect, method) == BAD_KEYS[dialect], method.name


async def handler(call: Call) -> None: ...


async def of_repository(call: Call, repoid: Row) -> None: ...


def test_a_method_without_an_action_cannot_be_added() -> None:
    with pytest.raises(LookupError, match="unknown action"):
        Methods().add("paint", "")(handler)


@pytest.mark.parametrize("token", [None, Token.NONE])
def test_a_method_whose_action_declares_no_token_cannot_be_added(
    monkeypatch: pytest.MonkeyPatch, token: Token | None
) -> None:
    monkeypatch.setitem(access.ACTIONS, "paint", Action(None, token))
    with pytest.raises(LookupError, match="declares no token"):
        Methods().add("paint", "paint")(handler)


def test_a_method_about_a_repository_cannot_be_added_without_an_argument_that_names_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(access.ACTIONS, "paint", Action(Level.WRITE, Token.ANY))
    with pytest.raises(LookupError, match="no argument names it"):
        Methods().add("paint", "paint")(handler)
    Methods().add("paint", "paint")(of_repository)
