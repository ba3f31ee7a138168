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
METHODS = [
    (name, method)
    for each in (kallithea, rhodecode)
    for name, method in ((each.dialect.name, method) for method in each.dialect.methods.values())
]
FORBIDDEN = "Access was denied to this resource."


def fill(method: Method, **known: Any) -> dict[str, Any]:
    """A value for each required argument."""
    return {each.name: known.get(each.name, "nethack") for each in method.arguments if each.required}


async def test_every_method_refuses_a_token_without_its_scope(nethack: Client) -> None:
    limited = await nethack.limited(acls=["internal_access"])
    asked = 0
    for dialect, method in METHODS:
        if ACTIONS[method.action].token not in (Token.OPTIONAL, Token.ANY):
            assert await Rpc(limited, ADDRESSES[dialect]).fail(method.name, **fill(method)) == FORBIDDEN, method.name
            asked += 1
    assert asked >= 8


async def test_every_method_for_administrators_refuses_others(nethack: Client) -> None:
    asked = 0
    for dialect, method in METHODS:
        if ACTIONS[method.action].administers:
            assert await Rpc(nethack, ADDRESSES[dialect]).fail(method.name, **fill(method)) == FORBIDDEN, method.name
            asked += 1
    assert asked >= 8


async def test_every_method_refuses_a_key_that_is_unknown(forge: Forge) -> None:
    for dialect, method in METHODS:
        error = await Rpc(Client(forge, "unknown"), ADDRESSES[dialect]).fail(method.name, **fill(method))
        assert error in ("Invalid API KEY", "Invalid API key"), method.name


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
