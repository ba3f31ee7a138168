"""RhodeCode's envelope: the order in which calls are refused, the words, and the ids of answers."""

import json
from io import BytesIO
from typing import Any

import pytest

from app.config import Settings
from tests.conftest import Client, Forge, run_forge
from tests.rpc import RHODECODE, Rpc


@pytest.fixture
def rpc(alice: Client) -> Rpc:
    return Rpc(alice, RHODECODE)


def call(rpc: Rpc, **changed: Any) -> dict[str, Any]:
    sent = {"id": 1, "api_key": rpc.client.token, "method": "get_user", "args": {}, **changed}
    return {name: value for name, value in sent.items() if value is not ...}


@pytest.mark.parametrize("call_id", [0, 1, -5, 1.5, "", "x", "ä\ud800", None, True, False, [1, {"a": None}], 10**40])
async def test_an_id_of_any_type_comes_back_as_it_was_sent(rpc: Rpc, call_id: Any) -> None:
    for method in ("get_user", "nothing"):
        answer = await rpc.envelope(call(rpc, id=call_id, method=method))
        assert (answer["id"], type(answer["id"])) == (call_id, type(call_id))
        assert answer.keys() == {"id", "result", "error"}
        assert (answer["result"] is None) == (answer["error"] is not None)


@pytest.mark.parametrize(
    ("changed", "error", "call_id"),
    [
        ({"api_key": ..., "id": ...}, "Incorrect JSON data. Missing 'api_key or auth_token'", None),
        ({"api_key": ""}, "Incorrect JSON data. Missing 'api_key or auth_token'", 1),
        ({"api_key": ...}, "Incorrect JSON data. Missing 'api_key or auth_token'", 1),
        ({"id": ..., "method": ..., "args": ...}, "Incorrect JSON data. Missing 'id'", None),
        ({"method": ..., "args": ...}, "Incorrect JSON data. Missing 'method'", 1),
        ({"args": ..., "method": "nothing"}, "Incorrect JSON data. Missing 'args'", 1),
        ({"method": "not_existing", "api_key": "x"}, "No such method: not_existing. Similar methods: none", 1),
        ({"method": ["get_user"]}, "No such method: ['get_user']. Similar methods: none", 1),
        ({"api_key": "x"}, "Invalid API KEY", 1),
        ({"api_key": 5}, "Invalid API KEY", 1),
        ({"api_key": "x\x00\ud800"}, "Invalid API KEY", 1),
    ],
)
async def test_refusals_come_in_order(rpc: Rpc, changed: dict[str, Any], error: str, call_id: Any) -> None:
    assert await rpc.envelope(call(rpc, **changed)) == {"id": call_id, "result": None, "error": error}


async def test_an_unknown_method_is_answered_with_similar_ones(rpc: Rpc) -> None:
    error = await rpc.fail("show__info")
    assert error == "No such method: show__info. Similar methods: show_ip, get_server_info"


async def test_only_the_beginning_of_a_long_name_is_compared(rpc: Rpc) -> None:
    assert (await rpc.fail("x" * 90 + "_show")).endswith(". Similar methods: show_ip")
    assert (await rpc.fail("x" * 100 + "_show")).endswith(". Similar methods: none")


@pytest.mark.parametrize("args", [None, 1, [], "x"])
async def test_arguments_that_are_no_object_are_none(rpc: Rpc, args: Any) -> None:
    assert (await rpc.envelope(call(rpc, args=args)))["result"]["username"] == "alice"


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"", "JSON parse error ERR:Expecting value: line 1 column 1 (char 0) RAW:''"),
        (
            b"{",
            "JSON parse error ERR:Expecting property name enclosed in double quotes: line 1 column 2 (char 1) RAW:'{'",
        ),
        (b"[1]", "JSON parse error ERR:Expecting an object RAW:'[1]'"),
        (b'{"id": NaN}', "JSON parse error ERR:NaN is not JSON RAW:'{\"id\": NaN}'"),
        (b'{"id": 1e999}', "JSON parse error ERR:a number is too large RAW:'{\"id\": 1e999}'"),
        (b'{"id:"5"}', "JSON parse error ERR:Expecting ':' delimiter: line 1 column 7 (char 6) RAW:'{\"id:\"5\"}'"),
    ],
)
async def test_a_body_that_is_no_object_is_shown(rpc: Rpc, body: bytes, error: str) -> None:
    assert json.loads(await rpc.send(body)) == {"id": None, "result": None, "error": error}


@pytest.mark.parametrize("body", [b"\xff\xfe\x00", b"[" * 100_000, b'{"id": ' + b"9" * 5000 + b"}", b'"\\ud800"'])
async def test_a_strange_body_is_refused_like_one_that_is_no_json(rpc: Rpc, body: bytes) -> None:
    assert json.loads(await rpc.send(body))["error"].startswith("JSON parse error ERR:")


SECRETS = ["pf_0123456789012345678901234567890123456789", "my own key, with blanks", "short"]


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize("field", ["api_key", "auth_token", "password"])
@pytest.mark.parametrize(
    "form", ['{"id": 1, "%s": "%s", "method": }', "{'%s': '%s'}", '{"%s":"%s', r"{\"%s\": \"%s\"}"]
)
async def test_a_body_is_shown_without_its_secrets(rpc: Rpc, form: str, field: str, secret: str) -> None:
    error = json.loads(await rpc.send((form % (field, secret)).encode()))["error"]
    assert error.startswith("JSON parse error")
    assert secret not in error
    assert field in error


