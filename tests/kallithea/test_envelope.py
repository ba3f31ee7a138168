"""Kallithea's envelope, where it differs from RhodeCode's."""

import json
from typing import Any

import pytest

from app.config import Settings
from tests.conftest import Client, Forge, run_forge
from tests.rpc import KALLITHEA, Rpc


@pytest.fixture
def rpc(alice: Client) -> Rpc:
    return Rpc(alice, KALLITHEA)


def call(rpc: Rpc, **changed: Any) -> dict[str, Any]:
    sent = {"id": 1, "api_key": rpc.client.token, "method": "get_user", "args": {}, **changed}
    return {name: value for name, value in sent.items() if value is not ...}


@pytest.mark.parametrize("call_id", [0, "", None, False, 1.0, {"a": []}])
async def test_an_id_of_any_type_comes_back_as_it_was_sent(rpc: Rpc, call_id: Any) -> None:
    for method in ("get_user", "nothing"):
        answer = await rpc.envelope(call(rpc, id=call_id, method=method))
        assert (answer["id"], type(answer["id"])) == (call_id, type(call_id))
        assert (answer["result"] is None) == (answer["error"] is not None)


@pytest.mark.parametrize(
    ("changed", "error", "call_id"),
    [
        ({"api_key": ...}, "Incorrect JSON query missing 'api_key'", None),
        ({"id": ..., "method": ...}, "Incorrect JSON query missing 'id'", None),
        ({"method": ..., "args": ...}, "Incorrect JSON query missing 'method'", 1),
        ({"args": ..., "api_key": "x"}, "Incorrect JSON query missing 'args'", 1),
        ({"api_key": "x", "method": "nothing"}, "Invalid API key", 1),
        ({"api_key": "", "method": "_private"}, "Invalid API key", 1),
        ({"method": "_private"}, "Method not allowed", 1),
        ({"method": "nothing"}, "No such method: nothing", 1),
        ({"args": {"foo": 1, "bar": 1}}, "Unknown `bar`, `foo` arg in JSON DATA", 1),
        ({"args": {"apiuser": "admin"}}, "Unknown `apiuser` arg in JSON DATA", 1),
    ],
)
async def test_refusals_come_in_order(rpc: Rpc, changed: dict[str, Any], error: str, call_id: Any) -> None:
    assert await rpc.envelope(call(rpc, **changed)) == {"id": call_id, "result": None, "error": error}


async def test_the_last_missing_argument_is_named_before_unknown_ones(forge: Forge) -> None:
    admin = Rpc(forge.admin, KALLITHEA)
    assert await admin.fail("create_user", foo=1) == "Missing non optional `email` arg in JSON DATA"


async def test_an_empty_body_and_one_without_a_length_have_words_of_their_own(rpc: Rpc) -> None:
    error = "No Content-Length in request"
    assert json.loads(await rpc.send(None, method="GET")) == {"id": None, "result": None, "error": error}
    assert json.loads(await rpc.send(b""))["error"] == "Content-Length is 0"


@pytest.mark.parametrize("address", ["/kallithea/_admin/api/", "/kallithea//_admin/api", "/kallithea/_admin//api"])
async def test_slashes_too_many_are_another_page(rpc: Rpc, address: str) -> None:
    status, _ = await rpc.client.json("POST", address, call(rpc), allow_redirects=False)
    assert status == 404


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "OPTIONS"])
async def test_other_http_methods_are_not_allowed(rpc: Rpc, method: str) -> None:
    status, _ = await rpc.client.json(method, KALLITHEA, call(rpc))
    assert status == 405
    assert rpc.client.headers["Allow"] == "GET,POST"


async def test_a_token_is_taken_by_either_name(rpc: Rpc) -> None:
    answer = await rpc.envelope(call(rpc, api_key=..., auth_token=rpc.client.token))
    assert answer["result"]["username"] == "alice"


@pytest.mark.own_forge
async def test_the_address_below_no_name_answers_as_the_settings_say(own_settings: Settings) -> None:
    async with run_forge(own_settings.model_copy(update={"jsonrpc_default": "kallithea"})) as forge:
        rpc = Rpc(forge.admin, "/_admin/api")
        assert (await rpc.envelope(call(rpc, api_key="x")))["error"] == "Invalid API key"
        assert (await rpc.envelope(call(rpc)))["result"]["username"] == "admin"
