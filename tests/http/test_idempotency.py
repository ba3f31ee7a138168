"""A request with an Idempotency-Key is executed once, however often it is sent."""

import asyncio
from typing import Any

import pytest

from app.http import idempotency
from app.stores import idempotency_keys
from tests.conftest import Client, Forge


async def open_issue(client: Client, key: str, **form: Any) -> tuple[int, Any]:
    body = {"title": "t", "issue_content": "c", **form}
    return await client.request("POST", "/api/0/nethack/new_issue", data=body, headers={"Idempotency-Key": key})


async def test_a_repeated_request_gets_the_first_response(forge: Forge, nethack: Client) -> None:
    first = await open_issue(nethack, "k1")
    assert "Idempotency-Replayed" not in nethack.headers
    assert await open_issue(nethack, "k1") == first
    assert nethack.headers["Idempotency-Replayed"] == "true"
    assert nethack.headers["Content-Type"].startswith("application/json")
    assert (await open_issue(nethack, "k2"))[1]["issue"]["id"] == first[1]["issue"]["id"] + 1


async def test_a_refusal_is_replayed_as_well(forge: Forge, nethack: Client) -> None:
    first = await open_issue(nethack, "k1", title="")
    assert first[0] == 400
    assert await open_issue(nethack, "k1", title="") == first
    assert nethack.headers["Idempotency-Replayed"] == "true"


async def test_the_same_key_for_another_request_is_refused_in_the_dialects_words(forge: Forge, nethack: Client) -> None:
    await open_issue(nethack, "k1")
    status, body = await open_issue(nethack, "k1", title="other")
    assert (status, body["error_code"]) == (422, "ENOCODE")
    headers = {"Idempotency-Key": "k1"}
    command = {"description": "d"}
    status, body = await nethack.json("POST", "/v1/users/alice/tokens", command, headers=headers)
    assert (status, body["type"]) == (422, "/problems/invalid")


async def test_keys_of_different_users_are_independent(forge: Forge, nethack: Client) -> None:
    bob = await forge.user("bob")
    assert (await open_issue(nethack, "k1"))[1]["issue"]["user"]["name"] == "alice"
    assert (await open_issue(bob, "k1"))[1]["issue"]["user"]["name"] == "bob"


async def test_another_token_of_the_same_user_does_not_get_the_response(forge: Forge, nethack: Client) -> None:
    await open_issue(nethack, "k1", private="1")
    _, weak = await nethack.json("POST", "/v1/users/alice/tokens", {"description": "d", "acls": ["commit"]})
    status, body = await open_issue(Client(forge, weak["token"], "alice"), "k1", private="1")
    assert (status, body["errors"]) == (401, "Missing ACLs: issue_create")


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "multipart/form-data; boundary=x"},
        {"Content-Type": "multipart/form-data"},
        {"Content-Type": "application/json", "Content-Encoding": "gzip"},
    ],
)
@pytest.mark.parametrize("path", ["/api/0/nethack/new_issue", "/v1/users/alice/tokens"])
async def test_an_unreadable_body_is_refused_with_and_without_a_key(
    forge: Forge, nethack: Client, headers: dict[str, str], path: str
) -> None:
    headers = {**headers, "Connection": "close"}  # the server closes the connection anyway if it cannot read on
    plain = await nethack.request("POST", path, data=b"garbage", headers=headers)
    keyed = await nethack.request("POST", path, data=b"garbage", headers={**headers, "Idempotency-Key": "k1"})
    assert (plain[0], keyed[0]) in [(400, 400), (422, 422)]


async def test_a_long_key_is_accepted(forge: Forge, nethack: Client) -> None:
    assert (await open_issue(nethack, "x" * 255))[0] == 200


@pytest.mark.parametrize("key", ["", "x" * 256, "a b", "ä"])
async def test_an_invalid_key_is_refused(forge: Forge, nethack: Client, key: str) -> None:
    assert (await open_issue(nethack, key))[0] == 422
    assert (await nethack.pagure("/nethack/issues"))[1]["total_issues"] == 0


async def test_many_requests_with_one_key_open_one_issue(forge: Forge, nethack: Client) -> None:
    answers = await asyncio.gather(*(open_issue(nethack, "k1") for _ in range(10)))
    assert {status for status, _ in answers} <= {200, 409}
    assert 200 in {status for status, _ in answers}
    assert (await nethack.pagure("/nethack/issues"))[1]["total_issues"] == 1
    assert (await open_issue(nethack, "k1"))[0] == 200


async def test_an_executed_command_without_a_stored_response_is_answered_but_not_executed_again(
    forge: Forge, nethack: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if the process died after the commit and before the response was stored."""

    async def dies(*_: object) -> None:
        raise asyncio.CancelledError

    with monkeypatch.context() as patched:
        patched.setattr(idempotency, "_store_response", dies)
        with pytest.raises(Exception, match="disconnected"):
            await open_issue(nethack, "k1")
    status, body = await open_issue(nethack, "k1")
    assert (status, body["issue"]["id"]) == (200, 1)
    assert "Idempotency-Replayed" not in nethack.headers
    assert await open_issue(nethack, "k1") == (status, body)
    assert nethack.headers["Idempotency-Replayed"] == "true"
    assert (await nethack.pagure("/nethack/issues"))[1]["total_issues"] == 1


async def test_a_secret_is_shown_once_and_not_stored(forge: Forge, alice: Client) -> None:
    headers = {"Idempotency-Key": "k1"}
    status, issued = await alice.json("POST", "/v1/users/alice/tokens", {"description": "d"}, headers=headers)
    assert (status, alice.headers["Cache-Control"]) == (201, "no-store")
    assert (await alice.json("POST", "/v1/users/alice/tokens", {"description": "d"}, headers=headers))[0] == 409
    kept = await forge.db.fetchval("select string_agg(convert_from(body, 'UTF8'), ' ') from idempotency_keys")
    assert issued["token"] not in kept
    assert await forge.db.fetchval("select count(*) from token_secrets") == 3
    assert len([t for t in (await alice.get("/v1/users/alice/tokens"))[1]["tokens"] if t["description"] == "d"]) == 1


async def test_a_key_is_free_again_after_a_day(forge: Forge, nethack: Client) -> None:
    await open_issue(nethack, "k1")
    await forge.db.execute("update idempotency_keys set at = at - interval '25 hours'")
    assert (await open_issue(nethack, "k1", title="other"))[1]["issue"]["id"] == 2
    await forge.db.execute("update idempotency_keys set at = at - interval '25 hours'")
    await idempotency_keys.delete_expired(forge.db)
    assert await forge.db.fetchval("select count(*) from idempotency_keys") == 0