async def test_a_request_without_a_length_is_refused_and_other_http_methods_too(rpc: Rpc) -> None:
    empty = {"id": None, "result": None, "error": "Empty body, No Content-Length in request"}
    assert json.loads(await rpc.send(None, method="GET")) == empty
    for method in ("PUT", "DELETE", "PATCH", "OPTIONS"):
        error = f'unsupported request method "{method}". Please use POST'
        assert json.loads(await rpc.send(b"{}", method=method)) == {"id": None, "result": None, "error": error}


async def test_a_call_may_come_by_get(rpc: Rpc) -> None:
    assert json.loads(await rpc.send(json.dumps(call(rpc)).encode(), method="GET"))["result"]["username"] == "alice"


async def test_a_token_is_taken_by_either_name(rpc: Rpc) -> None:
    for names in ({"api_key": ...}, {"api_key": None}, {"api_key": ""}):
        answer = await rpc.envelope(call(rpc, auth_token=rpc.client.token, **names))
        assert answer["result"]["username"] == "alice"


async def test_the_misprinted_id_is_taken_if_there_is_no_other(rpc: Rpc) -> None:
    assert (await rpc.envelope(call(rpc, id=..., **{"id:": 9})))["id"] == 9
    assert (await rpc.envelope(call(rpc, **{"id:": 9})))["id"] == 1


async def test_unknown_arguments_and_the_callers_own_name_are_dropped(forge: Forge, rpc: Rpc) -> None:
    assert (await rpc.ask("get_user", foo=1, apiuser="admin", request={}))["username"] == "alice"
    assert await rpc.fail("get_users", apiuser="admin") == "Access was denied to this resource."


async def test_missing_arguments_are_named_from_the_first_on(forge: Forge) -> None:
    admin = Rpc(forge.admin, RHODECODE)
    assert await admin.fail("create_user") == "Missing non optional `username` arg in JSON DATA"
    assert await admin.fail("create_user", username="x") == "Missing non optional `email` arg in JSON DATA"


async def test_null_is_absent_for_an_optional_argument(rpc: Rpc) -> None:
    assert (await rpc.ask("get_user", userid=None))["username"] == "alice"


@pytest.mark.parametrize(
    "address", ["/rhodecode/_admin/api/", "/rhodecode//_admin/api", "/_admin/api", "//_admin//api/"]
)
async def test_slashes_too_many_do_no_harm(rpc: Rpc, address: str) -> None:
    assert (await rpc.envelope(call(rpc), address=address))["result"]["username"] == "alice"


async def test_a_repeated_request_gets_the_first_answer(forge: Forge) -> None:
    admin = Rpc(forge.admin, RHODECODE)
    sent = call(admin, method="create_user", args={"username": "bob", "email": "bob@example.org"})
    first = await admin.envelope(sent, Idempotency_Key="k1")
    assert first["result"]["msg"] == "created new user `bob`"
    assert await admin.envelope(sent, Idempotency_Key="k1") == first
    assert admin.client.headers["Idempotency-Replayed"] == "true"
    other = await admin.envelope({**sent, "id": 2}, Idempotency_Key="k1")
    assert other["error"] == "This Idempotency-Key was used for another request; choose a new one."
    assert other["id"] == 2


async def test_a_body_that_is_too_large_is_an_error_with_and_without_a_key(rpc: Rpc) -> None:
    body = json.dumps(call(rpc, args={"userid": "x" * (5 << 20)})).encode()
    plain = json.loads(await rpc.send(BytesIO(body)))
    assert plain["error"] == "The request is too large."
    assert json.loads(await rpc.send(BytesIO(body), Idempotency_Key="k")) == plain


async def test_requests_are_measured_under_the_name_of_the_dialect(forge: Forge, rpc: Rpc) -> None:
    await rpc.ask("get_user")
    async with forge.session.get(
        forge.url + "/metrics", headers={"Authorization": f"token {forge.admin.token}"}
    ) as page:
        assert (
            'http_server_request_duration_seconds_count{dialect="rhodecode",method="POST",status="200"}'
            in await page.text()
        )


@pytest.mark.own_forge
async def test_a_call_over_a_limit_is_an_error_that_is_not_kept(own_settings: Settings) -> None:
    async with run_forge(own_settings.model_copy(update={"rate_writes": "1/minute"})) as forge:
        admin = Rpc(forge.admin, RHODECODE)
        sent = call(admin, method="create_user", args={"username": "bob", "email": "bob@example.org"})
        assert (await admin.envelope(sent))["error"] is None
        assert admin.client.headers["RateLimit"].startswith('"writes";r=0;')
        for _ in range(2):
            answer = await admin.envelope({**sent, "id": 2}, Idempotency_Key="k")
            assert answer == {"id": 2, "result": None, "error": "Too many requests; try again later."}
            assert int(admin.client.headers["Retry-After"]) > 0
            assert "Idempotency-Replayed" not in admin.client.headers


@pytest.mark.own_forge
async def test_keys_that_are_tried_are_counted(own_settings: Settings) -> None:
    async with run_forge(own_settings.model_copy(update={"rate_failed_logins_per_address": "1/minute"})) as forge:
        rpc = Rpc(Client(forge, "unknown"), RHODECODE)
        assert await rpc.fail("get_user") == "Invalid API KEY"
        assert await rpc.fail("get_user") == "Too many requests; try again later."
        assert (await Rpc(forge.admin, RHODECODE).ask("get_user"))["username"] == "admin"
